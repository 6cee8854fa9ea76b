"""Where a server listens."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from aiohttp import web

_SHUTDOWN_TIMEOUT = 2.0
"""Seconds that requests under way get when the server stops."""

_WRITTEN = re.compile(r"(\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """A host (None: all interfaces) and a port (0: one that the system chooses)."""

    host: str | None
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`, `:port` or `[v6]:port`.

        Raises:
            ValueError: it is none of these.
        """
        written = _WRITTEN.fullmatch(text)
        if not written or int(written["port"]) > 65535:
            raise ValueError(f"must be HOST:PORT or :PORT, is {text!r}")
        return cls(written["v6"] or written["host"] or None, int(written["port"]))


@contextlib.asynccontextmanager
async def listening(application: web.Application, address: Address) -> AsyncIterator[str]:
    """Serve `application` at `address`, and give its real URL.

    Raises:
        OSError: the address is taken, or is not ours.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
        host, port, *_ = runner.addresses[0]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()
