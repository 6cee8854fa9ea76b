"""Where a server listens, and what its URL is."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from plimsoll.web.listener import Address, listening


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9745", ("127.0.0.1", 9745)),
        ("localhost:0", ("localhost", 0)),
        (":9745", (None, 9745)),
        ("[::1]:9745", ("::1", 9745)),
        ("[::]:9745", ("::", 9745)),
        ("exporter.example.com:65535", ("exporter.example.com", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str | None, int]) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "9745",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:-1",
        "::1:80",
        "[::1:80",
        "[]:80",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        Address.parse(text)
    assert str(refused.value) == f"must be HOST:PORT or :PORT, is {text!r}"


def has_ipv6() -> bool:
    """Ask the system, without any code of ours."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))],
)
async def test_the_url_is_the_real_one(host: str) -> None:
    application = web.Application()
    application.add_routes([web.get("/", _hello)])

    async with (
        listening(application, Address(host, 0)) as url,
        aiohttp.ClientSession() as session,
        session.get(url) as response,
    ):
        assert await response.text() == "Hello"


async def test_a_taken_address_is_told() -> None:
    async with listening(web.Application(), Address("127.0.0.1", 0)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with listening(web.Application(), Address("127.0.0.1", port)):
                raise AssertionError


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="Hello")
