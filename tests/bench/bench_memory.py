"""Whether memory stays flat: thousands of scrapes, while tables grow, and while they come and go without end.

    make bench BENCHES=memory MEMORY_SCRAPES=10000

A Plimsoll of its own for each of both watches the same tables, half of which have series of their own, and
measures at every scrape. Before each scrape a hundredth of the tables grow, or as many tables are made as are
dropped, which were not there for long. What is resident is read on the way.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.database import BenchServer, bench_server
from bench.many_tables import ManyTables
from bench.processes import Memory, memory
from bench.reporting import Row, Table, report
from bench.scraping import Scraper
from bench.watchers import config
from plimsoll.demo.processes import workspace
from serving import serving

TABLES = int(os.environ.get("MEMORY_TABLES", "1000"))
SCRAPES = int(os.environ.get("MEMORY_SCRAPES", "1000"))
"""Of each Plimsoll."""

FLEETING = int(os.environ.get("FLEETING_TABLES", "20"))
"""Tables that are made before a scrape, and dropped before the next but one."""

QUARTERS = 4

_MAKE = """\
DO $$ BEGIN FOR i IN 1..{count} LOOP
  EXECUTE format('CREATE TABLE %I (id bigint PRIMARY KEY, payload text)', 'fleeting_{turn}_' || i);
  EXECUTE format('INSERT INTO %I SELECT n FROM generate_series(1, %s) n', 'fleeting_{turn}_' || i, i * 20);
END LOOP; END $$"""
_DROP = """\
DO $$ BEGIN FOR i IN 1..{count} LOOP
  EXECUTE format('DROP TABLE IF EXISTS %I', 'fleeting_{turn}_' || i);
END LOOP; END $$"""


def main() -> int:
    """Measure, print a table and write it down."""
    # Autovacuum, or catalogues would grow with all that was ever in them, and scrapes take ever longer.
    settings = {"autovacuum": "on", "autovacuum_naptime": "5s"}
    with workspace() as folder, bench_server(folder / "postgres", **settings) as server:
        tables = ManyTables(server)
        tables.grow_to(TABLES)
        growing = measure(server, folder, lambda _: tables.change())
        fleeting = measure(server, folder, lambda turn: exchange(server, turn))
        versions = server.versions
    report("memory", "Memory over thousands of scrapes", [table(growing, fleeting)], versions)
    return 0


def measure(server: BenchServer, folder: Path, change: Callable[[int], object]) -> list[Memory]:
    """Scrape often, each time after a change; give what was resident after the first, and in between."""
    settings = config(server, tables={"interval": "0s", "limit": TABLES // 2})
    began = time.monotonic()
    with (
        serving(settings, folder) as exporter,
        closing(Scraper(exporter.url)) as scraper,
    ):
        found = []
        for number in range(SCRAPES + 1):
            change(number)
            asked = time.time()
            page = scraper.scrape()
            assert min(page.collected("tables")) >= asked, f"scrape {number} has measured nothing"
            if number % (SCRAPES // QUARTERS) == 0:
                found.append(memory(exporter.process.pid))
                print(f"{number} scrapes after {time.monotonic() - began:.0f} s: {found[-1]}", flush=True)
    return found


def exchange(server: BenchServer, turn: int) -> None:
    """Make some tables, and drop those that were made in the turn before the last."""
    with server.connect() as session:
        session.execute(_MAKE.format(count=FLEETING, turn=turn))
        session.execute(_DROP.format(count=FLEETING, turn=turn - 2))


def table(growing: list[Memory], fleeting: list[Memory]) -> Table:
    """Write what was resident, and at most."""
    scrapes = [number * (SCRAPES // QUARTERS) for number in range(1, QUARTERS + 1)]
    rows = [Row("after the first scrape", (growing[0].now, fleeting[0].now), "MiB")]
    rows += [
        Row(f"after {number:,} more", (one.now, other.now), "MiB")
        for number, one, other in zip(scrapes, growing[1:], fleeting[1:], strict=True)
    ]
    rows.append(Row("peak", (growing[-1].peak, fleeting[-1].peak), "MiB"))
    caption = (
        f"{TABLES:,} tables with an index and TOAST each, {TABLES // 2:,} of them with series of their own;"
        f" before each scrape 1 % grew, or {FLEETING} others were made and as many dropped,"
        f" {FLEETING * SCRAPES:,} in all; resident memory:"
    )
    return Table(caption, ("1 % grow", "tables come and go"), rows)


if __name__ == "__main__":
    sys.exit(main())
