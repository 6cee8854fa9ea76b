"""`plimsoll demo` as its user meets it: what it prints, what arrives, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from demonstration import UP, Demo, demo
from fix_postgres import PASSWORD, Database, OwnPostgres
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import alive, children, free_port
from plimsoll.demo.service import fetch
from plimsoll.demo.stack import (
    ALERTMANAGER_PORT,
    EXPORTER_PORT,
    GRAFANA_PORT,
    PROMETHEUS_PORT,
    RELAY_PORT,
    WEBHOOK_PORT,
)
from stand_in_grafana import install
from support import PATH, require_program
from waiting import eventually

pytestmark = pytest.mark.long

STANDARD_PORTS = {
    *(EXPORTER_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, RELAY_PORT, GRAFANA_PORT, WEBHOOK_PORT)
}
NAMES = ("Exporter", "Prometheus", "Alertmanager", "Relay", "Grafana", "Webhook")


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


def test_an_alert_arrives_and_ctrl_c_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grafana = install(tmp_path / "grafana" / "bin" / "grafana", tmp_path / "grafana")
    with ExitStack() as stack:
        take(STANDARD_PORTS, stack)
        with monkeypatch.context() as environment:
            environment.setenv("PGSSLMODE", "require")
            environment.setenv("PGSERVICE", "of the user")
            running = stack.enter_context(demo(path=f"{grafana.parent}:{PATH}"))
        running.wait_for("FIRING  TableGrowthHigh  (warning)", 120)
        running.wait_for("FIRING  DatabaseGrowthHigh  (warning)")
        check_addresses(running)
        check_that_the_past_is_there(running)
        check_where_links_lead(running)
        check_that_the_relay_is_between(running)
        started = running.descendants()
        assert len(started) > 5
        assert running.end(signal.SIGINT) == 0
        assert not any(map(alive, started))
        assert list(running.folder.iterdir()) == []
        assert "ending everything" in running.text
        assert "Traceback" not in running.text


def check_addresses(running: Demo) -> None:
    """See that each address is the real one, where the standard port was taken."""
    for name in NAMES:
        assert int(re.findall(r":(\d+)", running.address(name))[0]) not in STANDARD_PORTS
    assert 'pg_up{server="main"} 1' in fetch(running.address("Exporter"))
    for page in re.findall(r"http://127.0.0.1:\d+/\S*(?:graph|alerts)\S*", running.text):
        assert "<html" in fetch(page)
    for name in ("Prometheus", "Alertmanager"):
        fetch(f"{running.address(name)}/-/ready")
    assert f"--alertmanager.url={running.address('Alertmanager')} silence add" in running.text


def check_where_links_lead(running: Demo) -> None:
    running.wait_for("\nGrafana       http")
    (links,) = query(running, "plimsoll:links_info")
    assert links["metric"]["alertmanager"] == running.address("Alertmanager")
    rules = fetch(f"{running.address('Prometheus')}/api/v1/rules")
    assert f'"dashboard_url":"{running.address("Grafana")}/d/plimsoll-storage?' in rules


def check_that_the_past_is_there(running: Demo) -> None:
    (series,) = query(running, 'pg_database_size_bytes{datname="shop"} offset 47h')
    assert series["metric"]["job"] == "plimsoll"
    assert series["metric"]["instance"] in running.address("Exporter")


def query(running: Demo, expression: str) -> list[dict[str, Any]]:
    url = f"{running.address('Prometheus')}/api/v1/query?{urlencode({'query': expression})}"
    series: list[dict[str, Any]] = json.loads(fetch(url))["data"]["result"]
    return series


def check_that_the_relay_is_between(running: Demo) -> None:
    """See that it tells, is scraped, keeps the history that Grafana reads, and acknowledges by the guide."""
    eventually(lambda: query(running, 'up{job="plimsoll-relay"} == 1'), 60)
    with psycopg.connect(**history_of_grafana(running), autocommit=True) as session:
        told = "SELECT status FROM plimsoll.alert WHERE alertname = 'TableGrowthHigh'"
        eventually(lambda: session.execute(told).fetchall() == [("open",)])
        delivered = "SELECT FROM plimsoll.delivery WHERE receiver = 'default' AND result = 'delivered'"
        eventually(lambda: session.execute(delivered).fetchone() is not None)
        acknowledge(running)
        eventually(lambda: session.execute(told).fetchall() == [("acknowledged",)])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM plimsoll.alert")
    assert query(running, 'ALERTS{alertstate="firing", category="meta"}') == []


def history_of_grafana(running: Demo) -> dict[str, Any]:
    """Give the login in Grafana's data source."""
    sources = json.loads(fetch(running.address("Grafana")))["datasources"]
    urls = {source["uid"]: source["url"] for source in sources}
    assert urls["plimsoll-prometheus"] == running.address("Prometheus")
    assert urls["plimsoll-alertmanager"] == running.address("Alertmanager")
    (history,) = (source for source in sources if source["uid"] == "plimsoll-history")
    host, _, port = history["url"].partition(":")
    login = {"user": history["user"], "password": history["secureJsonData"]["password"]}
    return {"host": host, "port": port, "dbname": history["jsonData"]["database"], **login}


def acknowledge(running: Demo) -> None:
    """Run the command of the guide, from where it was written for."""
    command = re.search(r"^  (\S.* ack TableGrowthHigh .*)$", running.text, re.MULTILINE)
    assert command, running.text
    done = subprocess.run(shlex.split(command[1]), cwd=running.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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
        assert "plimsoll_history_up" not in fetch(running.address("Relay"))
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
