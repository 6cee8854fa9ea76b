"""`plimsoll check --connect` says what the exporter would meet, and how to mend it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from fix_postgres import PASSWORD, Database

STRANGER = 'it\'s "me"'


@pytest.fixture
def stranger(newest_database: Database) -> Iterator[Database]:
    """A database beside a role that was granted nothing."""
    role = psycopg.sql.Identifier(STRANGER)
    with newest_database.connect() as session:
        session.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, PASSWORD))
        yield newest_database
        session.execute(psycopg.sql.SQL("DROP ROLE {}").format(role))


def check(config: Mapping[str, Any], directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "plimsoll.yml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "plimsoll", "check", f"--config.file={file}", "--connect"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_server_in_order(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        session.execute("CREATE TABLE one (a int)")
        session.execute("CREATE TABLE two (a int)")
    done = check(database.config(), tmp_path)
    assert done.returncode == 0, done.stdout
    assert "ok  main: PostgreSQL " in done.stdout
    assert "(primary) as plimsoll; databases: " in done.stdout
    assert f"ok  main/{database.name}: 2 tables\n" in done.stdout
    assert "BAD" not in done.stdout


def test_a_role_without_grants(stranger: Database, tmp_path: Path) -> None:
    dsn = stranger.server.dsn("postgres", STRANGER, PASSWORD)
    done = check({"postgres": {"servers": [{"name": "main", "dsn": dsn}]}}, tmp_path)
    assert done.returncode == 1
    grant = 'GRANT pg_monitor TO "it\'s ""me""";'
    assert f"BAD main: the role lacks pg_monitor; as a superuser: {grant}\n" in done.stdout


def test_a_database_that_may_not_be_connected_to(stranger: Database, tmp_path: Path) -> None:
    with stranger.connect() as session:
        session.execute(f'REVOKE CONNECT ON DATABASE "{stranger.name}" FROM public')
    done = check(stranger.config(), tmp_path)
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("BAD"))
    assert line.startswith(f"BAD main/{stranger.name}: ")
    grant = line.rpartition("; ")[2]
    assert grant == f'GRANT CONNECT ON DATABASE "{stranger.name}" TO "plimsoll";'
    with stranger.connect() as session:
        session.execute(grant)
    assert check(stranger.config(), tmp_path).returncode == 0


def test_every_server_is_tried(newest_database: Database, tmp_path: Path) -> None:
    config = newest_database.config()
    dsn = psycopg.conninfo.make_conninfo(newest_database.dsn(), password="hunter2")
    config["postgres"]["servers"] = [
        {"name": "closed", "dsn": "host=127.0.0.1 port=1 connect_timeout=1"},
        {"name": "wrong", "dsn": dsn},
        *config["postgres"]["servers"],
    ]
    done = check(config, tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("BAD closed: ") and "refused" in line for line in lines)
    assert any(line.startswith("BAD wrong: ") and "password authentication failed" in line for line in lines)
    assert any(line.startswith("ok  main: ") for line in lines)
    assert "hunter2" not in done.stdout + done.stderr
