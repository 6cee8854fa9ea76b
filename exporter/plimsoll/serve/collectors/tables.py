"""The sizes of each table, database by database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page, Sample
from plimsoll.serve.sources.batches import read_in_batches
from plimsoll.serve.sources.postgres import Connection, PostgresError, Reason, Row, array
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state import Database, ServerState, Table, TablePass

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
    "When the oldest of the published table sizes was measured, in seconds since the epoch.",
    _DATABASE,
)
_REASONS: tuple[Reason, ...] = ("locked", "denied", "timeout")
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
        """Give one job for each database; those of vanished databases are forgotten."""
        self._jobs = {
            database: self._jobs.get(database) or self._job(database) for database in self._state.databases
        }
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
        async with self._state.server.connect(database.name, long_work=True) as connection:
            listed = await connection.read(_TABLES)
            sizes, refused = await _measure_tables(connection, [row[0] for row in listed])
        former = self._state.passes.get(database.oid)
        result = combine(former.tables if former else {}, listed, sizes, refused, now)
        watched = {database.oid for database in self._state.databases}
        kept = {oid: former for oid, former in self._state.passes.items() if oid in watched}
        self._state.passes = kept | {database.oid: result}

    def emit(self, page: Page) -> None:
        """Publish the tables of each database that still exists, while they are not too old."""
        passes = self._state.passes
        for database in self._state.databases:
            if last := passes.get(database.oid):
                self._emit_database(page, database, last)

    def _emit_database(self, page: Page, database: Database, last: TablePass) -> None:
        oldest_allowed = time.time() - self._state.settings.max_age
        tables = [table for table in last.tables.values() if table.measured_at >= oldest_allowed]
        labels = [self._table_labels(database.name, table.schema, table.name) for table in tables]
        page.add(SIZE, zip(labels, [table.size for table in tables], strict=True))
        page.add(TABLE_SIZE, zip(labels, [table.table_size for table in tables], strict=True))
        page.add(TOAST_SIZE, zip(labels, [table.toast for table in tables], strict=True))
        page.add(INDEX_SIZE, zip(labels, [table.indexes for table in tables], strict=True))
        page.add(LIVE, zip(labels, [table.live for table in tables], strict=True))
        page.add(DEAD, zip(labels, [table.dead for table in tables], strict=True))
        if last.finished_at < oldest_allowed:
            return
        page.add(UNATTRIBUTED, self._unattributed(database, last))
        page.add(UNMEASURED, self._unmeasured(database, last))
        oldest = min((table.measured_at for table in tables), default=last.finished_at)
        page.add(OLDEST, [(self._database_labels(database.name), oldest)])

    def _unattributed(self, database: Database, last: TablePass) -> Iterator[Sample]:
        """Give nothing while a table was never measured: its bytes would be counted as nobody's."""
        size = self._state.sizes.get(database.oid)
        if size and not last.never_measured:
            measured = sum(table.size for table in last.tables.values())
            yield self._database_labels(database.name), size.size - measured

    def _unmeasured(self, database: Database, last: TablePass) -> Iterator[Sample]:
        for reason in _REASONS:
            yield self._reason_labels(database.name, reason), last.unmeasured[reason]


async def _measure_tables(connection: Connection, oids: Sequence[int]) -> tuple[list[Row], dict[int, Reason]]:
    """Measure tables; those that were dropped meanwhile are in neither of the results.

    A table whose TOAST relation was exchanged while it was measured gives NULL once, like a dropped
    one: what gave NULL is asked for again.
    """
    rows, refused = await read_in_batches(oids, _BATCH, lambda batch: _read(connection, batch))
    vanished = [row[0] for row in rows if not row[1] and None in row]
    again, refused_again = await read_in_batches(vanished, _BATCH, lambda batch: _read(connection, batch))
    refused |= refused_again
    refused |= dict.fromkeys((oid for oid, is_held, *_ in rows + again if is_held), "locked")
    return [row for row in rows + again if None not in row], refused


async def _read(connection: Connection, oids: Sequence[int]) -> list[Row]:
    return await connection.read(_SIZES, {"oids": array(oids)})


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
            tables[oid] = Table(
                schema, name, live, dead, last.heap, last.toast, last.indexes, last.measured_at
            )
    never_measured = sum(oid not in tables for oid in refused)
    return TablePass(tables, Counter(refused.values()), never_measured, now)
