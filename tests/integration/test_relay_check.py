"""`plimsoll check --connect` says what the relay would meet, how to mend it, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from psycopg import sql

from fix_postgres import PASSWORD, Database
from plimsoll import cli
from plimsoll.alerts.settings import OpenedAlertmanager, OpenedPrometheus
from plimsoll.relay.check import try_all
from plimsoll.relay.history.link import Link
from plimsoll.relay.history.migrating import NEWEST, migrate
from plimsoll.relay.settings import HistorySettings, Settings
from reloading import answering

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
STATUS = json.dumps({"uptime": SINCE.isoformat(), "config": {"original": "route: {receiver: ops}"}})
RUNTIME = json.dumps({"data": {"startTime": SINCE.isoformat()}})
PAGES = {"/api/v2/status": STATUS, "/api/v1/status/runtimeinfo": RUNTIME}
NOBODY = "http://127.0.0.1:1"
ROLE = 'it\'s "me"'
QUOTED = '"it\'s ""me"""'


@pytest.fixture
def stranger(newest_database: Database) -> Iterator[str]:
    """Give the DSN of a role, in a database of its own, that was granted nothing."""
    role = sql.Identifier(ROLE)
    with newest_database.connect() as session:
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, PASSWORD))
        yield newest_database.server.dsn(newest_database.name, ROLE, PASSWORD)
        session.execute(sql.SQL("DROP OWNED BY {}").format(role))
        session.execute(sql.SQL("DROP ROLE {}").format(role))


async def tried(dsn: str | None, *alertmanagers: str, prometheus: str = NOBODY) -> list[str]:
    history = HistorySettings.model_validate({"dsn": dsn}) if dsn else None
    settings = Settings.model_construct(
        alertmanager=OpenedAlertmanager(urls=alertmanagers or (NOBODY,)),
        prometheus=OpenedPrometheus(url=prometheus),
        history=history,
        receivers={},
    )
    return list(map(str, await try_all(settings)))


async def history(dsn: str) -> str:
    """Tell what was found of the history, without the release of the server."""
    found = (await tried(dsn))[-1]
    assert PASSWORD not in found
    start, _, rest = found.partition("PostgreSQL ")
    return f"{start}{rest.partition(' ')[2]}" if rest else found


async def bring(database: Database, version: int) -> None:
    dsn = database.server.dsn(database.name)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await migrate(connection, version)


def versions(database: Database) -> int | None:
    """Give the version of the schema, or None without one."""
    with database.connect() as session:
        if session.execute("SELECT to_regnamespace('plimsoll')").fetchone() == (None,):
            return None
        found = session.execute("SELECT max(version) FROM plimsoll.schema_version").fetchone()
    return int((found or (0,))[0])


def mend(database: Database, finding: str) -> None:
    """Do as a superuser what a finding says."""
    with database.connect() as session:
        session.execute(finding.partition("; as a superuser: ")[2].encode())


# --- whom it asks -----------------------------------------------------------------------------------------


async def test_everybody_in_order() -> None:
    async with answering(PAGES) as url:
        other = url.replace("http://", "http://me:hunter2@")
        assert await tried(None, url, other, prometheus=url) == [
            f"ok  alertmanager: {url}, running since 2026-01-01T12:00:00+00:00",
            f"ok  alertmanager: {url}, running since 2026-01-01T12:00:00+00:00",
            f"ok  prometheus: {url}, running since 2026-01-01T12:00:00+00:00",
        ]


async def test_whoever_is_away_or_refuses_is_bad() -> None:
    pages = {"/api/v2/status": (401, "who?"), "/api/v1/status/runtimeinfo": (404, "no page")}
    async with answering(pages) as url:
        away, locked, lost = await tried(None, NOBODY, url, prometheus=url)
    assert away.startswith(f"BAD alertmanager: {NOBODY}: GET /api/v2/status: Cannot connect to host ")
    assert locked == (
        f"BAD alertmanager: {url}: GET /api/v2/status was answered with 401: who?"
        " (basic_auth, beside its URL, names the user and the file of the password)"
    )
    assert lost == (
        f"BAD prometheus: {url}: GET /api/v1/status/runtimeinfo was answered with 404: no page"
        " (if its pages have a prefix (--web.route-prefix), its URL must end with that)"
    )


async def test_all_are_asked_at_once() -> None:
    """Nobody is answered before everybody is asked, so that whoever hangs holds up no other."""
    everybody = asyncio.Barrier(3)

    async def answer(request: web.BaseRequest) -> web.Response:
        await everybody.wait()
        return web.Response(text=PAGES[request.path])

    async with RawTestServer(answer) as server:
        url = str(server.make_url("")).rstrip("/")
        found = await tried(None, url, url, prometheus=url)
    assert [line.split(":")[0] for line in found] == [
        "ok  alertmanager",
        "ok  alertmanager",
        "ok  prometheus",
    ]


# --- the history ------------------------------------------------------------------------------------------


async def test_a_schema_to_be_made_and_one_to_be_brought_forward(database: Database) -> None:
    dsn, role = database.server.dsn(database.name), "postgres"
    assert await history(dsn) == f"ok  history: as {role}; the relay will make the schema plimsoll"
    assert versions(database) is None

    await bring(database, NEWEST - 1)
    assert await history(dsn) == (
        f"ok  history: as {role};"
        f" the relay will bring the schema plimsoll from version {NEWEST - 1} to {NEWEST}"
    )
    assert versions(database) == NEWEST - 1

    await bring(database, NEWEST)
    assert await history(dsn) == f"ok  history: as {role}; the schema plimsoll has version {NEWEST}"


async def test_a_role_that_may_not_make_the_schema(stranger: str, newest_database: Database) -> None:
    found = await history(stranger)
    assert found == (
        f"BAD history: the role {ROLE} may not make the schema plimsoll; as a superuser:"
        f' GRANT CREATE ON DATABASE "{newest_database.name}" TO {QUOTED};'
    )
    mend(newest_database, found)
    assert await history(stranger) == f"ok  history: as {ROLE}; the relay will make the schema plimsoll"


async def test_a_schema_that_somebody_else_made(stranger: str, newest_database: Database) -> None:
    with newest_database.connect() as session:
        session.execute("CREATE SCHEMA plimsoll")
    found = await history(stranger)
    assert found == (
        f"BAD history: the role {ROLE} may not make tables in the schema plimsoll; as a superuser:"
        f" GRANT USAGE, CREATE ON SCHEMA plimsoll TO {QUOTED};"
    )
    mend(newest_database, found)
    made = f"ok  history: as {ROLE}; the relay will make tables in the schema plimsoll"
    assert await history(stranger) == made


async def test_tables_that_are_somebody_else_s(stranger: str, newest_database: Database) -> None:
    await bring(newest_database, NEWEST)
    found = await history(stranger)
    assert found == (
        f"BAD history: the role {ROLE} may not write into the tables of the schema plimsoll; as a superuser:"
        f" GRANT USAGE ON SCHEMA plimsoll TO {QUOTED};"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plimsoll TO {QUOTED};"
    )
    mend(newest_database, found)
    assert await history(stranger) == f"ok  history: as {ROLE}; the schema plimsoll has version {NEWEST}"

    with newest_database.connect() as session:
        session.execute("DELETE FROM plimsoll.schema_version WHERE version = %s", (NEWEST,))
    assert await history(stranger) == (
        f"BAD history: the schema plimsoll has version {NEWEST - 1},"
        f" and only postgres can bring it to {NEWEST}:"
        f" run `plimsoll relay --history.schema={NEWEST}` with a dsn of that role"
    )


async def test_a_schema_newer_than_known(newest_database: Database) -> None:
    await bring(newest_database, NEWEST)
    with newest_database.connect() as session:
        session.execute("INSERT INTO plimsoll.schema_version VALUES (%s, 'later')", (NEWEST + 1,))
    assert await history(newest_database.server.dsn(newest_database.name)) == (
        f"BAD history: the history's schema has version {NEWEST + 1},"
        f" and this program knows none above {NEWEST}:"
        f" run the newer relay that made it, or let that one go back with --history.schema={NEWEST}"
    )


async def test_a_server_that_is_away_hangs_or_refuses(
    newest_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = await history("host=127.0.0.1 port=1 user=relay")
    assert away.startswith("BAD history: connection ")
    assert "Connection refused" in away
    dsn = newest_database.server.dsn(newest_database.name, "plimsoll", "hunter2")
    wrong = await history(dsn)
    assert 'password authentication failed for user "plimsoll"' in wrong
    assert "hunter2" not in wrong

    monkeypatch.setattr(Link, "patience", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hanging = await history(f"host=127.0.0.1 port={deaf.getsockname()[1]} user=relay")
    assert hanging == "BAD history: the database did not answer within 0.3 s"


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_tells_all_of_it(
    newest_database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    config = {
        "webhooks": {"ops": {"url": f"{NOBODY}/hook", "secret": secret}},
        "relay": {"url": "http://relay:9746", "token_file": "token"},
        "alertmanager": {"urls": [NOBODY]},
        "prometheus": {"url": NOBODY},
        "history": {"dsn": newest_database.server.dsn(newest_database.name)},
    }
    path = tmp_path / "plimsoll.yml"
    path.write_text(yaml.safe_dump(config))
    (tmp_path / "token").write_text("a-token")

    assert cli.main(["check", f"--config.file={path}", "--only=relay", "--connect"]) == cli.FAILED
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"{path}: 1 signed receiver(s), a history configured"
    assert [line.split(":")[0] for line in lines[1:]] == ["BAD alertmanager", "BAD prometheus", "ok  history"]
    assert err == ""
    assert versions(newest_database) is None
