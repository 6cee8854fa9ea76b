"""Which queries run where, and when."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.serve.collectors.sql import SqlCollector, planned
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.postgres import PostgresError, StatementRefusedError
from plimsoll.serve.sources.rows import Answer
from plimsoll.serve.state.postgres import Database, ServerState

HOUR = """
collector_name: NAME
min_interval: 1h
metrics:
  - {metric_name: app_NAME_good, type: gauge, help: Of a test., values: [v], query: good}
  - {metric_name: app_NAME_bad_total, type: counter, help: Of a test., values: [v], query: bad}
"""


class Server:
    """Answers every query with 1, but those that it refuses; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str]] = []
        self.refused = {"bad"}
        self.is_down = False

    @contextlib.asynccontextmanager
    async def connect(self, datname: str | None = None, **_: Any) -> AsyncIterator[Session]:
        if self.is_down:
            raise PostgresError("connection refused")
        yield Session(self, datname)


class Session:
    def __init__(self, server: Server, datname: str | None) -> None:
        self._server = server
        self._datname = datname

    async def select(self, query: str, _: int) -> Answer:
        self._server.asked.append((self._datname, query))
        if query in self._server.refused:
            raise StatementRefusedError("no such table", "failed")
        return Answer(("v",), ("int8",), (("1",),))


def entry(directory: Path, name: str, **keys: Any) -> SqlEntry:
    (directory / f"{name}.yml").write_text(HOUR.replace("NAME", name))
    return SqlEntry.model_validate({"files": f"./{name}.yml", **keys}, context={"directory": directory})


def state_of(*entries: SqlEntry, databases: tuple[str, ...] = ("own", "other")) -> ServerState:
    settings = ServerSettings.model_validate({"name": "main", "dsn": "host=nowhere"})
    state = ServerState(settings, Server(), sql=entries, own_datname="own", up=True)  # type: ignore[arg-type]
    state.databases = tuple(Database(oid, name, may_connect=True) for oid, name in enumerate(databases))
    return state


def asked(state: ServerState) -> list[tuple[str | None, str]]:
    server = state.server
    assert isinstance(server, Server)
    taken, server.asked = server.asked, []
    return taken


def age(state: ServerState, seconds: float) -> None:
    """Let the last runs have been earlier."""
    state.outcomes = {
        name: {key: replace(each, started=each.started - seconds) for key, each in outcomes.items()}
        for name, outcomes in state.outcomes.items()
    }


def page(collector: SqlCollector, state: ServerState) -> str:
    written = Page()
    collector.emit(written, state)
    return written.encode(openmetrics=False)


def test_each_query_is_planned_once_in_each_of_its_databases(tmp_path: Path) -> None:
    everywhere = entry(tmp_path, "a", databases={"include": ["o.*"]})
    own = entry(tmp_path, "a", row_limit=5)
    elsewhere = entry(tmp_path, "b", databases={"exclude": ["own"]})

    plan = planned(state_of(everywhere, own, elsewhere))

    assert {name: [query.key for query in queries] for name, queries in plan.items()} == {
        "own": [("a", "app_a_good"), ("a", "app_a_bad_total")],
        "other": [
            ("a", "app_a_good"),
            ("a", "app_a_bad_total"),
            ("b", "app_b_good"),
            ("b", "app_b_bad_total"),
        ],
    }
    assert {query.row_limit for query in plan["own"]} == {1000}, "the first entry counts"


def test_nothing_runs_before_the_database_is_known(tmp_path: Path) -> None:
    state = replace(state_of(entry(tmp_path, "a")), own_datname=None)

    assert list(SqlCollector(state).jobs()) == []


async def collect(collector: SqlCollector) -> str | None:
    """Collect in the database `own` what is due; gives what is complained about."""
    list(collector.jobs())
    try:
        await collector._collect("own")
    except PostgresError as error:
        return str(error)
    return None


async def test_a_failed_query_is_tried_again_alone(tmp_path: Path) -> None:
    state = state_of(entry(tmp_path, "a"))
    collector = SqlCollector(state)
    complaint = "1 of 2 queries failed: a/app_a_bad_total (failed: no such table)"

    assert await collect(collector) == complaint
    assert asked(state) == [(None, "good"), (None, "bad")]
    assert await collect(collector) == complaint, "also while nothing is due"
    assert asked(state) == []
    age(state, 61)
    assert await collect(collector) == complaint
    assert asked(state) == [(None, "bad")]
    state.server.refused = set()  # type: ignore[attr-defined]
    age(state, 61)
    assert await collect(collector) is None
    assert asked(state) == [(None, "bad")]
    age(state, 3600)
    assert await collect(collector) is None
    assert asked(state) == [(None, "good"), (None, "bad")]


async def test_counters_are_live_and_gauges_repeated(tmp_path: Path) -> None:
    state = state_of(entry(tmp_path, "a"))
    state.server.refused = set()  # type: ignore[attr-defined]
    collector = SqlCollector(state)
    await collect(collector)
    both = page(collector, state)
    assert 'app_a_good{server="main",datname="own"} 1.0' in both
    assert 'app_a_bad_total{server="main",datname="own"} 1.0' in both

    for down in (replace(state, up=False), replace(state, up=None)):
        assert "app_a_good{" in page(collector, down)
        assert "app_a_bad_total{" not in page(collector, down)

    state.server.is_down = True  # type: ignore[attr-defined]
    age(state, 3600)
    assert await collect(collector) == "connection refused"
    assert "app_a_good{" in page(collector, state)
    assert "app_a_bad_total{" not in page(collector, state)
    assert page(collector, state).count('reason="connection"') == 2


async def test_gauges_end_when_they_are_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(entry(tmp_path, "a"))
    collector = SqlCollector(state)
    await collect(collector)
    later = time.time() + state.settings.max_age + 1
    monkeypatch.setattr(time, "time", lambda: later)

    assert "app_a_good{" not in page(collector, state)
    assert "plimsoll_sql_query_success{" in page(collector, state)


async def test_what_a_reload_has_changed_is_forgotten(tmp_path: Path) -> None:
    state = state_of(entry(tmp_path, "a"), entry(tmp_path, "b"))
    state.server.refused = set()  # type: ignore[attr-defined]
    await collect(SqlCollector(state))
    assert len(asked(state)) == 4
    (tmp_path / "b.yml").write_text(HOUR.replace("NAME", "b").replace("query: good", "query: better"))
    files = [{"files": f"./{name}.yml"} for name in "ab"]
    changed = [SqlEntry.model_validate(each, context={"directory": tmp_path}) for each in files]

    state = replace(state, sql=tuple(changed))
    await collect(SqlCollector(state))

    assert asked(state) == [(None, "better")]


async def test_what_was_given_up_is_not_live(tmp_path: Path) -> None:
    """A reload in the middle of a query: the next target runs it again, however long its interval."""
    state = state_of(entry(tmp_path, "a"))
    state.server.refused = set()  # type: ignore[attr-defined]
    collector = SqlCollector(state)
    await collect(collector)
    asked(state)
    (outcomes,) = state.outcomes.values()
    state.outcomes = {"own": {key: replace(each, is_live=False) for key, each in outcomes.items()}}
    age(state, 61)

    await collect(SqlCollector(state))

    assert len(asked(state)) == 2


async def test_intervals_count_from_the_beginning_of_a_turn(tmp_path: Path) -> None:
    """Or a query that stands behind a slow one would not be due yet when its database has its turn again."""
    state = state_of(entry(tmp_path, "a"), entry(tmp_path, "b"))

    await collect(SqlCollector(state))

    assert len({outcome.started for outcome in state.outcomes["own"].values()}) == 1
