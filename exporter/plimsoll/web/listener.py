"""Where a server listens."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Collection
from typing import NamedTuple

from aiohttp import web

from plimsoll.web.basic_auth import demand_passwords
from plimsoll.web.following import WebConfig
from plimsoll.web.tls import FollowingContext

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
async def listening(
    application: web.Application,
    address: Address,
    config: WebConfig | None = None,
    own_authorization: Collection[str] = (),
) -> AsyncIterator[str]:
    """Serve `application` at `address`, and give its real URL.

    Args:
        application: has not been started yet.
        address: where to listen.
        config: what protects it; None: plain HTTP, for everybody.
        own_authorization: routes that ask for no user's password, because they demand something else
            themselves, as they were added: `/webhook/{name}`.

    Raises:
        OSError: the address is taken, or is not ours.
    """
    tls = _protect(application, config, own_authorization) if config else None
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port, ssl_context=tls).start()
        host, port, *_ = runner.addresses[0]
        scheme = "https" if tls else "http"
        yield f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    finally:
        await runner.cleanup()


def _protect(
    application: web.Application, config: WebConfig, own_authorization: Collection[str]
) -> ssl.SSLContext | None:
    demand_passwords(application, lambda: config.settings.basic_auth_users, own_authorization)

    def current() -> ssl.SSLContext:
        tls = config.settings.tls_server_config
        assert tls  # noqa: S101 - TLS is not turned off while the server runs
        return tls.context

    return FollowingContext(current) if config.settings.tls_server_config else None
