"""Asks a server whether it is well: the health check of the image, which may hold no other program."""

from __future__ import annotations

import os
import ssl
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

URL = "PLIMSOLL_HEALTH_URL"
"""The environment variable that says whom to ask; the image sets it for `plimsoll serve` without TLS."""

_PATIENCE = 5.0
"""Seconds for each step: to connect, to shake hands, to be answered."""

_WELL = {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}
"""We have no password, but only a server that is well can ask for it."""


def complaint_about(url: str, patience: float = _PATIENCE) -> str:
    """Ask the server for `url`, and tell what is wrong with it; empty when it is well.

    Of https:// only the handshake is asked for: what answers requests does that, too, and it may demand a
    certificate for more. The server's is not verified, since it is for other names than the loopback's. No
    proxy is heeded, unlike in urllib.
    """
    address = urlsplit(url)
    try:
        connection = _connection(address.scheme, address.hostname or "", address.port, patience)
        try:
            connection.connect()
            if address.scheme == "https":
                return ""
            connection.request("GET", address.path or "/")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        return f"{url}: {str(error) or type(error).__name__}"
    return "" if status in _WELL else f"{url}: status {status}"


def _connection(scheme: str, host: str, port: int | None, patience: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=patience)
    if scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection(host, port, timeout=patience, context=context)
    raise ValueError("must begin with http:// or https://")


def main() -> int:
    """Give the exit status of a health check: 0 well, 1 not, with the reason printed."""
    if complaint := complaint_about(os.environ.get(URL, "")):
        print(complaint)  # noqa: T201 - `docker inspect` shows it
    return int(bool(complaint))


if __name__ == "__main__":
    sys.exit(main())
