"""What a connection may do, how its statements fail, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import psycopg
import pytest

from fix_postgres import Database, connection_limit
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.sources.postgres import Connection, PostgresError, PostgresServer, StatementRefusedError
from plimsoll.serve.sources.sql import statement
from waiting import eventually


def server_of(database: Database, **settings: object) -> PostgresServer:
    complete = ServerSettings.model_validate({"name": "main", "dsn": database.dsn(), **settings})
    return PostgresServer(complete)


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
        await connection.read("INSERT INTO public.t VALUES (1) RETURNING a")
    assert await connection.read("SELECT count(*) FROM public.t") == [(10,)]


async def test_a_slow_statement_is_ended_by_the_server(connection: Connection) -> None:
    with pytest.raises(StatementRefusedError, match="statement timeout") as caught:
        await connection.read("SELECT pg_sleep(60)")
    assert caught.value.reason == "timeout"
    assert await connection.read("SELECT 1") == [(1,)], "the connection is still good"


async def test_a_locked_relation_is_left(connection: Connection, database: Database) -> None:
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementRefusedError, match="lock timeout") as caught:
            await connection.read("SELECT pg_total_relation_size('public.t')")
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
    asleep = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'plimsoll'"
    await asyncio.to_thread(database.wait_until, asleep)  # what has not begun yet cannot be cancelled
    reading.cancel()
    started = time.monotonic()
    await asyncio.wait({reading})
    assert time.monotonic() - started < 4, "we do not wait for the server"
    await asyncio.to_thread(eventually, lambda: sessions(database) == 0, 10)


async def test_waiting_for_an_answer_takes_no_processor(newest_database: Database) -> None:
    async with server_of(newest_database).connect() as connection:
        before = time.process_time()
        await connection.read("SELECT pg_sleep(0.5)")
        assert time.process_time() - before < 0.1


async def read_for_ever(server: PostgresServer) -> None:
    async with server.connect() as connection:
        await connection.read("SELECT pg_sleep(600)")


async def test_a_place_is_free_when_the_backend_has_gone(database: Database) -> None:
    """With one place, and a role that may have one connection, a connection too early would be refused."""
    server = server_of(database, max_connections=1)
    with connection_limit(database.server, 1):
        for _ in range(50):
            async with server.connect() as connection:
                assert await connection.read("SELECT 1") == [(1,)]


async def test_a_wrong_password_is_said_without_it(database: Database) -> None:
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), password="hunter2")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    with pytest.raises(PostgresError, match="password authentication failed") as caught:
        async with PostgresServer(settings).connect():
            pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("dsn", ["host=no-such-host.invalid", "host=127.0.0.1 port=1", "host=/nonexistent"])
async def test_an_unreachable_server(dsn: str) -> None:
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    with pytest.raises(PostgresError):
        async with PostgresServer(settings).connect():
            pass


async def test_the_second_host_is_tried(database: Database) -> None:
    port = database.server.port
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), host="127.0.0.2,127.0.0.1", port=f"1,{port}")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    async with PostgresServer(settings).connect() as connection:
        assert await connection.read("SELECT 1") == [(1,)]


async def connect_once(server: PostgresServer) -> None:
    async with server.connect():
        pass


async def test_a_name_that_cannot_be_resolved_is_passed_over(database: Database) -> None:
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), host="no-such-host.invalid,127.0.0.1")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    async with PostgresServer(settings).connect() as connection:
        assert await connection.read("SELECT 1") == [(1,)]


async def test_a_name_with_two_addresses_has_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs keeps two connections, not two for each of its addresses."""
    both = [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("127.0.0.2", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    accepted = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    mute = await asyncio.start_server(accept, "0.0.0.0", 0)
    dsn = f"host=two.invalid user=u port={mute.sockets[0].getsockname()[1]}"
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn, "connect_timeout": "200ms"})
    server = PostgresServer(settings)
    for _ in range(2):
        with pytest.raises(PostgresError, match="no connection within"):
            await connect_once(server)
    third = asyncio.create_task(connect_once(server))
    await asyncio.wait({third}, timeout=0.5)
    assert not third.done(), "there is no place for it"
    assert len(accepted) == 2
    third.cancel()
    for writer in accepted:
        writer.close()
    mute.close()


async def test_a_host_that_swallows_packets_does_not_stop_the_loop() -> None:
    """A full backlog drops what would open a connection, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as crowd:
        port = listener.getsockname()[1]
        with contextlib.suppress(TimeoutError):
            while True:
                crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.3))
        dsn = f"host=127.0.0.1 port={port} user=u"
        settings = ServerSettings.model_validate({"name": "main", "dsn": dsn, "connect_timeout": "1s"})
        connecting = asyncio.create_task(connect_once(PostgresServer(settings)))
        beats = 0
        while not connecting.done():
            await asyncio.sleep(0.01)
            beats += 1
        with pytest.raises(PostgresError, match="no connection within 1 s"):
            await connecting
        assert beats > 10


async def test_functions_of_a_database_owner_are_not_run(database: Database) -> None:
    """CVE-2018-1058: a search path of theirs would let their functions run with our grants."""
    with database.connect() as session:
        session.execute("CREATE SCHEMA evil")
        session.execute("GRANT USAGE ON SCHEMA evil TO public")
        session.execute("CREATE FUNCTION evil.version() RETURNS text LANGUAGE sql AS $$SELECT 'mine'::text$$")
        session.execute(f"ALTER DATABASE {database.name} SET search_path = evil, pg_catalog")
    async with server_of(database).connect() as connection:
        ((version,),) = await connection.read("SELECT version()")
    assert version.startswith("PostgreSQL")


async def test_a_name_that_is_no_utf8_is_shown_nevertheless(newest_database: Database) -> None:
    """Names of databases stand in a shared catalogue, and are not converted to our encoding."""
    ascii_, latin = f"{newest_database.name}_ascii", f"{newest_database.name}_caf"
    with newest_database.connect() as session:
        session.execute(f"CREATE DATABASE {ascii_} TEMPLATE template0 ENCODING 'SQL_ASCII'")
    try:
        with newest_database.connect(ascii_) as session:
            session.execute("SET client_encoding = SQL_ASCII")
            session.execute(b'CREATE DATABASE "' + latin.encode() + b'\xe9"')
        async with server_of(newest_database).connect() as connection:
            rows = await connection.read(statement("server"))
        assert f"{latin}\\xe9" in [name for _, name, *_ in rows]
    finally:
        with newest_database.connect(ascii_) as session:
            session.execute("SET client_encoding = SQL_ASCII")
            session.execute(b'DROP DATABASE IF EXISTS "' + latin.encode() + b'\xe9"')
        with newest_database.connect() as session:
            session.execute(f"DROP DATABASE {ascii_} WITH (FORCE)")


async def test_a_password_that_is_no_secret_does_not_garble_messages(database: Database) -> None:
    dsn = psycopg.conninfo.make_conninfo(database.dsn(), dbname="x", user="plimsoll", password="plimsoll")
    settings = ServerSettings.model_validate({"name": "main", "dsn": dsn})
    with pytest.raises(PostgresError, match='user "plimsoll"'):
        await connect_once(PostgresServer(settings))
