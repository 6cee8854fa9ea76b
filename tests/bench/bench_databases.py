"""What watching a thousand databases takes: a full pass, connections, memory, and latency meanwhile.

    make bench BENCHES=databases DATABASES=200

Plimsoll is started with its default settings, and scraped as by a Prometheus that waits ten seconds. The
first pass is complete when the tables of each database have been measured; then it is watched for a while, to
see how old the oldest size becomes. Meanwhile a session counts its connections.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from bench import probing
from bench.database import BenchServer, bench_server
from bench.many_tables import ManyTables
from bench.processes import cpu_seconds, memory
from bench.reporting import Row, Table, percentile, report
from bench.scraping import Page
from bench.watchers import Watcher, config, plimsoll
from plimsoll.demo.processes import workspace

DATABASES = int(os.environ.get("DATABASES", "1000"))
TABLES = int(os.environ.get("TABLES_EACH", "10"))
"""In each of them."""

EVERY = float(os.environ.get("EVERY", "5"))
"""Seconds from one scrape to the next."""

PATIENCE = 3600.0
"""Seconds that the first pass may take."""

WATCHED = float(os.environ.get("WATCHED", "300"))
"""Seconds that it is watched afterwards."""

_OLDEST = re.compile(r"^pg_sizes_oldest_timestamp_seconds\{[^\n]*\} (\S+)$", re.MULTILINE)


class Progress(NamedTuple):
    """What is known after a scrape."""

    at: float
    """Seconds since the epoch."""
    page: Page
    measured: list[float]
    """When the tables of each database were last measured."""
    oldest: float
    """When the oldest size of all was measured."""


class Connections:
    """Counts those of the role plimsoll."""

    def __init__(self) -> None:
        self.most = 0
        self.stopped = threading.Event()

    def count(self, session: psycopg.Connection) -> None:
        """Count, a hundred times a second, until stopped."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plimsoll'"
        while not self.stopped.wait(0.01):
            for (number,) in session.execute(query):
                self.most = max(self.most, number)


def main() -> int:
    """Measure, print a table and write it down."""
    with workspace() as folder, bench_server(folder / "postgres", shared_buffers="256MB") as server:
        began = time.monotonic()
        create(server)
        print(f"{DATABASES} databases after {time.monotonic() - began:.0f} s", flush=True)
        rows = measure(server, folder)
        versions = server.versions
    caption = f"{DATABASES:,} databases with {TABLES} tables each, a scrape every {EVERY:g} s:"
    report("databases", "Many databases", [Table(caption, ("Plimsoll",), rows)], versions)
    return 0


def create(server: BenchServer) -> None:
    """Make the databases, as copies of one with some tables; by the log is the faster strategy."""
    ManyTables(server).grow_to(TABLES)

    def copy(number: int) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE bench STRATEGY wal_log")
        with psycopg.connect(server.server.dsn(), autocommit=True) as session:
            session.execute(statement.format(sql.Identifier(f"bench{number}")))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(copy, range(1, DATABASES)))
    server.session.execute("CHECKPOINT")


def measure(server: BenchServer, folder: Path) -> list[Row]:
    """Scrape until all databases have been measured, and then for a while."""
    with (
        plimsoll(server, config(server), folder, timeout="10s") as watcher,
        counting(server) as connections,
        probing.probing(watcher.url) as probe,
    ):
        began = time.time()
        first = first_pass(watcher, began)
        print(f"the first pass took {max(first[-1].measured) - began:.0f} s", flush=True)
        used, since = cpu_seconds([watcher.pid]), time.time()
        later = follow(watcher, time.monotonic() + WATCHED)
        used = (cpu_seconds([watcher.pid]) - used) / (time.time() - since)
        kept = memory(watcher.pid)
    oldest = max(progress.at - progress.oldest for progress in later)
    walls = [progress.page.window.seconds * 1e3 for progress in first + later]
    rows = [
        Row("first full pass", [max(first[-1].measured) - began], "s"),
        Row("oldest size in the following minutes, at most", [oldest], "s"),
        Row("connections in use at once, at most", [connections.most]),
        Row("latency, median", [percentile(walls, 50)], "ms"),
        Row("latency, p99", [percentile(walls, 99)], "ms"),
        Row("latency, longest", [max(walls)], "ms"),
        Row("CPU of Plimsoll after the first pass", [used * 100], "% of a core"),
        Row("resident memory", [kept.now], "MiB"),
        Row("resident memory, peak", [kept.peak], "MiB"),
        Row("samples", [later[-1].page.samples]),
    ]
    return rows + probing.rows(probe.asked)


@contextlib.contextmanager
def counting(server: BenchServer) -> Iterator[Connections]:
    """Count connections meanwhile."""
    connections = Connections()
    with server.connect() as session:
        thread = threading.Thread(target=connections.count, args=(session,))
        thread.start()
        try:
            yield connections
        finally:
            connections.stopped.set()
            thread.join()


def first_pass(watcher: Watcher, began: float) -> list[Progress]:
    """Scrape until the tables of each database have been measured."""
    found = follow(watcher, time.monotonic())
    while len(found[-1].measured) < DATABASES or min(found[-1].measured) < began:
        assert time.time() < began + PATIENCE, f"{len(found[-1].measured)} of {DATABASES} measured"
        found += follow(watcher, time.monotonic())
    return found


def follow(watcher: Watcher, until: float) -> list[Progress]:
    """Scrape at least once, and every few seconds until then."""
    found: list[Progress] = []
    while not found or time.monotonic() < until:
        page = watcher.scrape()
        measured = page.collected("tables")
        oldest = min(map(float, _OLDEST.findall(page.text)), default=0.0)
        found.append(Progress(time.time(), page, measured, oldest))
        time.sleep(max(0.0, page.window.began + EVERY - time.monotonic()))
    return found


if __name__ == "__main__":
    sys.exit(main())
