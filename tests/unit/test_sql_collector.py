"""Which queries run where, and when."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pages import written
from plimsoll.serve.collectors.sql import SqlCollector
from plimsoll.serve.metrics import Page
from plimsoll.serve.queries import planned
from plimsoll.serve.series import series_of
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
        self.failures: dict[str, PostgresError] = {}
        self.is_down = False
        self.connections = 0
        self.before_answers: Callable[[], None] = lambda: None

    @contextlib.asynccontextmanager
    async def connect(self, datname: str | None = None, **_: Any) -> AsyncIterator[Session]:
        if self.is_down:
            raise PostgresError("connection refused")
        self.connections += 1
        yield Session(self, datname)


class Session:
    def __init__(self, server: Server, datname: str | None) -> None:
        self._server = server
        self._datname = datname

    async def select(self, query: str, _: int) -> Answer:
        self._server.asked.append((self._datname, query))
        self._server.before_answers()
        if failure := self._server.failures.get(query):
            raise failure
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


def server_of(state: ServerState) -> Server:
    assert isinstance(state.server, Server)
    return state.server


def asked(state: ServerState) -> list[tuple[str | None, str]]:
    server = server_of(state)
    taken, server.asked = server.asked, []
    return taken


def age(state: ServerState, seconds: float) -> None:
    """Let the last runs have been earlier."""
    state.outcomes = {
        name: {key: replace(each, started=each.started - seconds) for key, each in outcomes.items()}
        for name, outcomes in state.outcomes.items()
    }


def page(collector: SqlCollector, state: ServerState) -> str:
    drawn = Page()
    collector.emit(drawn, state)
    return written(drawn)


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
    server_of(state).refused = set()
    age(state, 61)
    assert await collect(collector) is None
    assert asked(state) == [(None, "bad")]
    age(state, 3600)
    assert await collect(collector) is None
    assert asked(state) == [(None, "good"), (None, "bad")]


async def test_counters_are_live_and_gauges_repeated(tmp_path: Path) -> None:
    state = state_of(entry(tmp_path, "a"))
    server_of(state).refused = set()
    collector = SqlCollector(state)
    await collect(collector)
    both = page(collector, state)
    assert 'app_a_good{server="main",datname="own"} 1.0' in both
    assert 'app_a_bad_total{server="main",datname="own"} 1.0' in both

    for down in (replace(state, up=False), replace(state, up=None)):
        assert "app_a_good{" in page(collector, down)
        assert "app_a_bad_total{" not in page(collector, down)

    server_of(state).is_down = True
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
    server_of(state).refused = set()
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
    server_of(state).refused = set()
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


@pytest.mark.parametrize(
    ("failure", "pause"),
    [
        (StatementRefusedError("statement timeout", "timeout"), 3600),
        (PostgresError("no answer within 12 s"), 3600),
        (StatementRefusedError("lock timeout", "locked"), 60),
    ],
)
async def test_what_costs_much_is_not_repeated_before_its_interval(
    tmp_path: Path, failure: PostgresError, pause: float
) -> None:
    state = state_of(entry(tmp_path, "a"))
    server_of(state).refused = set()
    server_of(state).failures = {"good": failure}
    collector = SqlCollector(state)
    await collect(collector)
    assert asked(state) == [(None, "good"), (None, "bad")], "the others are run over another connection"

    age(state, pause - 10)
    await collect(collector)
    assert asked(state) == []
    age(state, 10)
    await collect(collector)
    assert (None, "good") in asked(state)


async def test_what_costs_much_is_not_repeated_at_every_scrape(tmp_path: Path) -> None:
    often = entry(tmp_path, "a")
    (tmp_path / "a.yml").write_text(HOUR.replace("NAME", "a").replace("1h", "0"))
    often = SqlEntry.model_validate("./a.yml", context={"directory": tmp_path})
    state = state_of(often)
    server_of(state).failures = {"bad": StatementRefusedError("statement timeout", "timeout")}
    collector = SqlCollector(state)
    await collect(collector)
    asked(state)

    age(state, 15)
    await collect(collector)
    assert asked(state) == [(None, "good")]


async def test_an_outage_costs_no_interval(tmp_path: Path) -> None:
    """What was never run has cost nothing."""
    state = state_of(entry(tmp_path, "a"))
    server_of(state).is_down = True
    collector = SqlCollector(state)
    await collect(collector)
    server_of(state).is_down = False
    age(state, 60)

    await collect(collector)

    assert len(asked(state)) == 2


async def test_others_have_their_turn_between_slow_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(*(entry(tmp_path, name) for name in "abc"))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def take_6_seconds() -> None:
        nonlocal now
        now += 6

    server_of(state).before_answers = take_6_seconds
    await collect(SqlCollector(state))

    assert len(asked(state)) == 6
    assert server_of(state).connections == 3, "the statement_timeout is 10 s"


async def test_rows_become_series_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand samples would keep every scrape waiting."""
    threads = []

    def recording(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return series_of(*arguments)

    monkeypatch.setattr("plimsoll.serve.collectors.sql.series_of", recording)
    await collect(SqlCollector(state_of(entry(tmp_path, "a"))))

    assert threads
    assert threading.main_thread() not in threads


SAME = """
collector_name: NAME
metrics:
  - {metric_name: app_GAUGE, type: gauge, help: Of a test., values: [v], query: NAME gauge}
  - {metric_name: app_total, type: counter, help: Of a test., values: [v], query: NAME counter}
"""


def twins(directory: Path) -> ServerState:
    """Two files with the same series."""
    for name in "ab":
        (directory / f"{name}.yml").write_text(SAME.replace("NAME", name))
    files = [SqlEntry.model_validate(f"./{name}.yml", context={"directory": directory}) for name in "ab"]
    state = state_of(*files)
    server_of(state).refused = set()
    return state


def succeeding(state: ServerState) -> set[str]:
    return {outcome.query.text for outcome in state.outcomes["own"].values() if outcome.reason is None}


async def test_what_is_published_no_more_is_free_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = twins(tmp_path)
    collector = SqlCollector(state)
    await collect(collector)
    assert succeeding(state) == {"a gauge", "a counter"}

    server_of(state).refused = {"a gauge", "a counter"}
    await collect(collector)
    assert succeeding(state) == {"b counter"}, "the old gauge is repeated, the old counter is not"
    assert page(collector, state).count("\napp_total{") == 1
    assert page(collector, state).count("\napp_GAUGE{") == 1

    later = time.time() + state.settings.max_age + 1
    monkeypatch.setattr(time, "time", lambda: later)
    await collect(collector)
    assert succeeding(state) == {"b gauge", "b counter"}
    assert page(collector, state).count("\napp_GAUGE{") == 1


async def test_files_that_run_nowhere_are_told_once(tmp_path: Path) -> None:
    everywhere = entry(tmp_path, "a", databases={"include": ["o.*"]})
    nowhere = entry(tmp_path, "b", databases={"include": ["app_.*"]})
    state = state_of(everywhere, nowhere)
    unknown = replace(state, own_datname=None, databases=())
    with capture_logs() as logged:
        assert "plimsoll_sql_databases" not in page(SqlCollector(unknown), unknown)
        list(SqlCollector(unknown).jobs())
        assert logged == [], "nobody has asked the server yet"

        collector = SqlCollector(state)
        for _ in range(3):
            list(collector.jobs())

    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["error"] == "b: `databases` selects none of those that are watched: own, other"
    assert 'plimsoll_sql_databases{server="main",sql_collector="a"} 2\n' in page(collector, state)
    assert 'plimsoll_sql_databases{server="main",sql_collector="b"} 0\n' in page(collector, state)


async def test_the_same_failure_in_other_words_is_logged_once(tmp_path: Path) -> None:
    """The server quotes rows, which change."""
    state = state_of(entry(tmp_path, "a"))
    collector = SqlCollector(state)
    (job,) = collector.jobs()
    with capture_logs() as logged:
        for number in range(3):
            said = f"invalid input syntax for type integer: {number}{'x' * 1000}"
            server_of(state).failures = {"bad": StatementRefusedError(said, "failed")}
            age(state, 3600)
            job._last_start = None
            await job.refresh()
            assert job.complaint
            assert f"integer: {number}" in job.complaint
        server_of(state).failures = {"bad": StatementRefusedError(said, "locked")}
        age(state, 3600)
        job._last_start = None
        await job.refresh()

    assert [entry["error"].partition("(")[2].partition(":")[0] for entry in logged] == ["failed", "locked"]
    assert all(len(entry["error"]) < 300 for entry in logged)


async def test_a_reload_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    state = state_of(entry(tmp_path, "a"))
    server_of(state).refused = set()
    await collect(SqlCollector(state))
    asked(state)
    file = tmp_path / "a.yml"
    file.write_text(file.read_text().replace("Of a test.", "In other words.").replace("1h", "2h"))
    changed = SqlEntry.model_validate({"files": "./a.yml", "row_limit": 7}, context={"directory": tmp_path})

    state = replace(state, sql=(changed,))
    collector = SqlCollector(state)
    age(state, 3600)
    await collect(collector)

    assert asked(state) == [], "the new interval counts"
    assert "# HELP app_a_good In other words.\n# TYPE app_a_good gauge\napp_a_good{" in page(collector, state)


@pytest.mark.parametrize(
    "change", [("values: [v]", "static_value: 1"), ("gauge", "counter"), ("good}", "new}")]
)
async def test_a_reload_forgets_what_it_shapes_anew(tmp_path: Path, change: tuple[str, str]) -> None:
    state = state_of(entry(tmp_path, "a"))
    server_of(state).refused = set()
    await collect(SqlCollector(state))
    asked(state)
    file = tmp_path / "a.yml"
    file.write_text(file.read_text().replace(*change, 1))
    changed = SqlEntry.model_validate("./a.yml", context={"directory": tmp_path})

    await collect(SqlCollector(replace(state, sql=(changed,))))

    assert len(asked(state)) == 1
