"""Sizes reach a webhook: real PostgreSQL, exporter, Prometheus with the committed rules, Alertmanager.

An alert waits some minutes before it fires. Here the invented past says that it has waited already.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from fix_postgres import Database
from plimsoll.demo.history import DAY, History
from plimsoll.demo.processes import free_port
from plimsoll.demo.service import fetch
from waiting import eventually
from watching import Watching, watching

pytestmark = pytest.mark.long

GROWTH = {"DatabaseGrowthHigh", "TableGrowthHigh", "PartitionedTableGrowthHigh"}
SIZE = {"DatabaseSizeCritical"}
TOLD = GROWTH | SIZE
"""Presets that fire and resolve here."""

RULES = Path(__file__).parents[2] / "rules"
GIB = 1024**3
ROWS = 200_000
"""Of more than 1000 bytes each: twice as many as make a table large enough to be judged."""

NAMES = [
    'quo"te',
    "apo'strophe",
    "back\\slash",
    "back\\nslash n",
    "new\nline",
    "{brace}=,",
    "elephant 🐘",
    "UPPER",
    "x" * 63,
    "trailing ",
    "percent%s",
]


def bytes_of(text: str) -> float:
    """Read a size as Prometheus' humanize1024 writes it."""
    number, unit = re.fullmatch(r"([0-9.]+)([KMG]i)?B", text, re.IGNORECASE).groups("")  # type: ignore[union-attr]
    factors = {"": 1, "ki": 1024, "mi": 1024**2, "gi": GIB}
    return float(number) * factors[unit.lower()]


def scalar(database: Database, query: str) -> int:
    with database.connect() as session:
        row = session.execute(query).fetchone()
    assert row
    return int(row[0])


def grow(database: Database) -> None:
    """Make a table of twice the floor of the growth alerts; it is all that a partitioned one consists of."""
    with database.connect() as session:
        session.execute("CREATE TABLE ledgers (id int, entry text) PARTITION BY RANGE (id)")
        session.execute("CREATE TABLE ledger PARTITION OF ledgers DEFAULT")
        session.execute(f"INSERT INTO ledger SELECT i, repeat('x', 1000) FROM generate_series(1, {ROWS}) i")
        session.execute("VACUUM ANALYZE ledger")


def shrink(database: Database) -> None:
    """Make it little larger than it was yesterday, and larger than the floor still."""
    with database.connect() as session:
        session.execute(f"DELETE FROM ledger WHERE id > {0.55 * ROWS:.0f}")
        session.execute("VACUUM FULL ledger")


def check_growth(alert: dict[str, Any], size: int, name: str = "ledger") -> None:
    """Compare an alert's texts with the real size, which is twice that of yesterday."""
    texts = alert["annotations"]
    assert bytes_of(texts["current"]) == pytest.approx(size, rel=0.005)
    assert bytes_of(texts["previous"]) == pytest.approx(size / 2, rel=0.005)
    assert texts["percent"] == texts["value"].removesuffix(" in 24 hours")
    assert float(texts["percent"].removesuffix(" %")) == pytest.approx(100, abs=1)
    assert f"from {texts['previous']} to {texts['current']}." in texts["description"]
    assert f'"public"."{name}"' in texts["description"]


def test_growth_is_told_silenced_and_resolved(newest_database: Database, tmp_path: Path) -> None:
    def invent(history: History, page: str, target: dict[str, str]) -> None:
        def half_of_it_until_today(age: float) -> float:
            return 0.5 if age > DAY / 2 else 1.0

        history.add_sizes(page, newest_database.name, half_of_it_until_today, scraped_by=target)

    grow(newest_database)
    with watching({"main": newest_database.dsn("postgres")}, tmp_path, invent) as watcher:
        check_that_rules_are_the_committed_ones(watcher)
        eventually(lambda: all(watcher.told(name) for name in GROWTH), 60)
        check_growth_notifications(watcher, newest_database)
        check_silence(watcher)
        shrink(newest_database)
        eventually(lambda: all(watcher.told(name, "resolved") for name in GROWTH), 60)
        table = f'{{datname="{newest_database.name}",relname="ledger"}}'
        ((_, growth),) = watcher.query(f"table:pg_stat_user_tables_size_bytes:growth24h_percent{table}")
        assert growth == pytest.approx(10, abs=1)
        watcher.check_lives(GROWTH)
        assert {notification["receiver"] for notification in watcher.notifications} == {"default"}


def check_that_rules_are_the_committed_ones(watcher: Watching) -> None:
    answer = json.loads(fetch(f"{watcher.prometheus.url}/api/v1/rules"))
    files = {group["file"] for group in answer["data"]["groups"]}
    assert files == {str(RULES / "recording.yml"), str(RULES / "alerts.yml")}


def check_growth_notifications(watcher: Watching, database: Database) -> None:
    labels = {"server": "main", "datname": database.name, "severity": "warning", "category": "storage"}
    of_database = watcher.told("DatabaseGrowthHigh")[0]
    assert of_database["labels"] == {"alertname": "DatabaseGrowthHigh", **labels}
    check_growth(of_database, scalar(database, "SELECT pg_database_size(current_database())"))
    of_table = watcher.told("TableGrowthHigh")[0]
    own = {"alertname": "TableGrowthHigh", "schemaname": "public", "relname": "ledger"}
    assert of_table["labels"] == labels | own
    size = scalar(database, "SELECT pg_total_relation_size('ledger')")
    check_growth(of_table, size)
    of_root = watcher.told("PartitionedTableGrowthHigh")[0]
    own = {"alertname": "PartitionedTableGrowthHigh", "schemaname": "public", "relname": "ledgers"}
    assert of_root["labels"] == labels | own
    check_growth(of_root, size, "ledgers")
    assert "Partitions now: 1." in of_root["annotations"]["description"]


def wait_for_repetitions(watcher: Watching, name: str, count: int, **labels: str) -> None:
    """Wait until an alert, which repeats every few seconds, has been told so many times more."""
    before = len(watcher.told(name, **labels))
    eventually(lambda: len(watcher.told(name, **labels)) >= before + count, 60)


def is_inhibited(watcher: Watching, name: str, **labels: str) -> bool:
    alerts = watcher.alerts(name, **labels)
    return bool(alerts) and all(alert["status"]["inhibitedBy"] for alert in alerts)


def check_silence(watcher: Watching) -> None:
    """See that of two alerts, which both repeat every few seconds, the silenced one does not."""
    silence = watcher.silence(alertname="TableGrowthHigh", relname="ledger")
    wait_for_repetitions(watcher, "DatabaseGrowthHigh", 1)  # what was under way has arrived
    before = len(watcher.told("TableGrowthHigh"))
    wait_for_repetitions(watcher, "DatabaseGrowthHigh", 3)
    assert len(watcher.told("TableGrowthHigh")) == before
    assert not watcher.told("TableGrowthHigh", "resolved")
    watcher.end_silence(silence)
    wait_for_repetitions(watcher, "TableGrowthHigh", 1)


def test_critical_size_is_told_and_resolved(newest_database: Database, tmp_path: Path) -> None:
    name = newest_database.name

    def invent(history: History, page: str, target: dict[str, str]) -> None:
        history.add_sizes(page, name, lambda _: 1.0, scraped_by=target)
        history.add_alert("DatabaseSizeCritical", f'server="main",datname="{name}"', since=600)

    oid = scalar(newest_database, "SELECT oid FROM pg_database WHERE datname = current_database()")
    ballast = newest_database.server.directory / "data" / "base" / str(oid) / "ballast"
    ballast.touch()
    os.truncate(ballast, 51 * GIB)  # sparse: it takes no space
    size = scalar(newest_database, "SELECT pg_database_size(current_database())")
    with watching({"main": newest_database.dsn("postgres")}, tmp_path, invent) as watcher:
        eventually(lambda: watcher.told("DatabaseSizeCritical"), 60)
        alert = watcher.told("DatabaseSizeCritical")[0]
        labels = {"server": "main", "datname": name, "severity": "critical", "category": "storage"}
        assert alert["labels"] == {"alertname": "DatabaseSizeCritical", **labels}
        assert bytes_of(alert["annotations"]["value"]) == pytest.approx(size, rel=0.001)
        assert f'"{name}" on server "main" is 51.01GiB, more than' in alert["annotations"]["description"]
        assert not watcher.told("DatabaseGrowthHigh")
        ballast.unlink()
        eventually(lambda: watcher.told("DatabaseSizeCritical", "resolved"), 60)
        watcher.check_lives(SIZE)


@pytest.fixture
def odd_database(newest_database: Database) -> Iterator[Database]:
    """Give a database of an odd name, with tables of odd names in two schemas, one of an odd name too."""
    odd = Database(newest_database.server, f'{newest_database.name} "\\\n🐘')
    name = sql.Identifier(odd.name)
    with newest_database.connect() as owner:
        owner.execute(sql.SQL("CREATE DATABASE {}").format(name))
        with odd.connect() as session:
            create_tables(session)
        yield odd
        owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def create_tables(session: psycopg.Connection) -> None:
    session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier("Second \\ schema\n")))
    for schema in ("public", "Second \\ schema\n"):
        for table in NAMES:
            session.execute(sql.SQL("CREATE TABLE {} (a int)").format(sql.Identifier(schema, table)))
            session.execute(sql.SQL("INSERT INTO {} VALUES (1)").format(sql.Identifier(schema, table)))


def test_odd_names_come_through_prometheus(odd_database: Database, tmp_path: Path) -> None:
    with watching({"main": odd_database.dsn("postgres")}, tmp_path) as watcher:
        eventually(lambda: watcher.query("table:pg_stat_user_tables_size_bytes:max > 0"))
        for metric in ("pg_stat_user_tables_size_bytes", "table:pg_stat_user_tables_size_bytes:max"):
            found = {
                (labels["schemaname"], labels["relname"]): size
                for labels, size in watcher.query(metric)
                if labels["datname"] == odd_database.name
            }
            expected = [(schema, table) for schema in ("public", "Second \\ schema\n") for table in NAMES]
            assert found == dict.fromkeys(expected, 8192)


def test_an_unreachable_server_explains_its_failing_collector(
    newest_database: Database, tmp_path: Path
) -> None:
    failing = 'server="{0}",collector="{1}",target="{0}"'
    of_gone = failing.format("gone", "server")
    of_main = failing.format("main", "tables") + f',datname="{newest_database.name}"'

    def invent(history: History, _page: str, _target: dict[str, str]) -> None:
        history.add("server:pg_up:max", 'server="gone"', lambda _: 0, since=600)
        history.add_alert("PostgresUnreachable", 'server="gone"', since=600)
        for labels in (of_gone, of_main):
            history.add("collector:plimsoll_collector_success:max", labels, lambda _: 0, since=900)
            history.add_alert("CollectorFailing", labels, since=900)

    with newest_database.connect() as session:
        session.execute(f"REVOKE CONNECT ON DATABASE {newest_database.name} FROM PUBLIC")
    closed = f"postgresql://plimsoll@127.0.0.1:{free_port()}/postgres"
    servers = {"main": newest_database.dsn("postgres"), "gone": closed}
    with watching(servers, tmp_path, invent) as watcher:
        eventually(lambda: watcher.told("PostgresUnreachable", server="gone"), 60)
        eventually(lambda: is_inhibited(watcher, "CollectorFailing", server="gone"), 60)
        wait_for_repetitions(watcher, "CollectorFailing", 1, server="main")  # what was under way has arrived
        before = len(watcher.told("CollectorFailing", server="gone"))
        wait_for_repetitions(watcher, "CollectorFailing", 3, server="main")
        assert len(watcher.told("CollectorFailing", server="gone")) == before
