"""The sizes of thousands of databases: a pass ends in its time, and all have their turn."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from plimsoll.serve.collectors.databases import DatabasesCollector
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import PostgresError, StatementRefusedError
from plimsoll.serve.state.postgres import Database, ServerState


class Server:
    """Takes its time for each size, on the clocks of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now = 1_000_000.0
        self.seconds = seconds
        self.asked: list[int] = []
        self.culprits: set[int] = set()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: self.now)

    @contextlib.asynccontextmanager
    async def connect(self, **_: Any) -> AsyncIterator[Server]:
        yield self

    async def read(self, _: str, parameters: Mapping[str, str]) -> list[Row]:
        oids = [int(oid) for oid in re.findall(r"\d+", parameters["oids"])]
        self.asked += oids
        self.now += self.seconds * len(oids)
        if self.culprits & set(oids):
            raise StatementRefusedError("canceling statement due to statement timeout", "timeout")
        return [(oid, 8192) for oid in oids]


def state_of(server: Server, count: int, **settings: Any) -> ServerState:
    document = {"name": "main", "dsn": "host=nowhere", **settings}
    state = ServerState(ServerSettings.model_validate(document), server)  # type: ignore[arg-type]
    state.databases = tuple(Database(oid, f"d{oid}", may_connect=True) for oid in range(1, count + 1))
    return state


async def collect(collector: DatabasesCollector) -> str | None:
    try:
        await collector._measure()
    except PostgresError as error:
        return str(error)
    return None


def page(collector: DatabasesCollector, state: ServerState) -> str:
    written = Page()
    collector.emit(written, state)
    return b"".join(written.encode(openmetrics=False)).decode()


async def test_a_pass_ends_in_its_time_and_the_rest_is_first_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(monkeypatch, 0.01)
    state = state_of(server, 1000, databases={"timeout": "4s"})
    collector = DatabasesCollector(state)

    for expected in (range(1, 401), range(401, 801), [*range(801, 1001), *range(1, 201)]):
        assert await collect(collector) is None, "that takes turns, and is no failure"
        assert server.asked == list(expected)
        server.asked.clear()
        server.now += 60
    assert len(state.sizes) == 1000


async def test_how_old_the_oldest_size_is_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, 0.01)
    state = state_of(server, 1000, databases={"timeout": "4s"})
    collector = DatabasesCollector(state)
    assert page(collector, state) == "", "nothing is known yet"

    began = server.now
    await collect(collector)
    server.now += 60
    await collect(collector)

    text = page(collector, state)
    assert text.count("\npg_database_size_bytes{") == 800
    assert f'\npg_database_sizes_oldest_timestamp_seconds{{server="main"}} {began!r}\n' in text


async def test_sizes_that_end_for_want_of_time_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, 0.01)
    state = state_of(server, 1000, databases={"timeout": "4s"}, tables={"full_interval": "60s"}, max_age="2m")
    collector = DatabasesCollector(state)
    assert await collect(collector) is None
    server.now += 121

    assert await collect(collector) == (
        "databases.timeout leaves no time for 600 of 1000 sizes a pass; 400 are older than max_age"
    )


async def test_a_size_that_is_refused_is_named_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(monkeypatch, 0.001)
    server.culprits = {7}
    state = state_of(server, 50)
    collector = DatabasesCollector(state)

    assert await collect(collector) == "1 of 50 sizes refused: d7 (timeout)"
    assert len(state.sizes) == 49
