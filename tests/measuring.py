"""A server whose tables change, and an exporter that is to find out which, and not by measuring each in turn.

What turns do, detection need not: so that they cannot, there are many tables that were measured longer ago
than those of a test, and nobody touches them. One of them has its turn at each scrape.
"""

from __future__ import annotations

import os
import re
import string
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from fix_postgres import PASSWORD, Database, found
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import alive, workspace
from serving import Serving, serving
from waiting import eventually

Sizes = dict[tuple[str, str], tuple[float, ...]]
"""By schema and name of a table: size, table size, index size and TOAST size, in bytes."""

FAMILIES = [f"pg_stat_user_tables_{part}size_bytes" for part in ("", "table_", "index_", "toast_")]
SIZES = """
SELECT n.nspname, c.relname, pg_total_relation_size(c.oid), pg_table_size(c.oid), pg_indexes_size(c.oid),
       coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
  AND c.relpersistence <> 't'
  AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
  AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
"""
IDLE = 300
"""So many tables have their turn before one that was measured after them."""
NEVER = {"interval": "0", "full_interval": "24h"}
"""With tables by the hundred, one of them has its turn at each scrape."""
SETTINGS = {"autovacuum": "off", "max_prepared_transactions": "4"}
"""Nobody but the test changes anything."""


@dataclass
class Watched:
    """A database, and the exporter that watches it."""

    database: Database
    exporter: Serving
    idle: int
    known: Sizes = field(default_factory=dict)
    """What the last page said that was found right."""
    _scrapes: int = field(default=0, init=False)

    @contextmanager
    def session(self, schema: str = "public", *, autocommit: bool = True) -> Iterator[psycopg.Connection]:
        """Log in for a while, with `schema` first in the search path; afterwards the backend has gone.

        Its last act is to tell what it did, so that nobody needs to wait for more than this to arrive.
        """
        with self.database.connect(autocommit=autocommit) as session:
            pid = session.info.backend_pid
            session.execute(f'SET search_path = "{schema}", public')
            if not autocommit:
                session.commit()
            yield session
        eventually(lambda: not alive(pid))

    def run(self, *statements: str, schema: str = "public") -> None:
        """Run statements in a session of their own; `{t}` in them stands for the TOAST relation of `t`."""
        with self.session(schema) as session:
            for statement in statements:
                session.execute(filled(session, statement))

    def prepare(self, schema: str, setup: str) -> str:
        """Create a schema, and what a test needs in it, and have the exporter know of it."""
        self.run(f'CREATE SCHEMA "{schema}"; SET search_path = "{schema}"; {setup}')
        self.quiet()
        return schema

    def settle(self) -> None:
        """Wait until the statistics of all sessions that have gone can be read.

        A later sign of life, of a sequence, which is not published, has then arrived as well. Before
        PostgreSQL 15 statistics travel to a collector, in their order, and it writes them twice a second.
        """
        sign = f"sign_{uuid.uuid4().hex}"
        with self.session() as session:
            session.execute(f"CREATE SEQUENCE {sign}")
            session.execute(f"SELECT nextval('{sign}')")
        self.database.wait_until(f"SELECT pg_stat_get_blocks_fetched('{sign}'::regclass) > 0")

    def scrape(self) -> str:
        """Give the page, for which every table is looked at."""
        self._scrapes += 1
        assert self._scrapes < self.idle, "the tables of the tests have their turn by now"
        status, page = self.exporter.fetch("/metrics", timeout=30)
        assert status == 200
        return page

    def is_right(self) -> str:
        """Scrape, find everything as the server has it, and give the page."""
        page = self.scrape()
        self.known = self.published(page)
        wrong = different(self.known, self.sizes())
        assert not wrong, wrong
        return page

    def quiet(self) -> None:
        """Have the exporter know of everything that has been done, and so measure no more."""
        self.settle()
        eventually(lambda: self.measured(self.is_right()) == {})

    def measured(self, page: str) -> dict[str, float]:
        """Give how many tables were measured, by reason, leaving out the one that had its turn."""
        counts = self.by_reason(page, "pg_tables_measured")
        assert counts.pop("rotation") <= 1
        return {reason: value for reason, value in counts.items() if value}

    def by_reason(self, page: str, family: str) -> dict[str, float]:
        """Give the samples of a family that has one for each reason."""
        return {reason: float(value) for reason, value in self._found(page, family, "reason")}

    def published(self, page: str) -> Sizes:
        """Give the sizes on a page."""
        families = [
            {(schema, name): float(value) for schema, name, value in found}
            for found in (self._found(page, each, "schemaname", "relname") for each in FAMILIES)
        ]
        assert all(family.keys() == families[0].keys() for family in families)
        return {key: tuple(family[key] for family in families) for key in families[0]}

    def _found(self, page: str, family: str, *labels: str) -> list[tuple[str, ...]]:
        """Give labels and values of the database's samples; a parser would take most of a test's time."""
        wanted = ",".join(f'{label}="([^"]*)"' for label in labels)
        start = re.escape(f'{family}{{server="main",datname="{self.database.name}",')
        return re.findall(rf"^{start}{wanted}\}} (\S+)$", page, re.MULTILINE)

    def sizes(self) -> Sizes:
        """Give the sizes as the server's own functions give them."""
        with self.database.connect() as session:
            session.execute("SET lock_timeout = '5s'")
            return {(schema, name): tuple(map(float, rest)) for schema, name, *rest in session.execute(SIZES)}


def different(published: Sizes, true: Sizes) -> dict[tuple[str, str], Any]:
    """Give what is published otherwise than it is, with both."""
    return {key: (published.get(key), true.get(key)) for key in dict(published.items() ^ true.items())}


def first(session: psycopg.Connection, query: str, *parameters: object) -> Any:
    """Give a query's first value."""
    row = session.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def filled(session: psycopg.Connection, statement: str) -> str:
    """Put the names of TOAST relations into a statement."""
    toast = "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = %s::regclass"
    tables = {name for _, name, _, _ in string.Formatter().parse(statement) if name}
    return statement.format(**{table: first(session, toast, table) for table in tables})


def is_right_in_turn(world: Watched, since: float) -> None:
    """Find everything right in a pass that begins a second after `since`, or earlier."""
    while True:
        began = time.time()
        _, page = world.exporter.fetch("/metrics", timeout=30)
        if different(world.published(page), world.sizes()) == {}:
            return
        assert began < since + 1
        time.sleep(0.05)


@contextmanager
def a_server(binaries: dict[int, Path], major: int, **settings: str) -> Iterator[PostgresServer]:
    """Run a server of a release, on which nothing happens by itself."""
    with (
        workspace() as folder,
        PostgresServer(found(binaries, major), folder / "server", SETTINGS | settings) as server,
    ):
        server.create_role(PASSWORD)
        yield server


@contextmanager
def watched(
    server: PostgresServer, directory: Path, name: str = "watched", idle: int = IDLE
) -> Iterator[Watched]:
    """Create a database with idle tables, have an exporter measure them, and yield both."""
    database = create_database(server, name, idle)
    with watching(server, name, directory) as exporter:
        yield Watched(database, exporter, idle)


@contextmanager
def also_watched(world: Watched, name: str, idle: int = 20) -> Iterator[Watched]:
    """Create another database, for the same exporter."""
    database = create_database(world.database.server, f"{world.database.name}_{name}", idle)
    try:
        yield Watched(database, world.exporter, idle)
    finally:
        with database.connect("postgres") as session:
            session.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


def create_database(server: PostgresServer, name: str, idle: int) -> Database:
    """Create a database with tables that nobody touches."""
    database = Database(server, name)
    with database.connect("postgres") as session:
        session.execute(f"CREATE DATABASE {name}")
    with database.connect() as session:
        session.execute("CREATE SCHEMA idle")
        session.execute(";".join(f"CREATE TABLE idle.t{each} (a int)" for each in range(idle)))
    return database


@contextmanager
def watching(server: PostgresServer, name: str, directory: Path, **tables: str) -> Iterator[Serving]:
    """Let an exporter watch a database, and all whose names begin like that; it has measured them once."""
    config = Database(server, name).config(
        databases={"include": [f"{name}.*"]}, tables=NEVER | tables, max_age="48h"
    )
    with serving(config, directory) as exporter:
        exporter.scrape(timeout=30)
        yield exporter


def create_tablespace(server: PostgresServer, name: str) -> None:
    """Create a tablespace beside the server's data."""
    folder = server.directory / name
    folder.mkdir()
    owner = server.data.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    with Database(server, "postgres").connect() as session:
        session.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
