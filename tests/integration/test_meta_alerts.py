"""What happens to Plimsoll itself, and to the servers that it watches, reaches a webhook."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fix_postgres import PASSWORD, Database, OwnPostgres, fresh_database
from judging import BUSY, Judging, at_once, job, judging, user_file
from plimsoll.demo import processes
from plimsoll.demo.exporter import serving
from plimsoll.demo.history import DAY, History
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.service import Service
from waiting import eventually

pytestmark = pytest.mark.long

TOLD = {
    "DatabaseCriticalSizeSoon",
    "PostgresUnreachable",
    "CollectorFailing",
    "MeasurementsTooOld",
    "ConfigReloadFailed",
    "ExporterUnreachable",
}
"""Presets that fire and resolve here."""

MEASURED = 'pg_stat_user_tables_size_bytes{relname="held"}'


@dataclass(frozen=True)
class Watched:
    """Two servers, and two databases on the first."""

    database: Database
    """It has grown for a day, and has a table that can be locked."""
    private: Database
    """The exporter may not connect to it."""
    other: PostgresServer
    size: int

    def sections(self, critical: float) -> dict[str, Any]:
        """Give a user's file in which the database is critical at so many times its size."""
        of_database = f'{{server="main",datname="{self.database.name}"}}'
        alerts = {
            "DatabaseSizeCritical": _only(of_database, threshold=int(critical * self.size)),
            "MeasurementsTooOld": _only(of_database, threshold="8s"),
            "CollectorFailing": {"for": "10m", **_only('{server="main"}', **BUSY)},
            "PostgresUnreachable": BUSY,
            "ExporterUnreachable": BUSY,
        }
        chosen = {"include": [self.database.name, self.private.name], "interval": "0"}
        main = {"name": "main", "dsn": self.database.dsn("postgres"), "databases": chosen}
        other = {"name": "other", "dsn": self.other.dsn("postgres", "plimsoll", PASSWORD)}
        servers = [{**main, "tables": {"interval": "0"}}, other]
        return {"postgres": {"servers": servers}, "alerts": at_once(alerts)}

    def history(self) -> History:
        """Let the database have doubled within a day."""
        history = History(span=DAY, step=300)
        labels = f'server="main",datname="{self.database.name}"'
        size = "database:pg_database_size_bytes:max"
        history.add(size, labels, lambda age: self.size * (1 - age / DAY / 2))
        return history

    def expected(self, exporter: Service) -> dict[str, dict[str, str]]:
        """Give labels of the alerts that are to fire."""
        of_database = {"server": "main", "datname": self.database.name}
        of_exporter = {"instance": exporter.address, "job": "plimsoll"}
        return {
            "DatabaseCriticalSizeSoon": of_database,
            "MeasurementsTooOld": of_database,
            "CollectorFailing": {"server": "main", "datname": self.private.name, "collector": "tables"},
            "PostgresUnreachable": {"server": "other"},
            "ConfigReloadFailed": of_exporter,
            "ExporterUnreachable": of_exporter,
        }


def _only(match: str, **changes: Any) -> dict[str, Any]:
    return {"overrides": [{"match": match, **changes}]}


@pytest.fixture
def private(newest_postgres: PostgresServer) -> Iterator[Database]:
    for database in fresh_database(newest_postgres):
        with database.connect() as session:
            session.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC")
        yield database


@pytest.fixture
def watched(newest_database: Database, private: Database, own_postgres: OwnPostgres) -> Watched:
    with newest_database.connect() as session:
        session.execute("CREATE TABLE held AS SELECT 1 AS a")
        row = session.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row
    return Watched(newest_database, private, own_postgres(), int(row[0]))


@contextmanager
def held_table(database: Database) -> Iterator[None]:
    """Keep a table from being measured."""
    with database.connect(autocommit=False) as session:
        session.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        yield
        session.rollback()


def reload_after(exporter: Service, change: Callable[[], object]) -> None:
    change()
    exporter.process.send_signal(signal.SIGHUP)


def test_what_happens_to_plimsoll_is_told_and_resolved(watched: Watched, tmp_path: Path) -> None:
    with (
        user_file(tmp_path, watched.sections(critical=1.25)) as file,
        serving(file.path, tmp_path) as exporter,
        judging(file, [job("plimsoll", exporter.address)], watched.history()) as watcher,
    ):
        expected = watched.expected(exporter)
        unreachable = {"ExporterUnreachable": expected["ExporterUnreachable"]}
        others = {name: labels for name, labels in expected.items() if name not in unreachable}
        eventually(lambda: watcher.query(MEASURED))
        with held_table(watched.database):
            watched.other.stop()
            reload_after(exporter, lambda: file.path.write_text("postgres: none"))
            watcher.wait_for("firing", others)
            check_texts(watcher)
        get_out_of_trouble(watcher, watched, exporter)
        watcher.wait_for("resolved", others)
        processes.end(exporter.process)
        watcher.wait_for("firing", unreachable)
        with serving(file.path, tmp_path, port=urlsplit(exporter.url).port or 0):
            watcher.wait_for("resolved", unreachable)
            eventually(lambda: not watcher.query('ALERTS{alertstate="firing"}'))
            watcher.check_told(expected)


def check_texts(watcher: Judging) -> None:
    (soon,) = watcher.told("DatabaseCriticalSizeSoon")
    assert float(soon["annotations"]["value"].removesuffix(" hours")) == pytest.approx(12, rel=0.05)
    (old,) = watcher.told("MeasurementsTooOld")
    assert "keeps tables from being measured: locked (1)." in old["annotations"]["description"]


def get_out_of_trouble(watcher: Judging, watched: Watched, exporter: Service) -> None:
    watched.other.start()
    with watched.private.connect() as session:
        session.execute(f"GRANT CONNECT ON DATABASE {watched.private.name} TO PUBLIC")
    reload_after(exporter, lambda: watcher.change(watched.sections(critical=1000)))
