"""A web server under `--web.config.file`, and clients for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import trustme
import yaml
from aiohttp import web

from plimsoll.web.following import WebConfig
from plimsoll.web.listener import Address, listening

HOST = "127.0.0.1"
CHEAP = 4
"""The lowest cost of a hash."""


class Protected:
    """The files of a server, and the server.

    Args:
        directory: for the files.
        users: their passwords.
    """

    def __init__(self, directory: Path, users: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._tls: dict[str, str] = {}
        self._users = {name: hashed(password) for name, password in (users or {}).items()}
        self._save()

    def write(self, name: str, content: bytes) -> None:
        """Write a file in place."""
        (self._directory / name).write_bytes(content)

    def certify(
        self, authority: trustme.CA, certificate: trustme.LeafCert | None = None, name: str = "server"
    ) -> None:
        """Write a certificate, or a new one of `authority`, and its key."""
        certificate = certificate or authority.issue_cert(HOST)
        self.write(f"{name}.key", certificate.private_key_pem.bytes())
        self.write(f"{name}.pem", certificate.cert_chain_pems[0].bytes())
        if not self._tls:
            self.configure(cert_file="server.pem", key_file="server.key")

    def configure(self, **tls: str) -> None:
        """Change keys of `tls_server_config`."""
        self._tls |= tls
        self._save()

    def admit(self, users: Mapping[str, str]) -> None:
        """Let in these users, by hash, and no others."""
        self._users = dict(users)
        self._save()

    @property
    def file(self) -> Path:
        """The file of --web.config.file."""
        return self._directory / "web.yml"

    def _save(self) -> None:
        written: dict[str, Any] = {"tls_server_config": self._tls} if self._tls else {}
        self.file.write_text(yaml.safe_dump({**written, "basic_auth_users": self._users}))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Run the server, and give its URL."""
        application = web.Application()
        application.add_routes([web.get("/", _hello), web.get("/hook/{name}", _hook)])
        config = WebConfig(self.file)
        async with listening(application, Address(HOST, 0), config, {"/hook/{name}"}) as url:
            yield url


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="Hello")


async def _hook(_: web.Request) -> web.Response:
    return web.Response(text="Hook")


def hashed(password: str, cost: int = CHEAP) -> str:
    """Hash a password."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Give what a client needs to trust an authority, and to show a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    if certificate:
        certificate.configure_cert(context)
    return context


async def get(
    url: str, client: ssl.SSLContext | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Ask for a page on a connection of its own; gives status and text."""
    connector = aiohttp.TCPConnector(ssl=client or True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers) as response,
    ):
        return response.status, await response.text()


async def serial_of(url: str, authority: trustme.CA) -> str:
    """Give the serial number of the certificate that a new connection gets."""
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection(HOST, port, ssl=trusting(authority))
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return serial
