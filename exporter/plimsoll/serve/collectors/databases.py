"""The size of each database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

from plimsoll.serve.jobs import RETRY, Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page
from plimsoll.serve.sources.batches import Budget, oldest_first, read_in_batches
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection, PostgresError, array
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import DatabaseSize, ServerState

SIZE = Family("pg_database_size_bytes", "gauge", "Disk space used by the database.", ("server", "datname"))
_BATCH = 100
_STATEMENT = statement("database_sizes")


class DatabasesCollector:
    """Asks for the sizes of all watched databases over one connection."""

    name: ClassVar[str] = "databases"
    families: ClassVar[tuple[Family, ...]] = (SIZE,)

    def __init__(self, state: ServerState) -> None:
        self._state = state
        settings = state.settings
        self._labels = LabelTemplate(settings.target_labels, ("datname",))
        self._job = Job(
            self.name, settings.name, settings.target_labels, settings.databases.interval, self._measure
        )

    def jobs(self) -> Iterable[Job]:
        """Give the measuring of all databases."""
        return (self._job,)

    async def _measure(self) -> None:
        databases = self._state.databases
        known = self._state.sizes
        oids = oldest_first([database.oid for database in databases], known)
        now = time.time()
        patience = self._state.settings.databases.interval + RETRY
        async with self._state.server.connect(long_work=True, patience=patience) as connection:
            budget = Budget.of_pass(self._state.settings.statement_timeout)
            rows, refused = await read_in_batches(oids, _BATCH, partial(_read, connection), budget)
        fresh = {oid: DatabaseSize(size, now) for oid, size in rows if size is not None}
        watched = {database.oid for database in databases}
        kept = {oid: size for oid, size in known.items() if oid in watched}
        self._state.sizes = kept | fresh
        if refused:
            names = [
                f"{database.name} ({refused[database.oid]})"
                for database in databases
                if database.oid in refused
            ]
            raise PostgresError(f"{len(refused)} of {len(databases)} sizes refused: {', '.join(names[:5])}")

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish the last size of each database that still exists, while it is not too old."""
        sizes = ((database.name, known.size_of(database)) for database in known.databases)
        page.add(SIZE, ((self._labels(name), size) for name, size in sizes if size is not None))


async def _read(connection: Connection, oids: Sequence[int]) -> list[Row]:
    return await connection.read(_STATEMENT, {"oids": array(oids)})
