"""The relay's page for Prometheus: what the real promtool says of it, and how it is handed over."""

from __future__ import annotations

import asyncio
import gzip
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from plimsoll.relay import relay as relay_module
from plimsoll.web.listener import Address, listening
from relay_page import ODD, busy_relay, families
from support import require_program

METRICS = "/metrics"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Give somebody who asks a busy relay, and unpacks nothing."""
    async with busy_relay(tmp_path, acknowledged=500) as relay:
        application = web.Application()
        application.add_routes([web.get(METRICS, relay.metrics)])
        async with (
            listening(application, Address("127.0.0.1", 0)) as url,
            aiohttp.ClientSession(
                url, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
            ) as session,
        ):
            yield session


async def page(client: aiohttp.ClientSession, **headers: str) -> tuple[dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(METRICS, headers=named) as response:
        assert response.status == 200
        return dict(response.headers), await response.read()


async def test_promtool_accepts_the_page_and_all_is_on_it(client: aiohttp.ClientSession) -> None:
    _, text = await page(client)
    shown = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE ")}
    assert {family.name for family in await families()} == {name for name in shown if name[:8] == "plimsoll"}
    program = await asyncio.create_subprocess_exec(
        *(require_program("promtool"), "check", "metrics"), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert (*await program.communicate(text), program.returncode) == (b"", b"", 0)


async def test_both_formats_have_the_same_series(client: aiohttp.ClientSession) -> None:
    headers, text = await page(client)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"

    headers, openmetrics = await page(client, Accept=OPENMETRICS)
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    parsed = {family.name: family for family in parse_openmetrics(openmetrics.decode())}  # type: ignore[no-untyped-call]
    limits = parsed["plimsoll_acknowledgement_limit_timestamp_seconds"].samples
    assert (len(limits), {sample.labels["by"] for sample in limits}) == (500, {ODD})
    assert series(openmetrics) == series(text)


def series(written: bytes) -> set[str]:
    lines = (line for line in written.decode().splitlines() if not line.startswith("#"))
    return {line.rpartition(" ")[0] for line in lines}


@pytest.mark.parametrize("accept", ["*/*", OPENMETRICS])
async def test_it_is_compressed_for_those_who_can_read_it(client: aiohttp.ClientSession, accept: str) -> None:
    headers, plain = await page(client, Accept=accept)
    assert "Content-Encoding" not in headers
    assert headers["Vary"] == "Accept, Accept-Encoding"

    headers, packed = await page(client, Accept=accept, Accept_Encoding="gzip")
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept, Accept-Encoding")
    assert series(gzip.decompress(packed)) == series(plain)
    assert len(packed) < len(plain) / 5

    headers, _ = await page(client, Accept_Encoding="gzip;q=0, br")
    assert "Content-Encoding" not in headers


async def test_nobody_waits_while_a_page_is_written(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> bytes:
        begun.set()
        assert let_go.wait(10)
        return b"up 1\n"

    monkeypatch.setattr(relay_module, "_page", slow)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(page(client))
        assert await asyncio.to_thread(begun.wait, 10)
        let_go.set()
    assert asked.result()[1] == b"up 1\n"


async def test_head_gets_no_page_and_none_is_written(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(relay_module, "_page")
    async with client.head(METRICS, headers={"Accept": OPENMETRICS, "Accept-Encoding": "gzip"}) as response:
        assert response.status == 200
        assert response.content_type == "application/openmetrics-text"
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == b""
