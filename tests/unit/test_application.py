"""The routes that every server has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from plimsoll.config import ConfigError, Problem
from plimsoll.web.application import make_application, scrape_seconds
from plimsoll.web.listener import Address, listening

REFUSED = ConfigError([Problem("plimsoll.yml", 3, ("postgres",), "is bad"), Problem("x", 4, (), "is worse")])


@dataclass
class World:
    """What the application is made of, to be changed by a test."""

    ready: bool = True
    refusal: ConfigError | None = None
    reloads: int = 0

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="up 1\n")

    async def reload(self) -> ConfigError | None:
        self.reloads += 1
        return self.refusal


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    application = make_application(
        title="Test & <Title>",
        description="Measures <nothing>.",
        metrics=world.metrics,
        is_ready=lambda: world.ready,
        reload=world.reload,
    )
    async with (
        listening(application, Address("127.0.0.1", 0)) as url,
        aiohttp.ClientSession(url) as session,
    ):
        yield session


async def test_the_landing_page_leads_to_the_others(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        page = await response.text()

    assert response.status == 200
    assert response.content_type == "text/html"
    assert "<h1>Test &amp; &lt;Title&gt;</h1>" in page
    assert "Measures &lt;nothing&gt;." in page
    for path in ("metrics", "-/healthy", "-/ready"):
        assert f'href="{path}"' in page
        async with client.get(f"/{path}") as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
async def test_head_gives_the_headers_only(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as expected, client.head(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == expected.headers["Content-Type"]
        assert await response.read() == b""


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "/-/", "/-/quit", "/index.html", "/../etc/passwd"])
async def test_an_unknown_path_is_not_found(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("DELETE", "/-/healthy", {"GET", "HEAD"}),
        ("PUT", "/-/ready", {"GET", "HEAD"}),
        ("GET", "/-/reload", {"POST"}),
        ("HEAD", "/-/reload", {"POST"}),
    ],
)
async def test_a_wrong_method_is_not_allowed(
    client: aiohttp.ClientSession, world: World, method: str, path: str, allowed: set[str]
) -> None:
    async with client.request(method, path) as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == allowed
    assert not world.reloads


async def test_health_is_good_while_it_stops(client: aiohttp.ClientSession, world: World) -> None:
    world.ready = False
    async with client.get("/-/healthy") as response:
        assert (response.status, await response.text()) == (200, "Healthy\n")


async def test_readiness_ends_when_it_stops(client: aiohttp.ClientSession, world: World) -> None:
    async with client.get("/-/ready") as response:
        assert (response.status, await response.text()) == (200, "Ready\n")
    world.ready = False
    async with client.get("/-/ready") as response:
        assert (response.status, await response.text()) == (503, "Stopping\n")


async def test_a_reload_that_succeeds(client: aiohttp.ClientSession, world: World) -> None:
    async with client.post("/-/reload") as response:
        assert (response.status, await response.text()) == (200, "Reloaded\n")
    assert world.reloads == 1


async def test_a_reload_that_is_refused_says_why(client: aiohttp.ClientSession, world: World) -> None:
    world.refusal = REFUSED
    async with client.post("/-/reload") as response:
        assert response.status == 500
        assert await response.text() == "plimsoll.yml:3: postgres: is bad\nx:4: is worse\n"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 10),
        ("", 10),
        ("15", 10),  # our own timeout is shorter
        ("10.5", 10),
        ("10", 9.5),
        ("5.25", 4.75),
        ("0.55", 0.1),  # less than that is no time at all
        ("0", 0.1),
        ("-5", 0.1),
        ("-inf", 0.1),
        ("inf", 10),
        ("nan", 10),
        ("garbage", 10),
        ("10s", 10),
    ],
)
def test_an_answer_takes_no_longer_than_the_scraper_waits(header: str | None, seconds: float) -> None:
    headers = {} if header is None else {"X-Prometheus-Scrape-Timeout-Seconds": header}

    request = make_mocked_request("GET", "/metrics", headers=headers)

    assert scrape_seconds(request, 10) == pytest.approx(seconds)
