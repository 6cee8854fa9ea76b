"""What writing a page of thousands of tables costs, beside Prometheus' own client and beside joining strings.

    make bench

All begin with the same tables and write the same samples, which is verified. Our tables carry their rendered
labels; the client's families are made afresh, as its collectors do. The last column is what no writing can
undercut: lines that are ready are joined and encoded. Times are processor time, the median over the
rounds, in which all take turns. Memory is what Python allocates at most, counted apart. How long an event
loop waits at most is told by one that wakes up every millisecond while another thread writes and packs.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from operator import attrgetter

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bench.reporting import Row, Table, quotient, report
from plimsoll import __version__
from plimsoll.serve.metrics import Family, LabelTemplate, Page, compressed

TABLES = [int(number) for number in os.environ.get("TABLES", "10000 100000").split()]
ROUNDS = int(os.environ.get("ROUNDS", "15"))
"""For the least of the numbers of tables; the more there are, the fewer rounds, but three."""

TICK = 0.001
"""Seconds for which the event loop sleeps."""

COLUMNS = ("Plimsoll", "prometheus_client", "joining alone")
DATABASE = {"server": "main", "datname": "shop"}
OWN = ("schemaname", "relname")
RENDER = LabelTemplate({}, OWN)


@dataclass(frozen=True, slots=True)
class Measured:
    """A table, its rendered labels, and a value for each family."""

    name: str
    labels: str
    size_bytes: int
    table_size_bytes: int
    toast_size_bytes: int
    index_size_bytes: int
    n_live_tup: int
    n_dead_tup: int


FAMILIES = {
    name: Family(f"pg_stat_user_tables_{name}", "gauge", f"The {name} of a table.", (*DATABASE, *OWN))
    for name in [field.name for field in fields(Measured)][2:]
}


class Client(Collector):
    """Gives the tables to Prometheus' client."""

    def __init__(self, tables: Sequence[Measured]) -> None:
        self._tables = tables

    def collect(self) -> Iterator[Metric]:
        for name, family in FAMILIES.items():
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for table in self._tables:
                metric.add_metric([*DATABASE.values(), "public", table.name], getattr(table, name))
            yield metric


@dataclass(frozen=True)
class Way:
    """How a page is written: its text, the same compressed meanwhile, and a text compressed afterwards."""

    text: Callable[[], Iterable[bytes]]
    both: Callable[[], Iterable[bytes]]
    gzip: Callable[[Iterable[bytes]], Iterable[bytes]]


def main() -> int:
    """Measure, print tables and write them down."""
    versions = {name: version(name) for name in ("prometheus_client", "isal")}
    tables = [measured(number) for number in TABLES]
    report("encoding", "Writing a page", tables, {"Plimsoll": __version__, **versions})
    return 0


def measured(number: int) -> Table:
    """Write the page of some tables in all ways."""
    rounds = max(3, ROUNDS * min(TABLES) // number)
    tables = [made(each) for each in range(number)]
    ways = (own(tables), clients(tables))
    texts = [list(way.text()) for way in ways]
    assert samples(texts[0]) == samples(texts[1])
    lines = b"".join(texts[0]).decode().splitlines(keepends=True)
    packed = [list(way.both()) for way in ways]
    assert all(
        gzip.decompress(b"".join(page)) == b"".join(text) for page, text in zip(packed, texts, strict=True)
    )

    text = in_turns(rounds, *(way.text for way in ways), lambda: ["".join(lines).encode()])
    gzipped = in_turns(rounds, *(partial(way.gzip, page) for way, page in zip(ways, texts, strict=True)))
    both = in_turns(rounds, *(way.both for way in ways))
    rows = [
        Row("labels, rendered once", (*in_turns(rounds, lambda: map(rendered, tables)), None, None), "ms"),
        compared("page of text", "ms", *text),
        compared("gzip of that page", "ms", *gzipped),
        compared("both, as for a scrape", "ms", *both),
        compared("page", "kB", *(size(page) / 1e3 for page in (*texts, [line.encode() for line in lines]))),
        compared("page, gzip", "kB", *(size(page) / 1e3 for page in packed)),
        compared("memory to write both", "MiB", *(peak(way.both) for way in ways)),
        compared("longest wait of an event loop", "ms", *(longest_wait(rounds, way.both) for way in ways)),
    ]
    caption = f"{number * len(FAMILIES):,} samples, of {number:,} tables; {rounds} rounds:"
    return Table(caption, COLUMNS, rows, "prometheus_client : Plimsoll")


def made(number: int) -> Measured:
    """Make a table that has some size."""
    name = f"table_{number}"
    heap, toast, indexes = (8192 * (number * step % 99991) for step in (131, 17, 61))
    sizes = (heap + toast + indexes, heap + toast, toast, indexes)
    return Measured(name, RENDER("public", name), *sizes, number * 7919 % 1_000_003, number % 1009)


def rendered(table: Measured) -> str:
    return RENDER("public", table.name)


# --- ways of writing ----------------------------------------------------------------------------------------


def own(tables: Sequence[Measured]) -> Way:
    common = LabelTemplate(DATABASE)()

    def text() -> Iterator[bytes]:
        page = Page()
        labels = [table.labels for table in tables]
        for name, family in FAMILIES.items():
            page.add_rows(family, labels, tables, attrgetter(name), common)
        return page.encode(openmetrics=False)

    return Way(text, lambda: compressed(text()), compressed)


def clients(tables: Sequence[Measured]) -> Way:
    registry = CollectorRegistry()
    registry.register(Client(tables))

    def packed(pieces: Iterable[bytes]) -> list[bytes]:
        return [gzip.compress(piece, 1) for piece in pieces]

    return Way(lambda: [generate_latest(registry)], lambda: packed([generate_latest(registry)]), packed)


def samples(pieces: Iterable[bytes]) -> dict[frozenset[str], float]:
    """Give values by name and labels, which the client puts into an order of its own."""
    lines = [line for line in b"".join(pieces).decode().splitlines() if not line.startswith("#")]
    found = [line.rpartition(" ") for line in lines]
    return {
        frozenset(name.rstrip("}").replace("{", ",").split(",")): float(value) for name, _, value in found
    }


# --- measuring ----------------------------------------------------------------------------------------------


def in_turns(rounds: int, *works: Callable[[], Iterable[object]]) -> list[float]:
    """Do each work in turns until its end; give the median milliseconds of processor time of each."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, found in zip(works, times, strict=True):
            began = time.thread_time()
            list(work())
            found.append((time.thread_time() - began) * 1e3)
    return [statistics.median(found) for found in times]


def peak(work: Callable[[], Iterable[object]]) -> float:
    """Give the MiB that are allocated at most."""
    tracemalloc.start()
    list(work())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def longest_wait(rounds: int, work: Callable[[], Iterable[object]]) -> float:
    """Give by how many milliseconds an event loop wakes up too late at most."""

    async def wake_up() -> float:
        longest = 0.0
        for _ in range(rounds):
            working = asyncio.get_running_loop().run_in_executor(None, lambda: list(work()))
            while not working.done():
                began = time.perf_counter()
                await asyncio.sleep(TICK)
                longest = max(longest, time.perf_counter() - began - TICK)
        return longest * 1e3

    return asyncio.run(wake_up())


def size(pieces: Iterable[bytes]) -> int:
    return sum(map(len, pieces))


def compared(name: str, unit: str, ours: float, theirs: float, limit: float | None = None) -> Row:
    return Row(name, (ours, theirs, limit), unit, quotient(theirs, ours))


if __name__ == "__main__":
    raise SystemExit(main())
