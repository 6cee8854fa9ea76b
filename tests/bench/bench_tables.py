"""What a scrape of thousands of tables costs, a hundredth of which changed: beside postgres_exporter.

    make bench BENCHES=tables TABLES="1000 10000"

Plimsoll and postgres_exporter, with a query that gives the same samples, watch one database and are scraped
in turns after each change, so that both meet the same machine. They have to publish equal sizes every time.
Beside both stands the physical limit: a session that reads the catalogue once and does nothing with it. Time
in the database is what pg_stat_statements counts for the role of each, planning and execution.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import peer, probing
from bench.database import BenchServer, bench_server
from bench.many_tables import ManyTables
from bench.processes import Memory, memory
from bench.reporting import Row, Table, quotient, report
from bench.scraping import Page, Window
from bench.watchers import ROLE, Costs, Watcher, catalogue_reader, config, plimsoll
from plimsoll.demo.processes import workspace

TABLES = [int(number) for number in os.environ.get("TABLES", "1000 10000 30000 100000").split()]
ROUNDS = int(os.environ.get("ROUNDS", "0"))
"""How many scrapes of each; without it as many as are worth the time."""

DATABASE_SIZES = [word == "with" for word in os.environ.get("DATABASE_SIZES", "without with").split()]
"""Whether both ask for the size of the database at every scrape, too: one way, or one after the other."""

FEW = 10_000
"""Tables up to which both ways are measured; with more the first only, which takes long enough."""

WARM_UP = 3
READER = "catalogue_reader"


class Result(NamedTuple):
    """Of one number of tables."""

    tables: int
    database_sizes: bool
    first: float
    """Seconds that Plimsoll's first scrape took, which knows nothing yet."""
    costs: tuple[Costs, Costs, Costs]
    pages: tuple[Page, Page]
    memory: tuple[Memory, Memory]
    sessions: tuple[float, float]
    """MiB of the sessions that each holds open between scrapes."""
    asked: list[probing.Asked]


def main() -> int:
    """Measure, print tables and write them down."""
    with workspace() as folder, bench_server(folder / "postgres") as server:
        for role in (peer.ROLE, READER):
            server.create_watcher(role)
        tables = ManyTables(server)
        results = []
        for number in sorted(TABLES):
            began = time.monotonic()
            tables.grow_to(number)
            print(f"{number} tables after {time.monotonic() - began:.0f} s", flush=True)
            for database_sizes in DATABASE_SIZES[: 1 if number > FEW else None]:
                results.append(measure(server, tables, folder, database_sizes=database_sizes))
                print(table(results[-1]).text(), flush=True)
        versions = server.versions | peer.versions()
    written = [growth(results), *(table(result) for result in results)]
    report("tables", "Many tables", written, versions)
    return 0


# --- measuring ----------------------------------------------------------------------------------------------


def measure(server: BenchServer, tables: ManyTables, folder: Path, *, database_sizes: bool) -> Result:
    """Scrape all in turns."""
    with ExitStack() as stack:
        interval = "0s" if database_sizes else "6h"
        settings = config(
            server,
            databases={"interval": interval},
            tables={"interval": "0s", "limit": 0},
            statement_timeout="2m",
        )
        ours = stack.enter_context(plimsoll(server, settings, folder))
        theirs = stack.enter_context(peer.postgres_exporter(server, folder, database_sizes=database_sizes))
        reader = stack.enter_context(catalogue_reader(server, READER))
        watchers = (ours, theirs, reader)
        collectors = ("tables", "databases") if database_sizes else ("tables",)
        first = ours.scrape().window.seconds
        for _ in range(WARM_UP):
            a_round(tables, watchers, collectors)
        for watcher in watchers:
            watcher.costs = Costs()
        for number in range(ROUNDS or rounds(tables.number)):
            pages = a_round(tables, watchers, collectors, turn=number)
        costs = (ours.costs, theirs.costs, reader.costs)
        memories = (memory(ours.pid), memory(theirs.pid))
        sessions = (server.session_memory(ROLE), server.session_memory(peer.ROLE))
        ours.costs = Costs()
        asked = blocking(tables, ours)
        return Result(tables.number, database_sizes, first, costs, pages, memories, sessions, asked)


def rounds(tables: int) -> int:
    """Say how often to scrape: fifty times, or for some minutes."""
    return max(5, min(50, 300_000 // tables))


def a_round(
    tables: ManyTables, watchers: tuple[Watcher, ...], collectors: Sequence[str], turn: int = 0
) -> tuple[Page, Page]:
    """Change a hundredth of the tables and scrape all, each first in its turn; compare the pages."""
    changed = tables.change()
    pages: dict[Watcher, Page] = {}
    for number in range(len(watchers)):
        watcher = watchers[(turn + number) % len(watchers)]
        pages[watcher] = watcher.scrape_afresh(*collectors) if watcher is watchers[0] else watcher.scrape()
    ours, theirs = (pages[watcher] for watcher in watchers[:2])
    compare(ours, theirs, changed, tables.number)
    return ours, theirs


def compare(ours: Page, theirs: Page, changed: set[str], tables: int) -> None:
    """Hold every size of every table against the peer's."""
    mine, other = ours.of_tables(), theirs.of_tables()
    assert len(mine) == len(other) == 6 * tables, (len(mine), len(other), ours.text[-3000:])
    wrong = {key for key, value in mine.items() if key[0].endswith("bytes") and other[key] != value}
    assert not wrong, f"{len(wrong)} sizes differ, {len({table for _, table in wrong} - changed)} unchanged"


def blocking(tables: ManyTables, ours: Watcher) -> list[probing.Asked]:
    """Scrape Plimsoll while somebody asks for its health, which is not while its costs are measured."""
    windows: list[Window] = []
    with probing.probing(ours.url) as probe:
        for _ in range(10):
            tables.change()
            windows.append(ours.scrape_afresh("tables").window)
    return probe.during(windows)


# --- results ------------------------------------------------------------------------------------------------

COLUMNS = ("Plimsoll", "postgres_exporter", "catalogue read")


def table(result: Result) -> Table:
    """Write what one number of tables costs."""
    ours, theirs, _ = result.costs
    rows = [
        _compared("latency, median", "ms", *(costs.walls(50) for costs in result.costs)),
        _compared("latency, p99", "ms", *(costs.walls(99) for costs in result.costs)),
        _compared("time in the database, median", "ms", *(costs.database() for costs in result.costs)),
        _compared("CPU of PostgreSQL, mean", "ms", *(costs.server_cpu() for costs in result.costs)),
        _compared("CPU of the exporter, mean", "ms", ours.cpu(), theirs.cpu()),
        _compared("samples", "", *(page.samples for page in result.pages)),
        _compared("page", "kB", *(len(page.text) / 1e3 for page in result.pages)),
        _compared("page as sent", "kB", *(len(page.sent) / 1e3 for page in result.pages)),
        _compared("resident memory", "MiB", *(one.now for one in result.memory)),
        _compared("resident memory, peak", "MiB", *(one.peak for one in result.memory)),
        Row("memory of sessions left open", (*result.sessions, None), "MiB"),
        Row("first scrape", (result.first * 1e3, None, None), "ms"),
    ]
    rows += [Row(row.name, (*row.figures, None, None), row.unit) for row in probing.rows(result.asked)]
    caption = (
        f"{result.tables:,} tables with an index and TOAST each, 1 % of which grew before each of"
        f" {len(ours.all)} scrapes; {_sizes(result)}:"
    )
    return Table(caption, COLUMNS, rows, "postgres_exporter : Plimsoll")


def growth(results: list[Result]) -> Table:
    """Write how Plimsoll's costs grow with the number of tables, for each thousand of them."""
    rows = [
        Row(
            f"{result.tables:,} tables, {_sizes(result)}",
            (
                result.costs[0].walls(50) / result.tables * 1e3,
                result.costs[0].database() / result.tables * 1e3,
                result.costs[0].cpu() / result.tables * 1e3,
                result.memory[0].peak,
                quotient(result.costs[1].walls(50), result.costs[0].walls(50)),
                quotient(result.costs[1].database(), result.costs[0].database()),
            ),
        )
        for result in results
    ]
    columns = (
        "latency, ms per 1,000",
        "database, ms per 1,000",
        "CPU, ms per 1,000",
        "peak memory, MiB",
        "peer's latency : ours",
        "peer's database : ours",
    )
    return Table(
        "Costs for each thousand of tables, level where they grow straight, and ratios to the peer's:",
        columns,
        rows,
    )


def _sizes(result: Result) -> str:
    return f"{'with' if result.database_sizes else 'without'} the size of the database"


def _compared(name: str, unit: str, ours: float, theirs: float, limit: float | None = None) -> Row:
    return Row(name, (ours, theirs, limit), unit, quotient(theirs, ours))


if __name__ == "__main__":
    sys.exit(main())
