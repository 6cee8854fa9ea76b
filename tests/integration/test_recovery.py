"""What a crash, a restart, a standby and its promotion do to sizes is seen within the promised time."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from fix_postgres import MAJORS, Database
from measuring import Watched, a_server, different, first, is_right_in_turn, watched, watching
from plimsoll.demo.postgres import PostgresServer
from waiting import eventually

ROWS = "INSERT INTO {} SELECT generate_series(1, 9999)"
TABLES = """
CREATE TABLE logged (a int);
CREATE UNLOGGED TABLE unlogged (a int);
CREATE INDEX ON unlogged (a);
"""


@pytest.fixture(scope="module", params=MAJORS, ids="pg{}".format)
def world(
    request: pytest.FixtureRequest,
    postgres_binaries: dict[int, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """Give a database on a server that may be killed."""
    folder = tmp_path_factory.mktemp("exporter")
    with a_server(postgres_binaries, request.param) as server, watched(server, folder, idle=60) as world:
        yield world


def crash(world: Watched) -> None:
    """Kill a backend, whereupon the server ends all others and recovers."""
    with world.database.connect() as victim, world.database.connect() as other:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        eventually(lambda: is_lost(other))
    eventually(lambda: answers(world.database))


def is_lost(session: psycopg.Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def answers(database: Database) -> bool:
    with suppress(psycopg.OperationalError), database.connect():
        return True
    return False


def lose_power(world: Watched) -> None:
    """Kill the postmaster and all its children, and start again."""
    world.database.server.kill()
    world.database.server.start()


@pytest.mark.parametrize("happen", [crash, lose_power])
def test_after_a_crash_everything_is_measured(world: Watched, happen: Callable[[Watched], None]) -> None:
    """Counters begin anew, and may come as far as before; unlogged tables are empty, in the same files."""
    schema = world.prepare(happen.__name__, f"{TABLES} {ROWS.format('logged')}; {ROWS.format('unlogged')}")
    before = world.known

    happen(world)
    world.run(ROWS.format("logged"), schema=schema)
    world.settle()

    page = world.is_right()
    assert world.measured(page) == {"changed": len(before)}
    assert world.known[schema, "unlogged"][0] < before[schema, "unlogged"][0]
    assert world.known[schema, "logged"][0] > before[schema, "logged"][0]
    world.quiet()


def test_a_clean_restart_costs_no_measuring_but_of_what_was_open(world: Watched) -> None:
    """What the transaction wrote before it was aborted stays in the file."""
    schema = world.prepare("restarted", f"{TABLES} {ROWS.format('logged')}; {ROWS.format('unlogged')}")
    before = world.known
    with closing(world.database.connect()) as session:
        session.execute(f"BEGIN; {ROWS.format(f'{schema}.logged')}")
        world.database.server.stop()
    world.database.server.start()

    page = world.is_right()
    assert world.measured(page) == {"changed": 1}
    assert world.known[schema, "unlogged"] == before[schema, "unlogged"]
    assert world.known[schema, "logged"][0] > before[schema, "logged"][0]
    world.quiet()


@contextmanager
def a_standby(primary: PostgresServer, directory: Path) -> Iterator[PostgresServer]:
    """Stop a server, copy it, and start it again with the copy as its standby."""
    access = primary.data / "pg_hba.conf"
    access.write_text(f"{access.read_text()}local replication postgres trust\n")
    primary.stop()
    standby = PostgresServer(primary._binaries, directory)
    shutil.copytree(primary.data, standby.data)
    (standby.data / "standby.signal").touch()
    upstream = f"host={primary._sockets} port={primary.port} user=postgres"
    with (standby.data / "postgresql.conf").open("a") as file:
        file.write(f"primary_conninfo = '{upstream}'\nunix_socket_directories = '{directory}'\n")
    owner = primary.data.stat()
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    primary.start()
    with standby:
        yield standby


def catch_up(primary: Watched, standby: Watched) -> None:
    """Wait until a standby has all that its primary has."""
    with primary.session() as session:
        reached = first(session, "SELECT pg_current_wal_insert_lsn()::text")
    standby.database.wait_until(f"SELECT pg_last_wal_replay_lsn() >= '{reached}'::pg_lsn")


def test_a_standby_and_its_promotion(world: Watched, tmp_path: Path) -> None:
    """Its counters stand still, so that only turns find what grew; its unlogged tables have no contents."""
    schema = world.prepare("replicated", TABLES)
    name = world.database.name
    directories = [tmp_path / each for each in ("patient", "hasty")]
    for directory in directories:
        directory.mkdir()
    server = world.database.server
    with (
        a_standby(server, server.directory.parent / "standby") as copy,
        watching(copy, name, directories[0]) as patient,
        watching(copy, name, directories[1], full_interval="1s") as hasty,
    ):
        standby = Watched(Database(copy, name), patient, world.idle)
        standby.is_right()
        assert (schema, "logged") in standby.known
        assert (schema, "unlogged") not in standby.known

        world.run(ROWS.format("logged"), schema=schema)
        catch_up(world, standby)
        is_right_in_turn(Watched(standby.database, hasty, world.idle), time.time())
        page = standby.scrape()
        assert standby.measured(page) == {}
        assert different(standby.published(page), standby.sizes()).keys() == {(schema, "logged")}

        # Another file is seen there, too, and at once.
        world.run("CREATE TABLE more AS SELECT 1", "CREATE INDEX ON more ((1))", schema=schema)
        catch_up(world, standby)
        assert standby.measured(standby.scrape()) == {"changed": 1}

        with standby.session() as session:
            session.execute("SELECT pg_promote()")
        page = standby.is_right()
        assert standby.measured(page) == {"changed": len(standby.known)}
        assert (schema, "unlogged") in standby.known
        standby.run(ROWS.format("logged"), ROWS.format("unlogged"), schema=schema)
        standby.settle()
        standby.is_right()
