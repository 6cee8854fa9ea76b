"""What is known of one PostgreSQL server: results that collectors write and pages are made of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.postgres import PostgresServer
from plimsoll.serve.state.sql import Outcomes
from plimsoll.serve.state.tables import TablePass


@dataclass(frozen=True, slots=True)
class Database:
    """A database that is to be watched."""

    oid: int
    name: str
    may_connect: bool


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """Bytes of a database, and when it was measured (seconds since the epoch)."""

    size: int
    measured_at: float


@dataclass(slots=True)
class ServerState:
    """Everything that is known of a server; `up` is None where nobody could ask.

    Each result is replaced as a whole and never changed, so a shallow copy is a snapshot from which a page
    can be written in another thread.
    """

    settings: ServerSettings
    server: PostgresServer
    up: bool | None = None
    databases: tuple[Database, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    sizes: Mapping[int, DatabaseSize] = field(default_factory=dict)
    """By oid, those that were measured longest ago first."""
    passes: Mapping[int, TablePass] = field(default_factory=dict)
    own_datname: str | None = None
    """The database that the DSN leads to."""
    sql: tuple[SqlEntry, ...] = ()
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)
    """What came of the queries of collector files, by database."""

    @property
    def oldest_allowed(self) -> float:
        """What was measured before this time is not published any more."""
        return time.time() - self.settings.max_age

    def size_of(self, database: Database) -> int | None:
        """Give the bytes of a database, if they were measured and that is not too long ago."""
        last = self.sizes.get(database.oid)
        return last.size if last and last.measured_at >= self.oldest_allowed else None
