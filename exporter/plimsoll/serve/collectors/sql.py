"""The queries of collector files: metrics that users define, under the limits of everything else."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import ClassVar, NamedTuple

import structlog

from plimsoll.serve.jobs import RETRY, Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page, Sample
from plimsoll.serve.queries import complain_about, has_its_turn, idle, last_of, nowhere, planned, published
from plimsoll.serve.series import RowsRefusedError, family_of, refuse_taken, series_of
from plimsoll.serve.settings.sql import Query, SqlEntry
from plimsoll.serve.sources.batches import Budget
from plimsoll.serve.sources.postgres import Connection, PostgresError, StatementRefusedError
from plimsoll.serve.state.postgres import Database, ServerState
from plimsoll.serve.state.sql import Outcome, Series

_log = structlog.get_logger(__name__)
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
DATABASES = Family(
    "plimsoll_sql_databases",
    "gauge",
    "In how many databases the queries of the collector file run.",
    ("server", "sql_collector"),
)


class _Turn(NamedTuple):
    """One run of what is due in a database. Intervals count from its beginning (monotonic clock, in seconds).

    If they counted from each query's own, one that stands behind a slow one would miss every other turn.
    """

    datname: str
    began: float


class SqlCollector:
    """Runs what is due in each database over one connection, one query after the other.

    When they have had the connection for as long as one statement may take, others have their turn.
    """

    name: ClassVar[str] = "sql"
    families: ClassVar[tuple[Family, ...]] = (SUCCESS, FAILURE, DURATION, ROWS, DATABASES)

    def __init__(self, state: ServerState) -> None:
        self._state = state
        names = ("datname", "sql_collector", "query")
        self._labels = LabelTemplate(state.settings.target_labels, names)
        self._reason_labels = LabelTemplate(state.settings.target_labels, (*names, "reason"))
        self._collector_labels = LabelTemplate(state.settings.target_labels, ("sql_collector",))
        self._idle: list[SqlEntry] = []
        self._jobs: dict[tuple[str, float], Job] = {}
        self._plan: Mapping[str, Sequence[Query]] = {}
        self._planned_for: tuple[str | None, Sequence[Database]] = (None, ())

    def jobs(self) -> Iterable[Job]:
        """Give one job for each database that has queries; those of vanished databases are abandoned."""
        there = (self._state.own_datname, self._state.databases)
        if there != self._planned_for:
            self._planned_for = there
            self._plan_anew()
        return self._jobs.values()

    def _plan_anew(self) -> None:
        self._plan = planned(self._state)
        self._warn_of_idle()
        self._forget_what_is_not_planned()
        former = self._jobs
        intervals = {name: min(each.interval for each in queries) for name, queries in self._plan.items()}
        self._jobs = {key: former.get(key) or self._job(*key) for key in intervals.items()}
        for vanished in former.keys() - self._jobs.keys():
            former[vanished].cancel()

    def _forget_what_is_not_planned(self) -> None:
        """Forget outcomes in databases that have vanished, and of queries that a reload has taken away."""
        plan = {name: {query.key for query in queries} for name, queries in self._plan.items()}
        outcomes = self._state.outcomes
        if any(of.keys() - plan.get(name, set()) for name, of in outcomes.items()):
            self._state.outcomes = {
                name: {key: outcome for key, outcome in outcomes[name].items() if key in plan[name]}
                for name in outcomes.keys() & plan.keys()
            }

    def _warn_of_idle(self) -> None:
        """Log what runs nowhere, once."""
        found = idle(self._state)
        for entry in found:
            if entry not in self._idle:
                why = nowhere(entry, self._state)
                _log.warning("collector files run nowhere", server=self._state.settings.name, error=why)
        self._idle = found

    def _job(self, datname: str, interval: float) -> Job:
        settings = self._state.settings
        labels = settings.target_labels | {"datname": datname}
        return Job(self.name, settings.name, labels, interval, lambda: self._collect(datname))

    async def _collect(self, datname: str) -> None:
        queries = self._plan.get(datname, ())
        turn = _Turn(datname, time.monotonic())
        due = [
            query
            for query in queries
            if has_its_turn(query, last_of(self._state, datname, query), turn.began)
        ]
        for query in due:
            if last := last_of(self._state, datname, query):
                self._keep(datname, replace(last, is_live=False))
        if due:
            await self._run_all(turn, due)
        complain_about([last_of(self._state, datname, query) for query in queries])

    async def _run_all(self, turn: _Turn, queries: Sequence[Query]) -> None:
        waiting = deque(queries)
        patience = min(query.interval for query in queries) + RETRY
        while waiting:
            started = time.monotonic()
            try:
                async with connection_to(self._state, turn.datname, patience) as connection:
                    await self._run_some(connection, turn, waiting)
            except PostgresError as error:
                for query in waiting:
                    self._fail(turn, query, started, "connection", str(error), has_run=False)
                raise

    async def _run_some(self, connection: Connection, turn: _Turn, waiting: deque[Query]) -> None:
        """Run queries until it is the turn of others, or one has cost the connection, and so only itself."""
        budget = Budget(self._state.settings.statement_timeout)
        while waiting and not budget.is_spent:
            if not await self._run(connection, turn, waiting.popleft()):
                return

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

    def _fail(
        self, turn: _Turn, query: Query, started: float, reason: str, message: str, *, has_run: bool = True
    ) -> None:
        """Note a failure; what is known from before may be repeated for a while."""
        last = last_of(self._state, turn.datname, query)
        series, measured_at = (last.series, last.measured_at) if last else ({}, 0.0)
        duration = time.monotonic() - started
        outcome = Outcome(query, turn.began, duration, reason, message, 0, series, measured_at, is_live=False)
        self._keep(turn.datname, replace(outcome, has_run=has_run))

    def _keep(self, datname: str, outcome: Outcome) -> None:
        outcomes = self._state.outcomes
        self._state.outcomes = {
            **outcomes,
            datname: {**outcomes.get(datname, {}), outcome.query.key: outcome},
        }

    def _others(self, datname: str, query: Query) -> list[Series]:
        """Give what the other queries of the database publish."""
        others = [other for other in self._plan.get(datname, ()) if other.key != query.key]
        known = ((other, last_of(self._state, datname, other)) for other in others)
        oldest = self._state.oldest_allowed
        return [published(other, outcome, oldest) for other, outcome in known if outcome]

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish how each query fares and what it gave: counters live, gauges while they are not too old."""
        if known.own_datname is not None:
            page.add(DATABASES, self._databases(known))
        for datname, queries in planned(known).items():
            for query in queries:
                if outcome := last_of(known, datname, query):
                    self._emit_outcome(page, datname, outcome)
                    self._emit_series(page, datname, query, outcome, known)

    def _databases(self, known: ServerState) -> Iterator[Sample]:
        plan = planned(known).values()
        counts = Counter(name for queries in plan for name in {query.collector for query in queries})
        for name in dict.fromkeys(name for entry in known.sql for name in entry.names):
            yield self._collector_labels(name), counts[name]

    def _emit_outcome(self, page: Page, datname: str, outcome: Outcome) -> None:
        labels = self._labels(datname, *outcome.query.key)
        page.add(SUCCESS, [(labels, int(outcome.reason is None))])
        page.add(DURATION, [(labels, outcome.duration)])
        if outcome.reason is None:
            page.add(ROWS, [(labels, outcome.rows)])
        else:
            page.add(FAILURE, [(self._reason_labels(datname, *outcome.query.key, outcome.reason), 1)])

    def _emit_series(
        self, page: Page, datname: str, query: Query, outcome: Outcome, known: ServerState
    ) -> None:
        constant = known.settings.target_labels | {"datname": datname}
        live = replace(outcome, is_live=outcome.is_live and bool(known.up))
        series = published(query, live, known.oldest_allowed)
        for name, family in {metric.metric_name: family_of(metric) for metric in query.metrics}.items():
            samples = series.get(name, {}).items()
            page.add(family, [(LabelTemplate(constant | dict(own))(), value) for own, value in samples])


def connection_to(
    state: ServerState, datname: str, patience: float
) -> AbstractAsyncContextManager[Connection]:
    """Connect to a database, as soon as there is a place.

    Raises:
        PostgresError: the role may not, or for `patience` seconds no place has become free.
    """
    if any(database.name == datname and not database.may_connect for database in state.databases):
        raise PostgresError(f"no privilege CONNECT on database {datname}")
    own = None if datname == state.own_datname else datname
    return state.server.connect(own, long_work=True, patience=patience)


async def run(connection: Connection, query: Query) -> tuple[int, Series]:
    """Run a query; give the number of its rows, and the series that they make.

    Raises:
        StatementRefusedError: it cannot be run.
        RowsRefusedError: no series can be made of its rows.
        PostgresError: the connection is lost.
    """
    answer = await connection.select(query.text, query.row_limit)
    # In a thread: thousands of rows take their time, and scrapes must not wait for it.
    return len(answer.rows), await asyncio.to_thread(series_of, query, answer)
