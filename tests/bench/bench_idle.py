"""What watching costs while little happens: resident memory, and processor time per hour of scrapes.

    make bench BENCHES=idle

A scrape that collects is counted where every scrape does (`interval: 0s`), and one that repeats what is known
where none needs to (the default of 60 s), as many as can be had in that time. What an exporter does between
scrapes is counted over a minute. An hour of scrapes every 15 s then is 240 that collect; or, with the default
interval, 60 that collect and 180 that repeat; and 60 idle minutes.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import peer
from bench.database import BenchServer, bench_server
from bench.many_tables import ManyTables
from bench.processes import Memory, cpu_seconds, memory
from bench.reporting import Row, Table, quotient, report
from bench.watchers import Costs, Watcher, config, plimsoll
from plimsoll.demo.processes import workspace

TABLES = [int(number) for number in os.environ.get("IDLE_TABLES", "100 10000").split()]
ROUNDS = int(os.environ.get("ROUNDS", "40"))
IDLE = 60.0
"""Seconds."""

SCRAPES = 240
"""An hour of them, every 15 s."""

COLLECTING = 60
"""How many of these collect with the default interval of a minute."""


class Result(NamedTuple):
    """Of one exporter and one number of tables."""

    started: Memory
    """Before the first scrape."""
    scraped: Memory
    """After the last, and a minute without any."""
    cpu: float
    """Milliseconds of processor time for a scrape."""
    server_cpu: float
    """Of which PostgreSQL needed so many more."""
    idle: float
    """Milliseconds of processor time for a minute."""

    @property
    def hour(self) -> float:
        """Seconds of processor time for an hour in which each scrape is like those measured."""
        return (SCRAPES * self.cpu + 60 * self.idle) / 1e3


def main() -> int:
    """Measure, print tables and write them down."""
    with workspace() as folder, bench_server(folder / "postgres") as server:
        server.create_watcher(peer.ROLE)
        tables = ManyTables(server)
        written = []
        for number in sorted(TABLES):
            print(f"making {number} tables", flush=True)
            tables.grow_to(number)
            written.append(table(number, *measure(server, tables, folder)))
        versions = server.versions | peer.versions()
    report("idle", "Memory and processor time over an hour", written, versions)
    return 0


def measure(server: BenchServer, tables: ManyTables, folder: Path) -> list[Result]:
    """Scrape a Plimsoll that always collects, one that need not, and the peer."""
    at_once = {"databases": {"interval": "0s"}, "tables": {"interval": "0s", "limit": 0}}
    with ExitStack() as stack:
        watchers = [
            stack.enter_context(plimsoll(server, config(server, **at_once), folder)),
            stack.enter_context(plimsoll(server, config(server, tables={"limit": 0}), folder)),
            stack.enter_context(peer.postgres_exporter(server, folder, database_sizes=True)),
        ]
        started = [memory(watcher.pid) for watcher in watchers]
        collecting, repeating, other = watchers
        scrape_often(tables, collecting, "tables", "databases")
        scrape_often(tables, other)
        repeating.scrape()
        repeating.costs = Costs()
        for _ in range(ROUNDS):
            repeating.scrape()
        before = [cpu_seconds([watcher.pid]) for watcher in watchers]
        time.sleep(IDLE)
        idle = [
            (cpu_seconds([watcher.pid]) - earlier) / IDLE * 60e3
            for watcher, earlier in zip(watchers, before, strict=True)
        ]
        return [
            Result(first, memory(watcher.pid), watcher.costs.cpu(), watcher.costs.server_cpu(), spent)
            for watcher, first, spent in zip(watchers, started, idle, strict=True)
        ]


def scrape_often(tables: ManyTables, watcher: Watcher, *collectors: str) -> None:
    """Scrape many times, each after a change; what the first costs is not counted."""
    watcher.scrape()
    watcher.scrape_afresh(*collectors)
    watcher.costs = Costs()
    for _ in range(ROUNDS):
        tables.change()
        watcher.scrape_afresh(*collectors)


def table(number: int, collecting: Result, repeating: Result, other: Result) -> Table:
    """Write what an hour costs."""
    usual = (COLLECTING * collecting.cpu + (SCRAPES - COLLECTING) * repeating.cpu + 60 * repeating.idle) / 1e3
    figures: list[tuple[str, float, float | None]] = [
        ("resident memory before the first scrape, MiB", collecting.started.now, other.started.now),
        ("resident memory when idle again, MiB", collecting.scraped.now, other.scraped.now),
        ("resident memory, peak, MiB", collecting.scraped.peak, other.scraped.peak),
        ("CPU of a scrape that collects, ms", collecting.cpu, other.cpu),
        ("CPU of a scrape that repeats, ms", repeating.cpu, None),
        ("CPU of PostgreSQL for a scrape that collects, ms", collecting.server_cpu, other.server_cpu),
        ("CPU of an idle minute, ms", collecting.idle, other.idle),
        ("CPU of an hour, every scrape collects, s", collecting.hour, other.hour),
        ("CPU of an hour, intervals of 60 s, s", usual, other.hour),
    ]
    rows = [Row(name, (ours, theirs), ratio=quotient(theirs, ours)) for name, ours, theirs in figures]
    caption = (
        f"{number:,} tables, 1 % of which grew before each of {ROUNDS} scrapes; an hour is one of scrapes"
        " every 15 s, computed from the means of these and from a minute without any:"
    )
    return Table(caption, ("Plimsoll", "postgres_exporter"), rows, "postgres_exporter : Plimsoll")


if __name__ == "__main__":
    sys.exit(main())
