"""Real PostgreSQL servers for the tests: one per release and session, and fresh databases in them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import workspace
from support import missing

PASSWORD = "of the role plimsoll: /@%'"  # what would break a DSN that is not encoded
MAJORS = sorted(int(major) for major in os.environ.get("PLIMSOLL_TEST_POSTGRES", "13 18").split())
TOOLS = Path(__file__).parents[1] / ".tools"

Starter = Callable[[int], PostgresServer]
OwnPostgres = Callable[..., PostgresServer]


@dataclass(frozen=True)
class Database:
    """A database on a running server, seen as its owner; `config` is for the exporter."""

    server: PostgresServer
    name: str

    def connect(self, dbname: str | None = None, *, autocommit: bool = True) -> psycopg.Connection:
        """Log in as the superuser, here or in another database of the server."""
        return psycopg.connect(self.server.dsn(dbname or self.name), autocommit=autocommit)

    def dsn(self, dbname: str | None = None) -> str:
        """Return the DSN of the role plimsoll, here or in another database of the server."""
        return self.server.dsn(dbname or self.name, "plimsoll", PASSWORD)

    def config(self, *, port: int | None = None, **server: Any) -> dict[str, Any]:
        """Return an exporter's configuration with this one server, named `main`, and `server`'s own keys.

        Everything is measured at every scrape, unless they say otherwise. `port` is that of a proxy before
        the server.
        """
        dsn = self.dsn("postgres").replace(f":{self.server.port}/", f":{port or self.server.port}/")
        intervals = {part: {"interval": "0", **server.pop(part, {})} for part in ("databases", "tables")}
        return {"postgres": {"servers": [{"name": "main", "dsn": dsn, **intervals, **server}]}}

    def wait_until(self, query: str, timeout: float = 15, dbname: str | None = None) -> None:
        """Wait until a query's first value is true."""
        deadline = time.monotonic() + timeout
        with self.connect(dbname) as session:
            while not (session.execute(query).fetchone() or [None])[0]:
                assert time.monotonic() < deadline, f"not within {timeout} seconds: {query}"
                time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres_binaries() -> dict[int, Path]:
    """Give the folder with `postgres` and `initdb` of each release that the suite is asked to run on."""
    return {major: TOOLS / "postgresql" / str(major) / "bin" for major in MAJORS}


@pytest.fixture(scope="session")
def start_postgres(postgres_binaries: dict[int, Path]) -> Iterator[Starter]:
    """Give a function that starts a release once per session (and worker), with the role plimsoll in it."""
    running: dict[int, PostgresServer] = {}
    with workspace() as folder, ExitStack() as stack:

        def start(major: int) -> PostgresServer:
            if major not in running:
                server = PostgresServer(found(postgres_binaries, major), folder / str(major))
                running[major] = stack.enter_context(server)
                server.create_role(PASSWORD)
            return running[major]

        yield start


def found(binaries: dict[int, Path], major: int) -> Path:
    """Return the folder of a release, or tell how to get it."""
    if not (binaries[major] / "postgres").is_file():
        missing(f"PostgreSQL {major} is not set up: make setup fetches 13 and 18, make test-matrix all")
    return binaries[major]


@pytest.fixture(scope="session", params=MAJORS, ids="pg{}".format)
def postgres(request: pytest.FixtureRequest, start_postgres: Starter) -> PostgresServer:
    """Give a running server of each release in turn."""
    return start_postgres(request.param)


@pytest.fixture(scope="session")
def newest_postgres(start_postgres: Starter) -> PostgresServer:
    """Give a running server of the newest release only, for what does not depend on the release."""
    return start_postgres(MAJORS[-1])


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """Give a fresh database on each release in turn; it is dropped afterwards, whoever is connected."""
    yield from fresh_database(postgres)


@pytest.fixture
def newest_database(newest_postgres: PostgresServer) -> Iterator[Database]:
    """Give a fresh database on the newest release only."""
    yield from fresh_database(newest_postgres)


@pytest.fixture
def limited(database: Database) -> Iterator[Database]:
    """Give a fresh database on each release, whose server lets the exporter connect twice and not thrice."""
    with connection_limit(database.server, 2):
        yield database


@contextmanager
def connection_limit(server: PostgresServer, limit: int) -> Iterator[None]:
    """Let the server refuse the exporter's role more connections than `limit`."""
    with Database(server, "postgres").connect() as session:
        session.execute(f"ALTER ROLE plimsoll CONNECTION LIMIT {limit}")
        try:
            yield
        finally:
            session.execute("ALTER ROLE plimsoll CONNECTION LIMIT 5")  # as role.sql has it


def fresh_database(server: PostgresServer) -> Iterator[Database]:
    """Create a database, give it, drop it."""
    database = Database(server, f"test_{uuid.uuid4().hex[:12]}")
    name = sql.Identifier(database.name)
    with database.connect("postgres") as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield database
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@pytest.fixture
def own_postgres(postgres_binaries: dict[int, Path]) -> Iterator[OwnPostgres]:
    """Give a function that starts a server for this test alone, of the newest release, to be killed at will.

    Its keywords are settings: `own_postgres(max_connections="10")`.
    """
    with workspace() as folder, ExitStack() as stack:

        def start(**settings: str) -> PostgresServer:
            directory = folder / uuid.uuid4().hex[:8]
            server = PostgresServer(found(postgres_binaries, MAJORS[-1]), directory, settings)
            stack.enter_context(server).create_role(PASSWORD)
            return server

        yield start
