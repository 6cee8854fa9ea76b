"""Scrapes an exporter as Prometheus does: over one kept connection, with its headers, compressed."""

from __future__ import annotations

import gzip
import re
import time
from functools import cached_property
from http.client import HTTPConnection, RemoteDisconnected
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 300.0
"""Seconds that a scrape may take: nothing is cut short in a bench."""

_HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.42.0",
    "X-Prometheus-Scrape-Timeout-Seconds": f"{TIMEOUT:g}",
}
_COLLECTED = re.compile(
    r'^plimsoll_collector_last_success_timestamp_seconds\{[^\n]*\bcollector="(\w+)"[^\n]*\} (\S+)$',
    re.MULTILINE,
)
_OF_TABLE = re.compile(r'^pg_stat_user_tables_(\w+)\{[^\n]*?\brelname="(\w+)"[^\n]*\} (\S+)$', re.MULTILINE)


class Window(NamedTuple):
    """When something began and ended, on the monotonic clock of all processes."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class Page:
    """What came back."""

    def __init__(self, window: Window, sent: bytes) -> None:
        self.window = window
        self.sent = sent

    @cached_property
    def text(self) -> str:
        """The page itself."""
        return gzip.decompress(self.sent).decode()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(not line.startswith("#") for line in self.text.splitlines())

    def collected(self, collector: str) -> list[float]:
        """Give when each of Plimsoll's collections of that name last succeeded, since the epoch."""
        return [float(at) for name, at in _COLLECTED.findall(self.text) if name == collector]

    def of_tables(self) -> dict[tuple[str, str], float]:
        """Give the value of each family of pg_stat_user_tables and each table."""
        return {(family, table): float(value) for family, table, value in _OF_TABLE.findall(self.text)}


class Scraper:
    """One target of a Prometheus."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self._connection = HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)

    def scrape(self) -> Page:
        """Read the page, which is the exporter's to decide, and time it."""
        try:
            return self._scrape()
        except RemoteDisconnected:  # it was idle for too long
            return self._scrape()

    def _scrape(self) -> Page:
        began = time.monotonic()
        self._connection.request("GET", "/metrics", headers=_HEADERS)
        response = self._connection.getresponse()
        body = response.read()
        window = Window(began, time.monotonic())
        assert response.status == 200, body
        assert response.headers["Content-Encoding"] == "gzip"
        return Page(window, body)

    def close(self) -> None:
        """Leave."""
        self._connection.close()
