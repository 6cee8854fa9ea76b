"""What is watched in the world that dashboards are tested on: databases, containers and hosts."""

from __future__ import annotations

from contextlib import ExitStack
from importlib import resources
from pathlib import Path

import psycopg

from engines import Engine
from hosts import ClosedService, Exporter, blackbox_exporter, node_exporter, write_text_file
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.service import fetch
from waiting import eventually
from world_past import DISK, DISK_FREE, GB

_AGENTS = (resources.files("plimsoll.serve") / "collector_files" / "agents.sql").read_text("utf-8")

TABLES = {
    ("public", "orders"),
    ("public", "customers"),
    ("public", "sessions"),
    ("public", "notes"),
    ("public", "events_2026_09"),
    ("public", "events_2026_10"),
    ("public", "events_2026_11"),
    ("archive", "orders"),
}
"""Of the database shop, those that are measured."""
LIVE_SESSIONS, DEAD_SESSIONS = 6000, 4000

_SHOP = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, customer int, items text);
INSERT INTO orders SELECT i, i % 1000, repeat(md5(i::text), 3) FROM generate_series(1, 40000) i;
CREATE INDEX ON orders (customer);
CREATE TABLE customers (id int PRIMARY KEY, name text);
INSERT INTO customers SELECT i, 'Customer ' || i FROM generate_series(1, 5000) i;
CREATE TABLE sessions (token text PRIMARY KEY);
INSERT INTO sessions SELECT md5(i::text) FROM generate_series(1, {LIVE_SESSIONS + DEAD_SESSIONS}) i;
CREATE TABLE notes (id int PRIMARY KEY, words text);
ALTER TABLE notes ALTER words SET STORAGE EXTERNAL;
INSERT INTO notes SELECT i, repeat(md5(i::text), 125) FROM generate_series(1, 500) i;
CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2026_09 PARTITION OF events FOR VALUES FROM ('2026-09-01') TO ('2026-10-01');
CREATE TABLE events_2026_10 PARTITION OF events FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
CREATE TABLE events_2026_11 PARTITION OF events FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
INSERT INTO events SELECT date '2026-09-01' + i % 90, md5(i::text) FROM generate_series(1, 9000) i;
CREATE SCHEMA archive;
CREATE TABLE archive.orders AS SELECT * FROM orders WHERE id <= 10000;
CREATE TABLE archive.under_lock ();
"""
_SHOP_AFTERWARDS = f"DELETE FROM sessions WHERE token IN (SELECT token FROM sessions LIMIT {DEAD_SESSIONS})"

AGENTS = {"fine", "silent", "cut off", "full"}
_BILLING = """
CREATE TABLE invoices (id int PRIMARY KEY, what text);
INSERT INTO invoices SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 20000) i;
"""
_AGENTS_IN_TROUBLE = """
INSERT INTO plimsoll_agents.agents
    (agent, heartbeat_at, gateway_connected, context_tokens, context_window_tokens)
VALUES ('fine', now() + interval '1 hour', true, 20000, 200000),
       ('silent', now() - interval '10 minutes', NULL, NULL, NULL),
       ('cut off', now() + interval '1 hour', false, NULL, NULL),
       ('full', now() + interval '1 hour', true, 190000, 200000);
INSERT INTO plimsoll_agents.runs (agent, failed, cost_dollars)
SELECT 'fine', number = 1, 0.25 FROM generate_series(1, 10) number;
INSERT INTO plimsoll_agents.runs (agent, failed, cost_dollars)
VALUES ('full', false, 6), ('cut off', false, NULL), ('cut off', true, NULL), ('cut off', true, NULL);
INSERT INTO plimsoll_agents.tasks (agent, task, started_at, finished_at)
VALUES ('fine', 'new', now() - interval '1 minute', NULL),
       ('fine', 'done', now() - interval '2 hours', now()),
       ('full', 'long', now() - interval '31 minutes', NULL);
"""


def fill(server: PostgresServer) -> None:
    """Make the databases shop and billing, with agents in the latter."""
    _run(server, "postgres", "CREATE DATABASE shop", "CREATE DATABASE billing")
    # What has been counted of a session is told when it ends, so vacuum has one of its own.
    _run(server, "shop", _SHOP)
    _run(server, "shop", "VACUUM ANALYZE")
    _run(server, "shop", _SHOP_AFTERWARDS)
    _run(server, "billing", _BILLING, _AGENTS, _AGENTS_IN_TROUBLE)
    _run(server, "billing", "VACUUM ANALYZE")


def lock_a_table(server: PostgresServer, stack: ExitStack) -> None:
    """Hold a lock that keeps the exporter from measuring a table, until the end."""
    session = stack.enter_context(psycopg.connect(server.dsn("shop")))
    session.execute("LOCK TABLE archive.under_lock")


def _run(server: PostgresServer, database: str, *scripts: str) -> None:
    with psycopg.connect(server.dsn(database), autocommit=True) as session:
        for script in scripts:
            session.execute(script.encode())


# --- containers ---------------------------------------------------------------------------------------------

MIB = 2**20
WEB, DB, LOOPING, CRASHED, ILL, HUNGRY, STOPPED = (
    *("shop-web-1", "shop-db-1", "shop-worker-1"),
    *("crashed", "ill", "hungry", "stopped"),
)
NETWORK = "shop_default"
WEB_MEMORY_LIMIT, WEB_CORES = 64 * MIB, 0.5
WEB_MEMORY = 32 * MIB
"""What it uses, and a little more."""


class Containers:
    """Containers of a Compose project, and others, each in a state of its own."""

    def __init__(self, docker: Engine) -> None:
        self._docker = docker

    def start(self) -> None:
        """Start them; what is to go wrong does so within seconds."""
        run = self._docker.run
        self._docker.cli("network", "create", NETWORK)
        shown = "--format={{(index .IPAM.Config 0).Gateway}}"
        self._gateway = self._docker.cli("network", "inspect", NETWORK, shown).strip()
        self._run_web()
        run(f"--network={NETWORK}", *_compose("db"), name=DB)
        run("--restart=always", *_compose("worker"), name=LOOPING, command=("sh", "-c", "sleep 0.1; exit 1"))
        run(name=CRASHED)
        run("--health-cmd=false", "--health-interval=1s", "--health-retries=1", name=ILL)
        wait = "until [ -e /full ]; do sleep 0.1; done"
        run("--memory=20m", name=HUNGRY, command=("sh", "-c", f"{wait}; (tail /dev/zero); sleep 9999"))
        run(name=STOPPED)

    def _run_web(self) -> None:
        limits = (f"--memory={WEB_MEMORY_LIMIT}", f"--cpus={WEB_CORES}")
        healthy = ("--health-cmd=true", "--health-interval=1s", "--shm-size=64m")
        work = f"head -c 8000000 /dev/urandom >/tmp/f; sync; ping -c 1 {self._gateway}; sleep 0.2"
        where = (f"--network={NETWORK}", *_compose("web"))
        fill = f"head -c {WEB_MEMORY} /dev/zero >/dev/shm/fill"
        command = ("sh", "-c", f"{fill}; while :; do {work}; done")
        self._docker.run(*limits, *healthy, *where, name=WEB, command=command)

    def get_into_trouble(self) -> None:
        """End two of them, one as a crash would, one by order; let one run out of memory; deploy one anew."""
        self._docker.cli("exec", HUNGRY, "touch", "/full")
        self._docker.cli("kill", CRASHED)
        self._docker.cli("stop", STOPPED)
        self._docker.cli("rm", "--force", WEB)
        self._run_web()


def _compose(service: str) -> tuple[str, str]:
    project = "--label=com.docker.compose.project=shop"
    return project, f"--label=com.docker.compose.service={service}"


# --- hosts --------------------------------------------------------------------------------------------------

THIS, FILLING, OFFLINE = "db1:9100", "db2:9100", "old:9100"
"""Hosts, as they are called here: this machine, one whose disk fills, and one that answers no more."""
FAILED_UNIT = "backup.service"
_UNITS = {
    f'node_systemd_unit_state{{name="{FAILED_UNIT}",state="failed",type="oneshot"}}': 1,
    'node_systemd_unit_state{name="ssh.service",state="active",type="notify"}': 1,
    'node_systemd_unit_state{name="ssh.service",state="failed",type="notify"}': 0,
}
_COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat", "time", "uname")


class Hosts:
    """Three hosts, and a blackbox_exporter that finds one service and misses another."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        directory.mkdir()
        self._this = self._run(stack, directory / "this", *_COLLECTORS)
        self._filling = self._run(stack, directory / "filling")
        self._offline = self._run(stack, directory / "offline")
        self.blackbox = stack.enter_context(blackbox_exporter(directory))
        self.closed = stack.enter_context(ClosedService())
        write_text_file(directory / "this", _UNITS)
        sizes = {"size_bytes": 100 * GB, "free_bytes": DISK_FREE, "avail_bytes": DISK_FREE, "readonly": 0}
        inodes = {"files": 1000, "files_free": 400}
        samples = {f"node_filesystem_{name}{{{DISK}}}": n for name, n in (sizes | inodes).items()}
        write_text_file(directory / "filling", samples)

    def _run(self, stack: ExitStack, directory: Path, *collectors: str) -> Exporter:
        return stack.enter_context(node_exporter(directory, *collectors, "textfile"))

    @property
    def addresses(self) -> dict[str, str]:
        """Give where each is scraped, by what it is called here."""
        named = {THIS: self._this, FILLING: self._filling, OFFLINE: self._offline}
        return {name: exporter.address for name, exporter in named.items()}

    def get_into_trouble(self) -> None:
        """Let one of them answer no more."""
        self._offline.end()


def wait_for_page(url: str, *texts: str) -> str:
    """Wait until a page of metrics has texts, and give it."""
    page = ""

    def has_all() -> bool:
        nonlocal page
        page = fetch(f"{url}/metrics")
        return all(text in page for text in texts)

    eventually(has_all, 60)
    return page
