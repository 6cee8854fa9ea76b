"""`plimsoll demo` as its user meets it: what it prints, what arrives, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from demonstration import UP, Demo, demo
from fix_postgres import PASSWORD, Database, OwnPostgres
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import alive, children, free_port
from plimsoll.demo.service import fetch
from plimsoll.demo.stack import ALERTMANAGER_PORT, EXPORTER_PORT, PROMETHEUS_PORT, WEBHOOK_PORT
from support import require_program
from waiting import eventually

pytestmark = pytest.mark.long

STANDARD_PORTS = {EXPORTER_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, WEBHOOK_PORT}


@pytest.fixture(autouse=True)
def programs() -> None:
    for name in ("prometheus", "promtool"):
        require_program(name)
    require_program("alertmanager", "prometheus-alertmanager")


def take(ports: set[int], stack: ExitStack) -> None:
    """Listen on ports; those that others have are taken already."""
    for port in ports:
        try:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue


def test_an_alert_arrives_and_ctrl_c_ends_all() -> None:
    with ExitStack() as stack:
        take(STANDARD_PORTS, stack)
        running = stack.enter_context(demo())
        running.wait_for("FIRING  TableGrowthHigh  (warning)", 120)
        running.wait_for("FIRING  DatabaseGrowthHigh  (warning)")
        check_addresses(running)
        check_that_the_past_is_there(running)
        started = running.descendants()
        assert len(started) > 5
        assert running.end(signal.SIGINT) == 0
        assert not any(map(alive, started))
        assert list(running.folder.iterdir()) == []
        assert "ending everything" in running.text
        assert "Traceback" not in running.text


def check_addresses(running: Demo) -> None:
    """See that each address is the real one, where the standard port was taken."""
    for name in ("Exporter", "Prometheus", "Alertmanager", "Webhook"):
        assert int(re.findall(r":(\d+)", running.address(name))[0]) not in STANDARD_PORTS
    assert 'pg_up{server="main"} 1' in fetch(running.address("Exporter"))
    for page in re.findall(r"http://127.0.0.1:\d+/\S*(?:graph|alerts)\S*", running.text):
        assert "<html" in fetch(page)
    for name in ("Prometheus", "Alertmanager"):
        fetch(f"{running.address(name)}/-/ready")
    assert f"--alertmanager.url={running.address('Alertmanager')} silence add" in running.text


def check_that_the_past_is_there(running: Demo) -> None:
    prometheus = running.address("Prometheus")
    query = "pg_database_size_bytes{datname=%22shop%22}%20offset%2047h"
    (series,) = json.loads(fetch(f"{prometheus}/api/v1/query?query={query}"))["data"]["result"]
    assert series["metric"]["job"] == "plimsoll"
    assert series["metric"]["instance"] in running.address("Exporter")


def test_a_kill_leaves_nothing_running() -> None:
    with demo() as running:
        running.wait_for(UP)
        started = running.descendants()
        assert len(started) > 5
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not any(map(alive, started)), 10)


def test_a_signal_while_it_starts_ends_all() -> None:
    with demo() as running:
        running.wait_for("filling the database")
        started = running.descendants()
        assert running.end(signal.SIGTERM) == 0
        assert not any(map(alive, started))
        assert list(running.folder.iterdir()) == []
        assert "Traceback" not in running.text


def test_a_postgresql_that_ends_is_told() -> None:
    with demo() as running:
        check_that_the_end_is_told(running, "postgres", "PostgreSQL")


def test_a_prometheus_that_ends_is_told(newest_database: Database) -> None:
    """Beside a server of the user's: without one of our own to fill, it starts sooner."""
    with demo("--dsn", newest_database.dsn("postgres")) as running:
        check_that_the_end_is_told(running, "prometheus", "Prometheus")


def check_that_the_end_is_told(running: Demo, command: str, part: str) -> None:
    """End one of its programs, and see that it ends all others and says why."""
    running.wait_for(UP)
    started = running.descendants()
    (victim, *_) = (pid for pid in children(running.process.pid) if name_of(pid) == command)
    os.kill(victim, signal.SIGKILL)
    assert running.process.wait(20) == 1
    running.wait_for(f"plimsoll: {part} has ended; the end of its log:\n")
    eventually(lambda: not any(map(alive, started)), 10)
    assert list(running.folder.iterdir()) == []


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_what_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with demo(path=str(tmp_path)) as running:
        assert running.process.wait(10) == 1
        running.wait_for("in a checkout, `make run` fetches it")
        assert running.text == (
            "plimsoll: the demo needs what was not found:\n"
            "  prometheus: on Debian in the package prometheus\n"
            "  promtool: on Debian in the package prometheus\n"
            "  alertmanager: on Debian in the package prometheus-alertmanager\n"
            "Put it on PATH and start again; in a checkout, `make run` fetches it.\n"
        )


def footprint(server: PostgresServer) -> tuple[object, ...]:
    """Give what writing would change: the next transaction id, and what exists."""
    query = (
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, (SELECT count(*) FROM pg_class), "
        "(SELECT count(*) FROM pg_database), (SELECT count(*) FROM pg_roles)"
    )
    with psycopg.connect(server.dsn()) as session:
        return session.execute(query).fetchone() or ()


def test_a_server_of_the_users_is_only_read(own_postgres: OwnPostgres) -> None:
    server = own_postgres(autovacuum="off")
    before = footprint(server)
    with demo("--dsn", server.dsn("postgres", "plimsoll", PASSWORD)) as running:
        running.wait_for(UP)
        assert "  ok  main: PostgreSQL " in running.text
        assert "Growth needs a day of history" in running.text
        assert "invent" not in running.text
        assert PASSWORD not in running.text
        page = fetch(running.address("Exporter"))
        assert 'pg_up{server="main"} 1' in page
        assert 'pg_database_size_bytes{server="main",datname="postgres"}' in page
        assert running.end(signal.SIGINT) == 0
        assert list(running.folder.iterdir()) == []
    assert footprint(server) == before


@pytest.mark.parametrize(
    ("dsn", "complaint"),
    [
        ("postgresql://u:hunter2@127.0.0.1:{port}/db", "plimsoll: the server cannot be read; see above\n"),
        ("host=127.0.0.1 password=hunter2 colour=red", "plimsoll: --dsn is no connection string: "),
    ],
)
def test_a_server_that_cannot_be_read_ends_it(dsn: str, complaint: str) -> None:
    with demo("--dsn", dsn.format(port=free_port())) as running:
        assert running.process.wait(30) == 1
        running.wait_for(complaint)
        assert "hunter2" not in running.text
        assert "Traceback" not in running.text
