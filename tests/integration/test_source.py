"""What a connection may do, how its statements fail, and what it leaves behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from fix_postgres import Database
from plimsoll.serve.settings import ServerSettings
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.postgres import Connection, PostgresError, PostgresServer, StatementRefusedError
from waiting import eventually


def server_of(database: Database, **settings: object) -> PostgresServer:
    complete = ServerSettings.model_validate({"name": "main", "dsn": database.dsn(), **settings})
    return PostgresServer(complete, Places(complete.max_connections))


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    with database.connect() as session:
        session.execute("CREATE TABLE t AS SELECT generate_series(1, 10) a")
        session.execute("GRANT ALL ON t TO plimsoll")
    server = server_of(database, statement_timeout="500ms", lock_timeout="100ms")
    async with server.connect() as connection:
        yield connection


def sessions(database: Database) -> int:
    with database.connect("postgres") as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'plimsoll' AND datname = %s"
        row = session.execute(query, [database.name]).fetchone()
    return row[0] if row else 0


async def test_every_read_is_read_only(connection: Connection) -> None:
    with pytest.raises(PostgresError, match="read-only transaction"):
        await connection.read("INSERT INTO t VALUES (1) RETURNING a")
    assert await connection.read("SELECT count(*) FROM t") == [(10,)]


async def test_a_slow_statement_is_ended_by_the_server(connection: Connection) -> None:
    with pytest.raises(StatementRefusedError, match="statement timeout") as caught:
        await connection.read("SELECT pg_sleep(60)")
    assert caught.value.reason == "timeout"
    assert await connection.read("SELECT 1") == [(1,)], "the connection is still good"


async def test_a_locked_relation_is_left(connection: Connection, database: Database) -> None:
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementRefusedError, match="lock timeout") as caught:
            await connection.read("SELECT pg_total_relation_size('t')")
    assert caught.value.reason == "locked"
    assert await connection.read("SELECT 1") == [(1,)]


async def test_a_missing_privilege(connection: Connection) -> None:
    with pytest.raises(StatementRefusedError) as caught:
        await connection.read("SELECT pg_ls_dir('.')")
    assert caught.value.reason == "denied"


async def test_nothing_is_left_on_the_session(connection: Connection) -> None:
    """A transaction pooler would hand it on to other clients."""
    before = await connection.read("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
    assert before == [("500",)], "within our transaction"
    await connection.read("SELECT 1")
    cursor = connection._link.cursor()
    await cursor.execute("SHOW statement_timeout")
    assert await cursor.fetchall() == [("0",)]
    await cursor.execute("SHOW default_transaction_read_only")
    assert await cursor.fetchall() == [("off",)]
    await cursor.execute("SELECT count(*) FROM pg_prepared_statements")
    assert await cursor.fetchall() == [(0,)]


async def test_an_abandoned_statement_is_cancelled(database: Database) -> None:
    server = server_of(database, statement_timeout="10m")
    reading = asyncio.create_task(read_for_ever(server))
    await asyncio.to_thread(eventually, lambda: sessions(database) == 1)
    reading.cancel()
    started = time.monotonic()
    await asyncio.wait({reading})
    assert time.monotonic() - started < 1, "we do not wait for the server"
    await asyncio.to_thread(eventually, lambda: sessions(database) == 0, 10)


async def read_for_ever(server: PostgresServer) -> None:
    async with server.connect() as connection:
        await connection.read("SELECT pg_sleep(600)")


async def test_a_place_is_free_when_the_backend_has_gone(database: Database) -> None:
    """With one place, and a role that may have one connection, a connection too early would be refused."""
    with database.connect() as session:
        session.execute("ALTER ROLE plimsoll CONNECTION LIMIT 1")
    try:
        server = server_of(database, max_connections=1)
        for _ in range(50):
            async with server.connect() as connection:
                assert await connection.read("SELECT 1") == [(1,)]
    finally:
        with database.connect() as session:
            session.execute("ALTER ROLE plimsoll CONNECTION LIMIT -1")


async def test_a_wrong_password_is_said_without_it(database: Database) -> None:
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), password="hunter2")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    with pytest.raises(PostgresError, match="password authentication failed") as caught:
        async with PostgresServer(settings, Places(2)).connect():
            pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("dsn", ["host=no-such-host.invalid", "host=127.0.0.1 port=1", "host=/nonexistent"])
async def test_an_unreachable_server(dsn: str) -> None:
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    with pytest.raises(PostgresError):
        async with PostgresServer(settings, Places(2)).connect():
            pass


async def test_the_second_host_is_tried(database: Database) -> None:
    port = database.server.port
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), host="127.0.0.2,127.0.0.1", port=f"1,{port}")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    async with PostgresServer(settings, Places(2)).connect() as connection:
        assert await connection.read("SELECT 1") == [(1,)]
