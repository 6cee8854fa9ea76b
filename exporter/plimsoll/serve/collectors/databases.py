"""The size of each database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from plimsoll.serve.jobs import RETRY, Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page
from plimsoll.serve.sources.batches import Budget, Pace, read_in_time
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection, PostgresError, Reason, array
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import Database, DatabaseSize, ServerState

SIZE = Family("pg_database_size_bytes", "gauge", "Disk space used by the database.", ("server", "datname"))
OLDEST = Family(
    "pg_database_sizes_oldest_timestamp_seconds",
    "gauge",
    "When the oldest of the last known database sizes was measured, in seconds since the epoch.",
    ("server",),
)
_BATCH = 100
_STATEMENT = statement("database_sizes")


class DatabasesCollector:
    """Asks for the sizes of all watched databases over one connection.

    A pass ends in its time; what it did not come to is first in the next one.
    """

    name: ClassVar[str] = "databases"
    families: ClassVar[tuple[Family, ...]] = (SIZE, OLDEST)

    def __init__(self, state: ServerState) -> None:
        self._state = state
        settings = state.settings
        self._server_labels = LabelTemplate(settings.target_labels)()
        self._labels = LabelTemplate(settings.target_labels, ("datname",))
        self._pace = Pace(_BATCH)
        self._job = Job(
            self.name, settings.name, settings.target_labels, settings.databases.interval, self._measure
        )

    def jobs(self) -> Iterable[Job]:
        """Give the measuring of all databases."""
        return (self._job,)

    async def _measure(self) -> None:
        databases = self._state.databases
        known = self._state.sizes
        watched = {database.oid for database in databases}
        oids = [*(watched - known.keys()), *(oid for oid in known if oid in watched)]
        now = time.time()
        patience = self._state.settings.databases.interval + RETRY
        async with self._state.server.connect(long_work=True, patience=patience) as connection:
            budget = Budget(self._state.settings.databases.timeout)
            rows, refused, left = await read_in_time(oids, self._pace, partial(_read, connection), budget)
        fresh = {oid: DatabaseSize(size, now) for oid, size in rows if size is not None}
        repeated = {oid: known[oid] for oid in oids if oid in known and oid not in fresh}
        self._state.sizes = repeated | fresh
        self._complain_about(databases, refused, left)

    def _complain_about(
        self, databases: Sequence[Database], refused: Mapping[int, Reason], left: Sequence[int]
    ) -> None:
        """Raise for what could not be measured. What had to be left for the next pass is in order, while it
        still has a size that can be repeated.
        """
        names = [f"{each.name} ({refused[each.oid]})" for each in databases if each.oid in refused]
        if names:
            raise PostgresError(f"{len(names)} of {len(databases)} sizes refused: {', '.join(names[:5])}")
        known, oldest = self._state.sizes, self._state.oldest_allowed
        outdated = sum(oid in known and known[oid].measured_at < oldest for oid in left)
        if outdated:
            raise PostgresError(
                f"databases.timeout leaves no time for {len(left)} of {len(databases)} sizes a pass; "
                f"{outdated} are older than max_age"
            )

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish the last size of each database that still exists, while it is not too old."""
        oldest = known.oldest_allowed
        listed = ((database.name, known.sizes.get(database.oid)) for database in known.databases)
        sizes = [(name, last) for name, last in listed if last and last.measured_at >= oldest]
        page.add(SIZE, ((self._labels(name), last.size) for name, last in sizes))
        if sizes:
            page.add(OLDEST, [(self._server_labels, min(last.measured_at for _, last in sizes))])


async def _read(connection: Connection, oids: Sequence[int]) -> list[Row]:
    return await connection.read(_STATEMENT, {"oids": array(oids)})
