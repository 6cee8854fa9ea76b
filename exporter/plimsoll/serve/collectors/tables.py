"""The sizes of each table, database by database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from plimsoll.serve.jobs import RETRY, Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page, Sample
from plimsoll.serve.sources.batches import Budget, oldest_first, read_in_batches
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection, PostgresError, Reason, array
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import Database, ServerState, Table, TablePass

_DATABASE = ("server", "datname")
_TABLE = (*_DATABASE, "schemaname", "relname")
SIZE = Family(
    "pg_stat_user_tables_size_bytes",
    "gauge",
    "Disk space used by the table with its TOAST and its indexes, as pg_total_relation_size gives it.",
    _TABLE,
)
TABLE_SIZE = Family(
    "pg_stat_user_tables_table_size_bytes",
    "gauge",
    "Disk space used by the table with its TOAST and maps but without indexes, as pg_table_size gives it.",
    _TABLE,
)
TOAST_SIZE = Family(
    "pg_stat_user_tables_toast_size_bytes",
    "gauge",
    "Disk space used by the table's TOAST relation with its index; a part of the table size.",
    _TABLE,
)
INDEX_SIZE = Family(
    "pg_stat_user_tables_index_size_bytes",
    "gauge",
    "Disk space used by the table's indexes, as pg_indexes_size gives it.",
    _TABLE,
)
LIVE = Family("pg_stat_user_tables_n_live_tup", "gauge", "Estimated number of live rows.", _TABLE)
DEAD = Family("pg_stat_user_tables_n_dead_tup", "gauge", "Estimated number of dead rows.", _TABLE)
UNATTRIBUTED = Family(
    "pg_unattributed_size_bytes",
    "gauge",
    "Database size minus its measured tables: catalogues, large objects, files without an owner.",
    _DATABASE,
)
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
_REASONS: tuple[Reason, ...] = ("locked", "denied", "timeout", "failed")
_BATCH = 500
_TABLES = statement("tables")
_SIZES = statement("table_sizes")


class TablesCollector:
    """Lists and measures the tables of each watched database over a connection of its own."""

    name: ClassVar[str] = "tables"
    families: ClassVar[tuple[Family, ...]] = (
        SIZE,
        TABLE_SIZE,
        TOAST_SIZE,
        INDEX_SIZE,
        LIVE,
        DEAD,
        UNATTRIBUTED,
        UNMEASURED,
        OLDEST,
    )

    def __init__(self, state: ServerState) -> None:
        self._state = state
        labels = state.settings.target_labels
        self._database_labels = LabelTemplate(labels, ("datname",))
        self._reason_labels = LabelTemplate(labels, ("datname", "reason"))
        self._table_labels = LabelTemplate(labels, ("datname", "schemaname", "relname"))
        self._jobs: dict[Database, Job] = {}

    def jobs(self) -> Iterable[Job]:
        """Give one job for each database; those of vanished databases are abandoned."""
        former = self._jobs
        self._jobs = {
            database: former.get(database) or self._job(database) for database in self._state.databases
        }
        for vanished in former.keys() - self._jobs.keys():
            former[vanished].cancel()
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
        now = time.time()
        patience = self._state.settings.tables.interval + RETRY
        connecting = self._state.server.connect(database.name, long_work=True, patience=patience)
        async with connecting as connection:
            listed = await connection.read(_TABLES)
            last = self._state.passes.get(database.oid)
            former = last.tables if last else {}
            oids = oldest_first([row[0] for row in listed], former)
            budget = Budget.of_pass(self._state.settings.statement_timeout)
            sizes, refused = await _measure_tables(connection, oids, budget)
        result = combine(former, listed, sizes, refused, now)
        watched = {database.oid for database in self._state.databases}
        kept = {oid: other for oid, other in self._state.passes.items() if oid in watched}
        self._state.passes = kept | {database.oid: result}
        _complain_about(listed, refused)

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish the tables of each database that still exists, while they are not too old."""
        for database in known.databases:
            if last := known.passes.get(database.oid):
                tables = [
                    table for table in last.tables.values() if table.measured_at >= known.oldest_allowed
                ]
                self._emit_tables(page, database, tables)
                self._emit_pass(page, database, last)
                size = known.size_of(database)
                if size is not None and len(tables) == last.listed:  # else bytes of a table would be nobody's
                    rest = size - sum(table.size for table in tables)
                    page.add(UNATTRIBUTED, [(self._database_labels(database.name), rest)])

    def _emit_tables(self, page: Page, database: Database, tables: Sequence[Table]) -> None:
        labels = [self._table_labels(database.name, table.schema, table.name) for table in tables]
        page.add(SIZE, zip(labels, [table.size for table in tables], strict=True))
        page.add(TABLE_SIZE, zip(labels, [table.table_size for table in tables], strict=True))
        page.add(TOAST_SIZE, zip(labels, [table.toast for table in tables], strict=True))
        page.add(INDEX_SIZE, zip(labels, [table.indexes for table in tables], strict=True))
        page.add(LIVE, zip(labels, [table.live for table in tables], strict=True))
        page.add(DEAD, zip(labels, [table.dead for table in tables], strict=True))

    def _emit_pass(self, page: Page, database: Database, last: TablePass) -> None:
        page.add(UNMEASURED, self._unmeasured(database, last))
        measured = (table.measured_at for table in last.tables.values())
        page.add(OLDEST, [(self._database_labels(database.name), min(measured, default=last.began_at))])

    def _unmeasured(self, database: Database, last: TablePass) -> Iterator[Sample]:
        for reason in _REASONS:
            yield self._reason_labels(database.name, reason), last.unmeasured[reason]


async def _measure_tables(
    connection: Connection, oids: Sequence[int], budget: Budget
) -> tuple[list[Row], dict[int, Reason]]:
    """Measure tables; those that were dropped meanwhile are in neither of the results.

    A table whose TOAST relation was exchanged while it was measured gives NULL once, like a dropped
    one: what gave NULL is asked for again.
    """
    read = partial(_read, connection)
    rows, refused = await read_in_batches(oids, _BATCH, read, budget)
    vanished = [row[0] for row in rows if not row[1] and None in row]
    again, refused_again = await read_in_batches(vanished, _BATCH, read, budget)
    rows += again
    locked: dict[int, Reason] = {oid: "locked" for oid, is_held, *_ in rows if is_held}
    return [row for row in rows if None not in row], refused | refused_again | locked


async def _read(connection: Connection, oids: Sequence[int]) -> list[Row]:
    return await connection.read(_SIZES, {"oids": array(oids)})


def _complain_about(listed: Sequence[Row], refused: Mapping[int, Reason]) -> None:
    """Raise for what is not in the order of things; a lock is, and passes."""
    reasons = {oid: reason for oid, reason in refused.items() if reason != "locked"}
    if bad := [f"{schema}.{name} ({reasons[oid]})" for oid, schema, name, *_ in listed if oid in reasons]:
        raise PostgresError(f"{len(bad)} of {len(listed)} tables not measured: {', '.join(bad[:5])}")


def combine(
    former: Mapping[int, Table],
    listed: Iterable[Row],
    sizes: Iterable[Row],
    refused: Mapping[int, Reason],
    now: float,
) -> TablePass:
    """Join names and tuples with new sizes; a table that was refused keeps its former ones."""
    measured = {oid: (heap, toast, indexes) for oid, _, heap, toast, indexes in sizes}
    tables = {}
    for oid, schema, name, live, dead in listed:
        if oid in measured:
            tables[oid] = Table(schema, name, live, dead, *measured[oid], measured_at=now)
        elif oid in refused and (last := former.get(oid)):
            tables[oid] = replace(last, schema=schema, name=name, live=live, dead=dead)
    never_measured = sum(oid not in tables for oid in refused)
    return TablePass(tables, Counter(refused.values()), len(tables) + never_measured, now)
