"""The sizes of each table, database by database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from plimsoll.serve import table_series, table_statistics
from plimsoll.serve.jobs import RETRY, Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page, Sample
from plimsoll.serve.passes import combine, due, show
from plimsoll.serve.settings.postgres import TableSettings
from plimsoll.serve.sources.batches import Budget, read_in_batches
from plimsoll.serve.sources.catalogue import Look, look, name_of
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection, PostgresError, Reason, array
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import Database, ServerState
from plimsoll.serve.state.tables import CAUSES, Cause, Shown, TablePass

_DATABASE = ("server", "datname")
UNMEASURED = Family(
    "pg_tables_unmeasured",
    "gauge",
    "Tables that the last pass could not measure; their last sizes are repeated.",
    (*_DATABASE, "reason"),
)
OLDEST = Family(
    "pg_sizes_oldest_timestamp_seconds",
    "gauge",
    "When the oldest of the last known table sizes was measured, in seconds since the epoch.",
    _DATABASE,
)
MEASURED = Family(
    "pg_tables_measured",
    "gauge",
    "Tables that the last pass measured, by the reason; it repeats the sizes of all others.",
    (*_DATABASE, "reason"),
)
_REASONS: tuple[Reason, ...] = ("locked", "denied", "timeout", "failed")
_BATCH = 500
_SIZES = statement("table_sizes")
_STATISTICS = statement("table_statistics")


class TablesCollector:
    """Lists and measures the tables of each watched database over a connection of its own."""

    name: ClassVar[str] = "tables"
    families: ClassVar[tuple[Family, ...]] = (
        *table_series.FAMILIES,
        *table_statistics.FAMILIES,
        MEASURED,
        UNMEASURED,
        OLDEST,
    )

    def __init__(self, state: ServerState) -> None:
        self._state = state
        labels = state.settings.target_labels
        self._database_labels = LabelTemplate(labels, ("datname",))
        self._reason_labels = LabelTemplate(labels, ("datname", "reason"))
        self._jobs: dict[Database, Job] = {}
        self._jobs_of: tuple[Database, ...] = ()

    def jobs(self) -> Iterable[Job]:
        """Give one job for each database; those of vanished databases are abandoned."""
        if self._jobs_of is not self._state.databases:
            former = self._jobs
            self._jobs_of = self._state.databases
            self._jobs = {database: former.get(database) or self._job(database) for database in self._jobs_of}
            for vanished in former.keys() - self._jobs.keys():
                former[vanished].cancel()
            watched = {database.oid for database in self._jobs_of}
            self._state.passes = {oid: last for oid, last in self._state.passes.items() if oid in watched}
        return self._jobs.values()

    def _job(self, database: Database) -> Job:
        settings = self._state.settings
        return Job(
            self.name,
            settings.name,
            settings.target_labels | {"datname": database.name},
            settings.tables.interval,
            lambda: self._measure(database),
        )

    async def _measure(self, database: Database) -> None:
        if not database.may_connect:
            raise PostgresError(f"no privilege CONNECT on database {database.name}")
        last = self._state.passes.get(database.oid)
        try:
            result, complaint = await self._pass_over(database, last)
        except PostgresError:
            if last:
                self._keep(database, replace(last, statistics=()))  # counters are never repeated
            raise
        self._keep(database, result)
        if complaint:
            raise PostgresError(complaint)

    def _keep(self, database: Database, result: TablePass) -> None:
        self._state.passes = {**self._state.passes, database.oid: result}

    async def _pass_over(self, database: Database, last: TablePass | None) -> tuple[TablePass, str | None]:
        settings = self._state.settings
        patience = settings.tables.interval + RETRY
        async with self._state.server.connect(database.name, long_work=True, patience=patience) as connection:
            now = time.time()
            seen = await look(connection, last.look if last else None)
            causes = await asyncio.to_thread(due, seen, last, now, settings.tables.full_interval)
            budget = Budget.of_pass(settings.statement_timeout)
            sizes, refused = await _measure_tables(connection, list(causes), budget)
            result = await asyncio.to_thread(
                _conclude, seen, last, causes, sizes, refused, now, settings.tables
            )
            if settings.tables.statistics:
                shown = list(result.shown.tables.published)
                rows, _ = await read_in_batches(
                    shown, _BATCH, partial(_read, connection, _STATISTICS), budget
                )
                result = replace(result, statistics=rows)
        return result, _complaint(seen, refused)

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish the tables of each database that still exists, while they are not too old."""
        for database in known.databases:
            if last := known.passes.get(database.oid):
                labels = self._database_labels(database.name)
                size = known.size_of(database)
                table_series.emit(page, labels, last, size, known.oldest_allowed)
                if known.up:
                    table_statistics.emit(page, labels, last)
                self._emit_pass(page, database, last)

    def _emit_pass(self, page: Page, database: Database, last: TablePass) -> None:
        causes = ((self._reason_labels(database.name, cause), last.measured[cause]) for cause in CAUSES)
        page.add(MEASURED, causes)
        page.add(UNMEASURED, self._unmeasured(database, last))
        page.add(OLDEST, [(self._database_labels(database.name), last.oldest)])

    def _unmeasured(self, database: Database, last: TablePass) -> Iterator[Sample]:
        for reason in _REASONS:
            yield self._reason_labels(database.name, reason), last.unmeasured[reason]


def _conclude(
    seen: Look,
    last: TablePass | None,
    causes: Mapping[int, Cause],
    sizes: Iterable[Row],
    refused: Mapping[int, Reason],
    now: float,
    settings: TableSettings,
) -> TablePass:
    result = combine(seen, last, causes, sizes, refused, now)
    return replace(result, shown=show(seen, result.sizes, last.shown if last else Shown(), settings, now))


async def _measure_tables(
    connection: Connection, oids: Sequence[int], budget: Budget
) -> tuple[list[Row], dict[int, Reason]]:
    """Measure tables; those that were dropped meanwhile are in neither of the results.

    A table whose TOAST relation was exchanged while it was measured gives NULL once, like a dropped
    one: what gave NULL is asked for again.
    """
    vanished: list[int] = []
    locked: dict[int, Reason] = {}

    async def read(some: Sequence[int]) -> list[Row]:
        rows = await _read(connection, _SIZES, some)
        vanished.extend(oid for oid, is_held, *sizes in rows if None in sizes and not is_held)
        locked.update((oid, "locked") for oid, is_held, *_ in rows if is_held)
        return [row for row in rows if None not in row]

    sizes, refused = await read_in_batches(oids, _BATCH, read, budget)
    more, refused_again = await read_in_batches(list(vanished), _BATCH, read, budget)
    return sizes + more, refused | refused_again | locked


async def _read(connection: Connection, text: str, oids: Sequence[int]) -> list[Row]:
    return await connection.read(text, {"oids": array(oids)})


def _complaint(seen: Look, refused: Mapping[int, Reason]) -> str | None:
    """Say what is not in the order of things; a lock is, and passes."""
    bad = [
        f"{'.'.join(name_of(seen.tables[oid]))} ({reason})"
        for oid, reason in refused.items()
        if reason != "locked"
    ]
    if not bad:
        return None
    return f"{len(bad)} of {len(seen.tables)} tables not measured: {', '.join(bad[:5])}"
