"""The history's schema: up, down and up again, by several at once, with data in it, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from fix_postgres import Database
from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.migrating import NEWEST, Migrated, migrate

SCHEMA = """
SELECT c.relkind::text, c.relname, coalesce(pg_get_indexdef(c.oid), '')
FROM pg_class c WHERE c.relnamespace = to_regnamespace('plimsoll') AND c.relkind IN ('r', 'i', 'S', 'v')
UNION ALL
SELECT 'a', attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod) || attnotnull
FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('plimsoll') AND relkind = 'r')
UNION ALL
SELECT 'c', conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = to_regnamespace('plimsoll')
ORDER BY 1, 2
"""
SUBJECT = "INSERT INTO plimsoll.subject (kind, name) VALUES ('server', %s) RETURNING id"
ALERT: dict[str, Any] = {
    "fingerprint": "f",
    "alertname": "A",
    "severity": "high",
    "status": "open",
    "title": "T",
    "annotations": Jsonb({}),
    "labels": Jsonb({}),
    "created_at": "2026-01-01 12:00Z",
    "last_seen_at": "2026-01-01 12:00Z",
    "updated_at": "2026-01-01 12:00Z",
}
ACKNOWLEDGED = {"acknowledged_at": "2026-01-01 12:30Z", "acknowledged_by": "me"}
RESOLVED = {"status": "resolved", "resolved_at": "2026-01-01 13:00Z", "auto_resolved": True}
DELIVERY: dict[str, Any] = {
    "receiver": "ops",
    "webhook_id": "msg_1",
    "fingerprints": ["f"],
    "result": "delivered",
    "duration_seconds": 0.1,
    "attempted_at": "2026-01-01 12:00Z",
}


async def bring(database: Database, target: int | None = None, dsn: str | None = None) -> Migrated:
    """Bring a database's schema to a version."""
    dsn = dsn or database.server.dsn(database.name)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await migrate(connection, target)


def schema(database: Database) -> list[Any]:
    with database.connect() as session:
        return session.execute(SCHEMA).fetchall()


def insert(database: Database, table: str, row: dict[str, Any]) -> None:
    columns = ", ".join(row)
    values = ", ".join(f"%({column})s" for column in row)
    with database.connect() as session:
        session.execute(f"INSERT INTO plimsoll.{table} ({columns}) VALUES ({values})".encode(), row)


def add_subject(database: Database, name: str = "main") -> int:
    with database.connect() as session:
        return int((session.execute(SUBJECT, (name,)).fetchone() or (0,))[0])


def add_alert(database: Database, **columns: Any) -> None:
    with database.connect() as session:
        found = session.execute("SELECT min(id) FROM plimsoll.subject").fetchone() or (None,)
    insert(database, "alert", {"subject_id": found[0], **ALERT, **columns})


def count(database: Database, table: str) -> int:
    with database.connect() as session:
        found = session.execute(f"SELECT count(*) FROM plimsoll.{table}".encode()).fetchone()
    return int((found or (0,))[0])


# --- up and down ------------------------------------------------------------------------------------------


async def test_it_goes_up_down_and_up_again_step_by_step(database: Database) -> None:
    seen = {}
    for version in range(1, NEWEST + 1):
        assert await bring(database, version) == (version - 1, version)
        seen[version] = schema(database)
    for version in range(NEWEST - 1, 0, -1):
        assert await bring(database, version) == (version + 1, version)
        assert schema(database) == seen[version]

    assert await bring(database) == (1, NEWEST)
    assert schema(database) == seen[NEWEST]


async def test_the_same_again_does_nothing(newest_database: Database) -> None:
    await bring(newest_database)
    before = schema(newest_database)

    assert await bring(newest_database) == (NEWEST, NEWEST)
    assert schema(newest_database) == before


async def test_down_to_nothing_leaves_nothing_of_ours_and_all_that_is_others(database: Database) -> None:
    with database.connect() as session:
        session.execute("CREATE TABLE public.mine AS SELECT 1 AS a")
    await bring(database)

    assert await bring(database, 0) == (NEWEST, 0)

    with database.connect() as session:
        assert session.execute("SELECT to_regnamespace('plimsoll')").fetchone() == (None,)
        assert session.execute("SELECT a FROM public.mine").fetchone() == (1,)
    assert await bring(database, 0) == (0, 0)


async def test_a_schema_that_others_use_stays(newest_database: Database) -> None:
    await bring(newest_database)
    with newest_database.connect() as session:
        session.execute("CREATE TABLE plimsoll.mine AS SELECT 1 AS a")

    await bring(newest_database, 0)

    assert count(newest_database, "mine") == 1
    assert [name for kind, name, _ in schema(newest_database) if kind == "r"] == ["mine"]
    assert await bring(newest_database) == (0, NEWEST)


async def test_every_table_and_column_says_what_it_means(newest_database: Database) -> None:
    await bring(newest_database)

    with newest_database.connect() as session:
        bare = session.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped"
            " AND (obj_description(c.oid) IS NULL"
            "      OR a.attnum > 0 AND a.attname <> 'id' AND col_description(c.oid, a.attnum) IS NULL)"
        ).fetchall()
    assert bare == []


async def test_a_view_on_our_tables_keeps_them_whole(newest_database: Database) -> None:
    await bring(newest_database)
    with newest_database.connect() as session:
        session.execute("CREATE VIEW public.mine AS SELECT * FROM plimsoll.alert")
    before = schema(newest_database)

    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        await bring(newest_database, 0)

    assert schema(newest_database) == before


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
async def test_data_survive_where_their_tables_do(database: Database, version: int) -> None:
    await bring(database, version)
    add_subject(database)
    add_alert(database, **ACKNOWLEDGED, **RESOLVED)
    with database.connect() as session:
        session.execute("UPDATE plimsoll.progress SET covered_until = '2026-01-01 12:00Z'")
        rows = session.execute("SELECT * FROM plimsoll.alert, plimsoll.subject, plimsoll.progress").fetchall()
    if version > 1:
        insert(database, "delivery", DELIVERY)

    for target in (NEWEST, 1, NEWEST):
        await bring(database, target)

    with database.connect() as session:
        query = "SELECT * FROM plimsoll.alert, plimsoll.subject, plimsoll.progress"
        assert session.execute(query).fetchall() == rows
    assert count(database, "delivery") == 0


async def test_deliveries_survive_what_does_not_touch_them(newest_database: Database) -> None:
    await bring(newest_database, 2)
    insert(newest_database, "delivery", DELIVERY)

    await bring(newest_database)

    assert count(newest_database, "delivery") == 1


# --- several at once, and wrong versions ------------------------------------------------------------------


@pytest.mark.parametrize("before", range(NEWEST + 1))
async def test_of_many_at_once_one_does_the_work(database: Database, before: int) -> None:
    await bring(database, before)

    done = await asyncio.gather(*(bring(database) for _ in range(4)))

    expected = [(before, NEWEST)] + [(NEWEST, NEWEST)] * 3
    assert sorted(done) == sorted(expected)
    with database.connect() as session:
        versions = session.execute("SELECT version FROM plimsoll.schema_version ORDER BY 1").fetchall()
    assert versions == [(each,) for each in range(1, NEWEST + 1)]


async def test_one_that_waited_sees_what_the_other_did_whatever_the_role_is_used_to(
    newest_database: Database,
) -> None:
    """With a snapshot from before it waited, it would make everything a second time."""
    with newest_database.connect() as session:
        name = newest_database.name
        session.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable".encode())
        session.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())

    done = await asyncio.gather(*(bring(newest_database) for _ in range(3)))

    assert sorted(done) == [(0, NEWEST), (NEWEST, NEWEST), (NEWEST, NEWEST)]


async def test_a_newer_schema_is_refused_with_what_to_do(newest_database: Database) -> None:
    await bring(newest_database)
    with newest_database.connect() as session:
        session.execute("INSERT INTO plimsoll.schema_version VALUES (%s, 'later')", (NEWEST + 1,))

    for target in (None, 1, 0):
        with pytest.raises(HistoryError) as raised:
            await bring(newest_database, target)

    assert str(raised.value) == (
        f"the history's schema has version {NEWEST + 1}, and this program knows none above {NEWEST}: run the"
        f" newer relay that made it, or let that one go back with --history.schema={NEWEST}"
    )
    assert count(newest_database, "alert") == 0


@pytest.mark.parametrize("target", [-1, NEWEST + 1])
async def test_a_version_that_there_is_not_is_refused(newest_database: Database, target: int) -> None:
    with pytest.raises(HistoryError, match=f"no version {target}: 0 to {NEWEST} are known"):
        await bring(newest_database, target)
    assert schema(newest_database) == []


# --- a role with few rights -------------------------------------------------------------------------------


async def test_a_role_that_may_create_nothing_is_told_so(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for database"):
        await bring(database, dsn=database.dsn())


async def test_a_schema_made_for_the_role_is_enough_and_is_left_to_it(database: Database) -> None:
    with database.connect() as session:
        session.execute("CREATE SCHEMA plimsoll AUTHORIZATION plimsoll")

    assert await bring(database, dsn=database.dsn()) == (0, NEWEST)
    assert await bring(database, 0, database.dsn()) == (NEWEST, 0)
    assert schema(database) == []
    assert await bring(database, dsn=database.dsn()) == (0, NEWEST)


# --- what the schema refuses ------------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("alert_alertname_filled", {"alertname": ""}),
    ("alert_severity_known", {"severity": "page"}),
    ("alert_severity_known", {"severity": ""}),
    ("alert_status_known", {"status": "read"}),
    ("alert_title_filled", {"title": ""}),
    ("alert_title_length", {"title": "t" * 256}),
    ("alert_annotations_object", {"annotations": Jsonb([])}),
    ("alert_labels_object", {"labels": Jsonb("x")}),
    ("alert_resolved_whole", {"status": "resolved"}),
    ("alert_resolved_whole", {**RESOLVED, "auto_resolved": None}),
    ("alert_resolved_whole", {**RESOLVED, "status": "open"}),
    ("alert_resolved_whole", {"auto_resolved": False}),
    ("alert_resolved_after_created", {**RESOLVED, "resolved_at": "2026-01-01 11:59Z"}),
    ("alert_acknowledgement_whole", {**RESOLVED, "acknowledged_by": "me"}),
    ("alert_acknowledgement_whole", {**RESOLVED, "acknowledged_at": "2026-01-01 12:30Z"}),
    ("alert_acknowledgement_whole", {"acknowledged_comment": "mine"}),
    ("alert_acknowledgement_whole", {"acknowledged_until": "2026-01-02 12:00Z"}),
    ("alert_acknowledgement_whole", {"silence_id": "s"}),
    ("alert_acknowledged_by_somebody", {"status": "acknowledged"}),
    ("alert_open_by_nobody", ACKNOWLEDGED),
]
REFUSED_ELSEWHERE: list[tuple[str, str, dict[str, Any]]] = [
    ("subject", "subject_kind_known", {"kind": "container", "name": "x"}),
    ("subject", "subject_name_filled", {"kind": "server", "name": ""}),
    ("progress", "progress_one_row", {"one": False}),
    ("delivery", "delivery_receiver_filled", {**DELIVERY, "receiver": ""}),
    ("delivery", "delivery_result_filled", {**DELIVERY, "result": ""}),
    ("delivery", "delivery_duration_positive", {**DELIVERY, "duration_seconds": -1.0}),
]


@pytest.fixture
async def schemed(database: Database) -> Database:
    await bring(database)
    add_subject(database)
    return database


async def test_each_check_refuses(schemed: Database) -> None:
    for constraint, columns in REFUSED:
        with pytest.raises(psycopg.errors.CheckViolation) as raised:
            add_alert(schemed, **columns)
        assert raised.value.diag.constraint_name == constraint, columns
    for table, constraint, row in REFUSED_ELSEWHERE:
        with pytest.raises(psycopg.errors.CheckViolation) as raised:
            insert(schemed, table, row)
        assert raised.value.diag.constraint_name == constraint


async def test_each_check_is_tried(schemed: Database) -> None:
    with schemed.connect() as session:
        found = session.execute(
            "SELECT conname FROM pg_constraint"
            " WHERE connamespace = to_regnamespace('plimsoll') AND contype = 'c'"
        ).fetchall()

    assert {name for (name,) in found} == {
        *(name for name, _ in REFUSED),
        *(name for _, name, _ in REFUSED_ELSEWHERE),
    }


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"title": "ä" * 255},
        {"annotations": None},
        {"status": "acknowledged", **ACKNOWLEDGED},
        RESOLVED,
        {**RESOLVED, **ACKNOWLEDGED},
        {**RESOLVED, "resolved_at": ALERT["created_at"], "auto_resolved": False},
    ],
)
async def test_what_is_right_is_taken(schemed: Database, columns: dict[str, Any]) -> None:
    add_alert(schemed, **columns)
    assert count(schemed, "alert") == 1


async def test_an_alert_has_one_unresolved_row_and_any_number_of_others(schemed: Database) -> None:
    for _ in range(3):
        add_alert(schemed, **RESOLVED)
    add_alert(schemed)
    with pytest.raises(psycopg.errors.UniqueViolation) as raised:
        add_alert(schemed, status="acknowledged", **ACKNOWLEDGED)

    assert raised.value.diag.constraint_name == "alert_unresolved_once"
    assert count(schemed, "alert") == 4


async def test_progress_has_one_row(schemed: Database) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(schemed, "progress", {"one": True})


async def test_a_subject_takes_its_alerts_along_and_nobody_elses(schemed: Database) -> None:
    other = add_subject(schemed, "other")
    for fingerprint in "ab":
        add_alert(schemed, fingerprint=fingerprint)
        add_alert(schemed, fingerprint=fingerprint, **RESOLVED)
    insert(schemed, "alert", {**ALERT, "subject_id": other})

    with schemed.connect() as session:
        session.execute("DELETE FROM plimsoll.subject WHERE name = 'main'")
        assert session.execute("SELECT subject_id, fingerprint FROM plimsoll.alert").fetchall() == [
            (other, "f")
        ]
