"""Queries that cannot be cancelled: their backends are ended, and nobody waits for a place in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from fix_postgres import Database, connection_limit
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.sources import places, postgres
from plimsoll.serve.sources.postgres import PostgresError, PostgresServer
from waiting import eventually

STUBBORN = """
CREATE FUNCTION stubborn() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_sleep(60);
        EXCEPTION WHEN query_canceled THEN
            NULL;
        END;
    END LOOP;
END $$;
"""
STUBBORN_QUERY = "SELECT stubborn()"


@pytest.fixture
def stubborn(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(postgres, "_GRACE", 0.3)
    with database.connect() as session:
        session.execute(STUBBORN)
    return database


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


def server_of(database: Database, max_connections: int = 2) -> PostgresServer:
    settings = {"name": "main", "dsn": database.dsn(), "statement_timeout": "200ms"}
    return PostgresServer(ServerSettings.model_validate({**settings, "max_connections": max_connections}))


def backends(database: Database) -> int:
    with database.connect("postgres") as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'plimsoll' AND datname = %s"
        (count,) = session.execute(query, [database.name]).fetchone() or (0,)
    return int(count)


async def ask(server: PostgresServer, query: str = STUBBORN_QUERY, patience: float = 10) -> None:
    async with server.connect(long_work=True, patience=patience) as connection:
        await connection.select(query, 10)


@pytest.mark.parametrize("max_connections", [1, 2])
async def test_its_backend_is_ended_and_its_place_is_free_again(
    stubborn: Database, max_connections: int, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    monkeypatch.setattr(places, "_PATIENCE", 0.2)
    server = server_of(stubborn, max_connections)
    with connection_limit(stubborn.server, 2):  # the place is free when the backend is gone, not earlier
        for _ in range(2):
            with pytest.raises(PostgresError, match="no answer within"):
                await ask(server)
        await ask(server, "SELECT 1")

    lines = [entry for entry in logged if "its backend was told to end" in entry["event"]]
    assert len(lines) == 2
    assert {line["server"] for line in lines} == {"main"}


async def test_it_does_not_outlive_the_exporter(stubborn: Database) -> None:
    server = server_of(stubborn)
    asking = asyncio.create_task(ask(server))
    await asyncio.to_thread(eventually, lambda: backends(stubborn) == 1)
    await asyncio.sleep(0.3)  # beyond the statement_timeout, which it swallows
    asking.cancel()

    started = time.monotonic()
    await server.settle(0.5)

    assert time.monotonic() - started < 4
    await asyncio.to_thread(eventually, lambda: backends(stubborn) == 0, 5)


@pytest.mark.parametrize("what", ["started", "name"])
async def test_a_backend_that_is_not_ours_is_left(database: Database, what: str) -> None:
    """Its number may be another's by now, or a pooler may have lent it to somebody else."""
    dsn = psycopg.conninfo.make_conninfo(
        database.dsn(), application_name="plimsoll" if what == "started" else "of another"
    )
    server = server_of(database)
    with psycopg.connect(dsn, autocommit=True) as other:
        async with server.connect() as connection:
            await connection.select("SELECT 1", 1)
            ((started,),) = other.execute(
                "SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity"
                " WHERE pid = pg_backend_pid()"
            ).fetchall()
            backend = other.info.backend_pid, started if what == "name" else "1.5"
            connection._link.backend = backend
            await server._end(server._settings.hosts[0], connection._link)
        assert other.execute("SELECT 1").fetchone() == (1,)


async def test_who_finds_no_place_complains(stubborn: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind code that heeds no signal at all."""
    monkeypatch.setattr(places, "_PATIENCE", 60)
    server = server_of(stubborn)
    with pytest.raises(PostgresError, match="no answer within"):
        await ask(server)

    with pytest.raises(PostgresError, match=r"^no connection is free: 0 at work, 1 not ended by the server$"):
        await ask(server, "SELECT 1", patience=0.1)
    async with server.connect() as probe:
        assert await probe.read("SELECT 1") == [(1,)]
    await server.settle(0.1)


async def test_who_waits_for_healthy_work_does_not_complain(database: Database) -> None:
    """However long the queue, as long as it moves on."""
    server = server_of(database)
    asking = [asyncio.create_task(ask(server, "SELECT pg_sleep(0.05)::text", 0.4)) for _ in range(12)]

    await asyncio.gather(*asking)
