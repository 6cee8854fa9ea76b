"""More databases than connections: they take turns, and one that fails costs its own turn only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fix_postgres import Database, OwnPostgres, connection_limit
from plimsoll.demo.postgres import PostgresServer
from serving import Samples, Serving, serving
from waiting import eventually

COUNT = 30
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plimsoll'"


@contextmanager
def many(database: Database, count: int) -> Iterator[Database]:
    """Create databases whose names begin like that of `database`."""
    names = [f"{database.name}_{number:02d}" for number in range(count)]
    with database.connect("postgres") as session:
        for name in names:
            session.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
    yield database
    with database.connect("postgres") as session:
        for name in names:
            session.execute(f"DROP DATABASE {name} WITH (FORCE)")


def watching(database: Database, **keys: Any) -> dict[str, Any]:
    """Give the configuration for these databases and no others."""
    return database.config(databases={"include": [f"{database.name}_.*"]}, **keys)


@pytest.fixture(scope="module")
def crowd(newest_postgres: PostgresServer) -> Iterator[Database]:
    """Create many databases on a server that lets the exporter connect twice and not thrice."""
    with connection_limit(newest_postgres, 2), many(Database(newest_postgres, "crowd"), COUNT) as crowd:
        yield crowd


@contextmanager
def counting(database: Database) -> Iterator[list[int]]:
    """Look all the time how many connections the exporter has; gives the numbers."""
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        with database.connect("postgres") as session:
            while not done.wait(0.005):
                seen.extend(count for (count,) in session.execute(CONNECTIONS).fetchall())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def by_database(page: Samples, name: str) -> dict[str, float]:
    found = page.all(name, collector="tables", target="main", server="main")
    return {dict(labels)["datname"]: value for labels, value in found.items()}


def measured_since(exporter: Serving, moment: float, count: int = COUNT) -> bool:
    times = by_database(exporter.scrape(), "plimsoll_collector_last_success_timestamp_seconds")
    return len(times) == count and min(times.values()) > moment


def test_all_have_their_turns_over_two_connections(crowd: Database, tmp_path: Path) -> None:
    with counting(crowd) as seen, serving(watching(crowd), tmp_path) as exporter:
        moment = 0.0
        for _ in range(3):
            eventually(partial(measured_since, exporter, moment))
            page = exporter.scrape()
            moment = max(by_database(page, "plimsoll_collector_last_success_timestamp_seconds").values())
        assert len(page.all("pg_database_size_bytes")) == COUNT
        assert page.get("plimsoll_collector_interval_seconds", collector="tables") is not None
        assert exporter.messages("failed") == []
    assert 1 <= max(seen) <= 2


def test_one_that_hangs_costs_its_own_turn(crowd: Database, tmp_path: Path) -> None:
    """Whoever holds this lock keeps the passes over the database waiting, until their statement_timeout."""
    config = watching(crowd, lock_timeout="30s", statement_timeout="1s")
    bad = f"{crowd.name}_07"
    with crowd.connect(bad, autocommit=False) as holder, serving(config, tmp_path) as exporter:
        holder.execute("LOCK TABLE pg_catalog.pg_namespace IN ACCESS EXCLUSIVE MODE")
        eventually(lambda: len(by_database(exporter.scrape(), "plimsoll_collector_success")) == COUNT)
        success = by_database(exporter.scrape(), "plimsoll_collector_success")
        assert [name for name, value in success.items() if value == 0] == [bad]

        holder.rollback()
        eventually(lambda: by_database(exporter.scrape(), "plimsoll_collector_success").get(bad) == 1)
        assert {line["datname"] for line in exporter.messages("collection failed")} == {bad}


def test_a_server_that_is_killed_is_not_told_of_for_each_database(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    server = own_postgres()
    with many(Database(server, "many"), 12) as few, serving(watching(few), tmp_path) as exporter:
        eventually(lambda: measured_since(exporter, 0, 12))
        scraping = threading.Thread(target=exporter.scrape)
        scraping.start()  # so that passes are under way
        server.kill()
        scraping.join()
        assert exporter.scrape().get("pg_up") == 0
        assert len(exporter.messages("collection failed")) <= 5, "the probe, the sizes, and one or two passes"

        server.start()
        eventually(lambda: set(exporter.scrape().all("plimsoll_collector_success").values()) == {1})
