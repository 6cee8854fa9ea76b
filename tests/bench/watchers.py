"""What is scraped in turns, and what each scrape costs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import psycopg

from bench.database import DATABASE, BenchServer
from bench.processes import cpu_seconds
from bench.reporting import percentile
from bench.scraping import Page, Scraper, Window
from serving import serving

ROLE = "plimsoll"

_CATALOGUE = """\
SELECT c.oid, n.nspname, c.relname, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


class Cost(NamedTuple):
    """Of one scrape, in seconds."""

    wall: float
    """Until the answer was there."""
    database: float
    """Planning and execution of its statements."""
    server_cpu: float
    """Processor time of the whole server."""
    cpu: float
    """Processor time of the exporter."""


class Costs:
    """Of many scrapes."""

    def __init__(self) -> None:
        self.all: list[Cost] = []

    def walls(self, percent: float) -> float:
        """Give a percentile of the latency in milliseconds."""
        return percentile([cost.wall for cost in self.all], percent) * 1e3

    def database(self) -> float:
        """Give the median of the time in the database in milliseconds."""
        return median(cost.database for cost in self.all) * 1e3

    def server_cpu(self) -> float:
        """Give the mean processor time of the server in milliseconds; ended sessions count in tens."""
        return mean(cost.server_cpu for cost in self.all) * 1e3

    def cpu(self) -> float:
        """Give the mean processor time of the exporter in milliseconds."""
        return mean(cost.cpu for cost in self.all) * 1e3


class Watcher:
    """Something that reads from the server when asked to."""

    def __init__(
        self, server: BenchServer, role: str, pid: int, read: Callable[[], Page], url: str = ""
    ) -> None:
        self._server = server
        self._role = role
        self._read = read
        self.pid = pid
        self.url = url
        self.costs = Costs()

    def scrape(self) -> Page:
        """Scrape, and note what it costs."""
        before = self._spent()
        page = self._read()
        after = self._spent()
        spent = [now - then for now, then in zip(after, before, strict=True)]
        self.costs.all.append(Cost(page.window.seconds, *spent))
        return page

    def scrape_afresh(self, *collectors: str, patience: float = 300) -> Page:
        """Scrape Plimsoll until a scrape has collected what is on its page, and note what that one costs.

        After long work it lets the server rest, whatever the intervals are, and repeats what it knows.
        """
        deadline = time.monotonic() + patience
        while True:
            began = time.time()
            page = self.scrape()
            if all(at >= began for collector in collectors for at in page.collected(collector)):
                return page
            self.costs.all.pop()
            assert time.monotonic() < deadline, f"no scrape collects within {patience:g} s"
            time.sleep(2)

    def _spent(self) -> tuple[float, float, float]:
        return self._server.worked_for(self._role), self._server.cpu_seconds(), cpu_seconds([self.pid])


@contextlib.contextmanager
def scraped(server: BenchServer, role: str, pid: int, url: str) -> Iterator[Watcher]:
    """Give an exporter that logs in as `role` as something to be scraped."""
    with contextlib.closing(Scraper(url)) as scraper:
        yield Watcher(server, role, pid, scraper.scrape, url)


def config(server: BenchServer, **settings: Any) -> dict[str, Any]:
    """Configure Plimsoll to watch the databases of the bench only, with settings of the server."""
    databases = {"include": [f"{DATABASE}.*"], **settings.pop("databases", {})}
    watched = {"name": "main", "dsn": server.dsn(ROLE, "postgres"), "databases": databases, **settings}
    return {"postgres": {"servers": [watched]}}


@contextlib.contextmanager
def plimsoll(
    server: BenchServer, config: dict[str, Any], folder: Path, timeout: str = "5m"
) -> Iterator[Watcher]:
    """Run Plimsoll, whose scrapes answer after so long at the latest."""
    with (
        serving(config, folder, f"--scrape.timeout={timeout}") as exporter,
        scraped(server, ROLE, exporter.process.pid, exporter.url) as watcher,
    ):
        yield watcher


@contextlib.contextmanager
def catalogue_reader(server: BenchServer, role: str) -> Iterator[Watcher]:
    """Give the physical limit: one session, always open, that reads names and rows of all tables at once."""
    with psycopg.connect(server.dsn(role), autocommit=True) as session:

        def read() -> Page:
            began = time.monotonic()
            session.execute(_CATALOGUE).fetchall()
            return Page(Window(began, time.monotonic()), b"")

        yield Watcher(server, role, os.getpid(), read)
