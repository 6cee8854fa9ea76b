"""Resolves the hosts of a connection string, which libpq would do while the event loop waits."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping


async def addresses(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Give what is to be tried in turn, as connection parameters that replace the given ones.

    What is no list of host names (a socket, a service, nothing at all) is left to libpq.

    Raises:
        OSError: a name cannot be resolved.
    """
    hosts = parameters.get("host") or os.environ.get("PGHOST", "")
    if not hosts or parameters.get("hostaddr") or "service" in parameters:
        return [{}]
    ports = (parameters.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    names = hosts.split(",")
    found = []
    for host, port in zip(names, ports * len(names) if len(ports) == 1 else ports, strict=False):
        found.extend([address async for address in _resolve(host, port)])
    return found


async def _resolve(host: str, port: str) -> AsyncIterator[dict[str, str]]:
    if host.startswith(("/", "@")):
        yield {"host": host, "port": port}
        return
    loop = asyncio.get_running_loop()
    for *_, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        yield {"host": host, "hostaddr": str(address[0]), "port": port}
