"""TLS as a server of asyncio needs it, whose certificates change while it runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Handshake(ssl.SSLObject):
    """A connection's TLS, which says why it does not come about: asyncio keeps that to itself."""

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            raise  # what the client sends next is awaited
        except ssl.SSLCertVerificationError as error:
            _log.debug("client certificate refused", reason=error.verify_message)
            raise
        except ssl.SSLError as error:
            _log.debug("TLS handshake failed", reason=error.reason or str(error))
            raise


class FollowingContext(ssl.SSLContext):
    """Gives each connection the certificates that are in force when it comes.

    asyncio calls `wrap_bio` of a server's context once for each connection. To exchange the context in
    `sni_callback` would come too late for min_version and client certificates, and keep session tickets.
    """

    _current: Callable[[], ssl.SSLContext]

    def __new__(cls, current: Callable[[], ssl.SSLContext]) -> FollowingContext:
        """Take what gives the context in force."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context._current = current
        return context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection."""
        return self._current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
