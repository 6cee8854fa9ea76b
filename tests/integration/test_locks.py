"""A lock on a table costs that table's new size, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database
from serving import Samples, serving

OTHERS = 40
SETUP = """
CREATE TABLE victim (id int, document text);
ALTER TABLE victim ALTER document SET STORAGE EXTERNAL;
INSERT INTO victim SELECT i, repeat('y', 9000) FROM generate_series(1, 50) i;
CREATE INDEX victim_index ON victim (id);
"""


@contextmanager
def locked(database: Database, relation: str) -> Iterator[None]:
    """Hold AccessExclusiveLock on a relation in one transaction while another one waits for it."""
    with database.connect(autocommit=False) as holder, database.connect(autocommit=False) as waiter:
        lock = lock_statement(holder, relation)
        holder.execute(lock)
        thread = threading.Thread(target=swallow_cancel, args=(waiter, lock))
        thread.start()
        try:
            database.wait_until(
                "SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            yield
        finally:
            waiter.cancel_safe()
            thread.join()


def lock_statement(session: psycopg.Connection[tuple[object, ...]], relation: str) -> str:
    """Give a statement that locks just this relation exclusively."""
    if relation == "table":
        return "LOCK TABLE victim IN ACCESS EXCLUSIVE MODE"
    if relation == "index":
        return "REINDEX INDEX victim_index"
    (toast,) = (
        session.execute(
            "SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'victim'"
        ).fetchone()
        or ()
    )
    (index,) = (
        session.execute(
            f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{toast}'::regclass"
        ).fetchone()
        or ()
    )
    return f"REINDEX INDEX {index}"


def swallow_cancel(session: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    with suppress(psycopg.errors.QueryCanceled):
        session.execute(statement)


@pytest.fixture
def tables(limited: Database) -> Database:
    with limited.connect() as session:
        session.execute(SETUP)
        for number in range(OTHERS):
            session.execute(f"CREATE TABLE other_{number} (a int)")
    return limited


def grow_others(database: Database) -> None:
    with database.connect() as session:
        for number in range(OTHERS):
            session.execute(f"INSERT INTO other_{number} VALUES (1)")
    grown = (
        f"SELECT count(*) = {OTHERS} FROM pg_stat_user_tables WHERE relname LIKE 'other%' AND n_tup_ins > 0"
    )
    database.wait_until(grown)


@pytest.mark.parametrize("relation", ["table", "index", "toast"])
def test_a_locked_table_is_repeated_and_the_others_measured(
    tables: Database, tmp_path: Path, relation: str
) -> None:
    with serving(tables.config(), tmp_path) as exporter:
        before = exporter.scrape()
        grow_others(tables)
        with locked(tables, relation), watching_for_waits(tables) as waits:
            started = time.monotonic()
            during = exporter.scrape()
            took = time.monotonic() - started
        after = exporter.scrape()
        assert not exporter.messages("too many connections")
    assert took < 2
    assert during.tables()["victim"] == before.tables()["victim"] > 0
    assert all(during.tables()[f"other_{number}"] > 0 for number in range(OTHERS))
    assert unmeasured(before) == 0
    assert unmeasured(during) == 1
    assert unmeasured(after) == 0
    name = "pg_sizes_oldest_timestamp_seconds"
    oldest = [page.get(name, datname=tables.name) or 0 for page in (before, during, after)]
    assert oldest[0] == oldest[1] < oldest[2]
    assert waits == []


def test_a_table_locked_from_the_start_is_absent_and_counted(tables: Database, tmp_path: Path) -> None:
    with serving(tables.config(), tmp_path) as exporter:
        with locked(tables, "table"):
            page = exporter.scrape()
            assert len(page.tables()) == OTHERS
            assert "victim" not in page.tables()
            assert unmeasured(page) == 1
            assert page.get("pg_unattributed_size_bytes", datname=tables.name) is None
        page = exporter.scrape()
        assert page.tables()["victim"] > 0
        assert page.get("pg_unattributed_size_bytes", datname=tables.name) is not None


def test_a_lock_waited_for_is_as_bad_as_one_held(tables: Database, tmp_path: Path) -> None:
    """A reader holds up an ALTER TABLE, and every later reader queues behind that one."""
    with serving(tables.config(), tmp_path) as exporter:
        exporter.scrape()
        with tables.connect(autocommit=False) as reader, tables.connect(autocommit=False) as waiter:
            reader.execute("SELECT count(*) FROM victim")
            thread = threading.Thread(target=swallow_cancel, args=(waiter, "ALTER TABLE victim ADD b int"))
            thread.start()
            tables.wait_until(
                "SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
            )
            with watching_for_waits(tables) as waits:
                page = exporter.scrape()
            waiter.cancel_safe()
            thread.join()
    assert unmeasured(page) == 1
    assert page.tables()["victim"] > 0
    assert waits == []


def test_a_lock_in_another_database_does_not_matter(tables: Database, tmp_path: Path) -> None:
    """Object ids repeat between databases: there the same number may be another table."""
    copy = f"{tables.name}_copy"
    with tables.connect("postgres") as session:
        session.execute(f"CREATE DATABASE {copy} TEMPLATE {tables.name}")
        try:
            with (
                serving(tables.config(), tmp_path) as exporter,
                locked(tables, "table"),
            ):
                page = exporter.scrape()
                assert page.tables(datname=copy)["victim"] > 0
                assert page.get("pg_tables_unmeasured", datname=copy, reason="locked") == 0
        finally:
            session.execute(f"DROP DATABASE {copy}")


@contextmanager
def watching_for_waits(database: Database) -> Iterator[list[object]]:
    """Note every lock that the exporter waits for, looking as often as one session can."""
    seen: list[object] = []
    done = threading.Event()

    def look() -> None:
        with database.connect("postgres") as session:
            while not done.is_set():
                seen.extend(
                    session.execute(
                        "SELECT l.relation, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                        " WHERE a.application_name = 'plimsoll' AND NOT l.granted"
                    )
                )

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def unmeasured(page: Samples) -> float:
    return sum(page.all("pg_tables_unmeasured").values())
