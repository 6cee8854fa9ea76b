"""Resolves the host names of a connection string, which libpq would do while the event loop waits."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

from plimsoll.serve.settings.postgres import Host


async def addresses(host: Host) -> list[dict[str, str]]:
    """Give the addresses to try in turn, as connection parameters.

    Raises:
        OSError: the name cannot be resolved.
    """
    if host.left_to_libpq:
        return [{}]
    named = {"host": host.name, "port": host.port}
    if host.name.startswith(("/", "@")):
        return [named]
    return [{**named, "hostaddr": address} for address in await _resolve(host.name)]


async def _resolve(name: str) -> list[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(name))]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                failure = OSError(f"the host name {name} cannot be resolved: {error}")
                loop.call_soon_threadsafe(_unless_done, found, found.set_exception, failure)
            else:
                result = [str(address[0]) for *_, address in answers]
                loop.call_soon_threadsafe(_unless_done, found, found.set_result, result)

    # Not in the loop's own threads: a resolver that hangs would keep the process from ending, and other
    # names waiting.
    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    return await found


def _unless_done(future: asyncio.Future[list[str]], settle: Callable[[Any], None], value: object) -> None:
    """Settle a future, which is done already if nobody waits for it any more."""
    if not future.done():
        settle(value)
