"""What somebody can do, and cannot, who has one of our credentials: docs/security.md tells it."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psycopg
import pytest

from docker_proxy import SocketProxy, only_reading
from engines import Engine
from fix_postgres import PASSWORD, Database, fresh_database
from plimsoll.demo import alertmanager
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import workspace
from plimsoll.demo.service import fetch
from plimsoll.relay.history.migrating import migrate
from support import require_program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
DASHBOARDS = (ROOT / "docs" / "dashboards.md").read_text()

# --- the role of the exporter -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim(postgres: PostgresServer) -> Iterator[Database]:
    """Give a database with a table that is somebody's."""
    for database in fresh_database(postgres):
        with database.connect() as session:
            session.execute("CREATE TABLE salary (amount int)")
        yield database


@pytest.fixture
def thief(victim: Database) -> Iterator[psycopg.Connection]:
    """Give a session of the role plimsoll."""
    with psycopg.connect(victim.dsn(), autocommit=True) as session:
        yield session


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM salary",
        "INSERT INTO salary VALUES (1)",
        "DELETE FROM salary",
        "DO $$ BEGIN LOCK TABLE salary IN ACCESS SHARE MODE; END $$",
        "ALTER TABLE salary ADD more int",
        "DROP TABLE salary",
        "CREATE SCHEMA mine",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "ALTER ROLE plimsoll CONNECTION LIMIT 100",
        "ALTER SYSTEM SET log_statement = 'all'",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT lo_import('/etc/hostname')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/plimsoll'",
        "SELECT pg_reload_conf()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
def test_what_the_role_of_the_exporter_may_not_do(thief: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        thief.execute(statement.encode())


def test_what_the_role_of_the_exporter_sees(thief: psycopg.Connection, victim: Database) -> None:
    with victim.connect() as session:
        session.execute("SELECT 'a secret in a statement'")
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%a secret in%%' AND usename = %s"
        assert thief.execute(query, ("postgres",)).fetchone() == (1,)
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'salary'::regclass AND attname = 'amount'"
    assert thief.execute(columns).fetchone() == (1,)
    assert thief.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'").fetchone()


def test_what_the_role_of_the_exporter_can_still_fill(thief: psycopg.Connection) -> None:
    thief.execute("CREATE TEMPORARY TABLE filling AS SELECT generate_series(1, 1000)")
    if thief.info.server_version < 150000:  # which give everybody the schema public
        thief.execute("CREATE TABLE public.filling ()")
    else:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            thief.execute("CREATE TABLE public.filling ()")


def test_the_role_of_the_exporter_connects_five_times(victim: Database) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(psycopg.connect(victim.dsn()))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(victim.dsn())


# --- the history ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(newest_postgres: PostgresServer) -> Iterator[Database]:
    """Give a history, with the reader that docs/dashboards.md makes for Grafana, and a table beside it."""
    grants = re.search(r"^GRANT USAGE ON SCHEMA plimsoll .*;$", DASHBOARDS, re.MULTILINE)
    assert grants
    for database in fresh_database(newest_postgres):
        asyncio.run(_migrated(database))
        with database.connect() as session:
            session.execute("CREATE TABLE salary (amount int)")
            session.execute(f"CREATE ROLE thief_reader LOGIN PASSWORD '{_quoted(PASSWORD)}'".encode())
            session.execute(grants[0].replace("grafana", "thief_reader").encode())
            yield database
            session.execute("DROP OWNED BY thief_reader")
            session.execute("DROP ROLE thief_reader")


async def _migrated(database: Database) -> None:
    dsn = database.server.dsn(database.name)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await migrate(connection, None)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def test_the_reader_of_the_history_reads_it(history: Database) -> None:
    with psycopg.connect(history.server.dsn(history.name, "thief_reader", PASSWORD)) as session:
        assert session.execute("SELECT count(*) FROM plimsoll.alert").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM plimsoll.alert",
        "UPDATE plimsoll.alert SET status = 'resolved'",
        "INSERT INTO plimsoll.subject (kind, name) VALUES ('server', 'mine')",
        "CREATE TABLE plimsoll.mine (id int)",
        "SELECT * FROM public.salary",
    ],
)
def test_what_the_reader_of_the_history_may_not_do(history: Database, statement: str) -> None:
    with (
        psycopg.connect(history.server.dsn(history.name, "thief_reader", PASSWORD)) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute(statement.encode())


# --- the engine -------------------------------------------------------------------------------------------


async def test_a_proxy_that_lets_only_reading_through_still_shows_files_and_variables(docker: Engine) -> None:
    name = docker.name("victim")
    await asyncio.to_thread(docker.run, "--env=API_KEY=hidden", name=name)
    with workspace() as folder:
        async with (
            SocketProxy(docker.socket, folder / "proxy.sock") as proxy,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(folder / "proxy.sock"))) as session,
        ):
            proxy.lets_through = only_reading
            victim = f"http://engine/containers/{name}"
            async with session.get(f"{victim}/json") as shown:
                assert "API_KEY=hidden" in await shown.text()
            async with session.get(f"{victim}/archive?path=/etc/passwd") as copied:
                assert b"root:x:0:0" in await copied.read()
            async with session.post(f"{victim}/kill") as ended:
                assert ended.status == 403


# --- Alertmanager -----------------------------------------------------------------------------------------


def test_what_alertmanager_lets_anybody_do(tmp_path: Path) -> None:
    program = Path(require_program("alertmanager"))
    now = datetime.now(UTC)
    silence = {
        "matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "whoever they say",
        "comment": "hush",
    }
    with alertmanager.running(program, tmp_path, webhook="http://127.0.0.1:1/hidden", waits={}) as service:
        _post(f"{service.url}/api/v2/alerts", [{"labels": {"alertname": "False"}}])
        _post(f"{service.url}/api/v2/silences", silence)
        (alert,) = json.loads(fetch(f"{service.url}/api/v2/alerts"))
        status = json.loads(fetch(f"{service.url}/api/v2/status"))

    assert (alert["labels"], alert["status"]["state"]) == ({"alertname": "False"}, "suppressed")
    if status["versionInfo"]["version"].startswith("0.25."):
        assert "http://127.0.0.1:1/hidden" in status["config"]["original"]


def _post(url: str, content: object) -> None:
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


# --- docs/security.md -------------------------------------------------------------------------------------


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(\w+)\.py::(\w+)`", PAGE)
    assert len(named) > 20
    for file, test in named:
        (path,) = ROOT.glob(f"tests/*/{file}.py")
        assert re.search(rf"^(async )?def {test}\(", path.read_text(), re.MULTILINE), f"{file}::{test}"
