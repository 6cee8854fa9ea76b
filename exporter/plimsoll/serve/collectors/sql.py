"""The queries of collector files: metrics that users define, under the limits of everything else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import ClassVar, NamedTuple

from plimsoll.serve.jobs import RETRY, Job, is_due
from plimsoll.serve.metrics import Family, LabelTemplate, Page
from plimsoll.serve.series import RowsRefusedError, family_of, refuse_taken, series_of
from plimsoll.serve.settings.sql import Query
from plimsoll.serve.sources.postgres import Connection, PostgresError, StatementRefusedError
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.state.sql import Outcome, Series

_QUERY = ("server", "datname", "sql_collector", "query")
SUCCESS = Family("plimsoll_sql_query_success", "gauge", "Whether the query last succeeded.", _QUERY)
FAILURE = Family(
    "plimsoll_sql_query_failure_reason",
    "gauge",
    "Always 1, while the query fails; the reason is a label.",
    (*_QUERY, "reason"),
)
DURATION = Family("plimsoll_sql_query_duration_seconds", "gauge", "How long the query last took.", _QUERY)
ROWS = Family("plimsoll_sql_query_rows", "gauge", "How many rows the query last gave.", _QUERY)


class _Turn(NamedTuple):
    """One run of what is due in a database. Intervals count from its beginning (monotonic clock, in seconds).

    If they counted from each query's own, one that stands behind a slow one would miss every other turn.
    """

    datname: str
    began: float


class SqlCollector:
    """Runs what is due in each database over one connection, one query after the other."""

    name: ClassVar[str] = "sql"
    families: ClassVar[tuple[Family, ...]] = (SUCCESS, FAILURE, DURATION, ROWS)

    def __init__(self, state: ServerState) -> None:
        self._state = state
        names = ("datname", "sql_collector", "query")
        self._labels = LabelTemplate(state.settings.target_labels, names)
        self._reason_labels = LabelTemplate(state.settings.target_labels, (*names, "reason"))
        self._jobs: dict[tuple[str, float], Job] = {}
        self._plan: Mapping[str, Sequence[Query]] = {}

    def jobs(self) -> Iterable[Job]:
        """Give one job for each database that has queries; those of vanished databases are abandoned."""
        self._plan = planned(self._state)
        outcomes = self._state.outcomes
        if outcomes.keys() - self._plan.keys():
            self._state.outcomes = {name: of for name, of in outcomes.items() if name in self._plan}
        former = self._jobs
        intervals = {name: min(each.interval for each in queries) for name, queries in self._plan.items()}
        self._jobs = {key: former.get(key) or self._job(*key) for key in intervals.items()}
        for vanished in former.keys() - self._jobs.keys():
            former[vanished].cancel()
        return self._jobs.values()

    def _job(self, datname: str, interval: float) -> Job:
        settings = self._state.settings
        labels = settings.target_labels | {"datname": datname}
        return Job(self.name, settings.name, labels, interval, lambda: self._collect(datname))

    async def _collect(self, datname: str) -> None:
        queries = self._plan.get(datname, ())
        turn = _Turn(datname, time.monotonic())
        due = [query for query in queries if _is_due(last_of(self._state, datname, query), turn.began)]
        for query in due:
            if last := last_of(self._state, datname, query):
                self._keep(datname, replace(last, is_live=False))
        if due:
            await self._run_all(turn, due)
        _complain_about([last_of(self._state, datname, query) for query in queries])

    async def _run_all(self, turn: _Turn, queries: Sequence[Query]) -> None:
        waiting = deque(queries)
        while waiting:  # a query that costs the connection, since it ends its backend, say, costs only itself
            started = time.monotonic()
            try:
                async with connection_to(self._state, turn.datname) as connection:
                    while waiting and await self._run(connection, turn, waiting[0]):
                        waiting.popleft()
            except PostgresError as error:
                for query in waiting:
                    self._fail(turn, query, started, "connection", str(error))
                raise
            if waiting:
                waiting.popleft()

    async def _run(self, connection: Connection, turn: _Turn, query: Query) -> bool:
        """Run a query and note what came of it; say whether the connection is still good."""
        started = time.monotonic()
        now = time.time()
        try:
            rows, series = await run(connection, query)
            refuse_taken(query, series, self._others(turn.datname, query))
        except (StatementRefusedError, RowsRefusedError) as error:
            self._fail(turn, query, started, error.reason, str(error))
        except PostgresError as error:
            self._fail(turn, query, started, "connection", str(error))
            return False
        else:
            duration = time.monotonic() - started
            outcome = Outcome(query, turn.began, duration, None, "", rows, series, now, is_live=True)
            self._keep(turn.datname, outcome)
        return True

    def _fail(self, turn: _Turn, query: Query, started: float, reason: str, message: str) -> None:
        """Note a failure; what is known from before may be repeated for a while."""
        last = last_of(self._state, turn.datname, query)
        series, measured_at = (last.series, last.measured_at) if last else ({}, 0.0)
        duration = time.monotonic() - started
        outcome = Outcome(query, turn.began, duration, reason, message, 0, series, measured_at, is_live=False)
        self._keep(turn.datname, outcome)

    def _keep(self, datname: str, outcome: Outcome) -> None:
        outcomes = self._state.outcomes
        self._state.outcomes = {
            **outcomes,
            datname: {**outcomes.get(datname, {}), outcome.query.key: outcome},
        }

    def _others(self, datname: str, query: Query) -> list[Series]:
        """Give what the other queries of the database have published."""
        others = [other for other in self._plan.get(datname, ()) if other.key != query.key]
        known = (last_of(self._state, datname, other) for other in others)
        return [outcome.series for outcome in known if outcome]

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish how each query fares and what it gave: counters live, gauges while they are not too old."""
        for datname, queries in planned(known).items():
            for query in queries:
                if outcome := last_of(known, datname, query):
                    self._emit_outcome(page, datname, outcome)
                    self._emit_series(page, datname, outcome, known)

    def _emit_outcome(self, page: Page, datname: str, outcome: Outcome) -> None:
        labels = self._labels(datname, *outcome.query.key)
        page.add(SUCCESS, [(labels, int(outcome.reason is None))])
        page.add(DURATION, [(labels, outcome.duration)])
        if outcome.reason is None:
            page.add(ROWS, [(labels, outcome.rows)])
        else:
            page.add(FAILURE, [(self._reason_labels(datname, *outcome.query.key, outcome.reason), 1)])

    def _emit_series(self, page: Page, datname: str, outcome: Outcome, known: ServerState) -> None:
        constant = known.settings.target_labels | {"datname": datname}
        is_live = outcome.is_live and bool(known.up)
        is_young = outcome.measured_at >= known.oldest_allowed
        families = {metric.metric_name: family_of(metric) for metric in outcome.query.metrics}
        for name, family in families.items():
            if is_young if family.kind == "gauge" else is_live:
                samples = outcome.series.get(name, {}).items()
                page.add(family, [(LabelTemplate(constant | dict(own))(), value) for own, value in samples])


def planned(state: ServerState) -> Mapping[str, Sequence[Query]]:
    """Give what is run in which database, each query once."""
    plan: dict[str, dict[tuple[str, str], Query]] = {}
    for entry in state.sql:
        if entry.databases is None:
            names = [state.own_datname] if state.own_datname is not None else []
        else:
            names = [each.name for each in state.databases if entry.databases.wanted(each.name)]
        for name in names:
            for query in entry.queries:
                plan.setdefault(name, {}).setdefault(query.key, query)
    return {name: tuple(queries.values()) for name, queries in plan.items()}


def last_of(state: ServerState, datname: str, query: Query) -> Outcome | None:
    """Give what came of a query, unless a reload has changed it since."""
    outcome = state.outcomes.get(datname, {}).get(query.key)
    return outcome if outcome and outcome.query == query else None


def connection_to(state: ServerState, datname: str) -> AbstractAsyncContextManager[Connection]:
    """Connect to a database.

    Raises:
        PostgresError: the role may not.
    """
    if any(database.name == datname and not database.may_connect for database in state.databases):
        raise PostgresError(f"no privilege CONNECT on database {datname}")
    return state.server.connect(None if datname == state.own_datname else datname, long_work=True)


async def run(connection: Connection, query: Query) -> tuple[int, Series]:
    """Run a query; give the number of its rows, and the series that they make.

    Raises:
        StatementRefusedError: it cannot be run.
        RowsRefusedError: no series can be made of its rows.
        PostgresError: the connection is lost.
    """
    answer = await connection.select(query.text, query.row_limit)
    return len(answer.rows), series_of(query, answer)


def _is_due(last: Outcome | None, now: float) -> bool:
    if last is None:
        return True
    interval = last.query.interval if last.is_live else min(last.query.interval, RETRY)
    return is_due(last.started, interval, now)


def _complain_about(outcomes: Sequence[Outcome | None]) -> None:
    failed = [outcome for outcome in outcomes if outcome and outcome.reason]
    if failed:
        told = (f"{'/'.join(each.query.key)} ({each.reason}: {each.message})" for each in failed[:5])
        raise PostgresError(f"{len(failed)} of {len(outcomes)} queries failed: {'; '.join(told)}")
