"""All targets together: scraping them, and exchanging them on a reload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from plimsoll.config import ConfigError
from plimsoll.serve import self_metrics
from plimsoll.serve.jobs import Report, SharedRun
from plimsoll.serve.metrics import Page, compressed
from plimsoll.serve.settings import Settings
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.settings.postgres import Host, ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.places import Places
from plimsoll.serve.targets import Picture, Target
from plimsoll.serve.targets.containers import EngineTarget
from plimsoll.serve.targets.postgres import PostgresTarget

_log = structlog.get_logger(__name__)
_SETTLE = 2.0
"""Seconds that backends get to go away when the exporter stops."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a page shows, as it was at one moment."""

    pictures: Sequence[Picture]
    reports: Sequence[Report]
    reload: self_metrics.ReloadResult


class Exporter:
    """Watches what the configuration names.

    Raises:
        ConfigError: the configuration is bad; later, on a reload, the old one stays in force instead.
    """

    def __init__(self, load: Callable[[], Settings]) -> None:
        self._load = load
        self._places: dict[Host, Places] = {}
        self._servers: dict[str, PostgresTarget] = {}
        self._engines: dict[str, EngineTarget] = {}
        self._replace_targets(load())
        self._reload = self_metrics.ReloadResult(successful=True, loaded_at=time.time())
        self._process = self_metrics.ProcessMetrics()
        # A thread of its own: names being resolved in the common ones must not keep a page waiting.
        self._writer = ThreadPoolExecutor(1, "page")
        self._collection = SharedRun(self._collect)
        self._pages: dict[tuple[bool, bool], asyncio.Future[list[bytes]]] = {}
        self._pages_show: Snapshot | None = None

    async def scrape(self, seconds: float, *, openmetrics: bool, compress: bool) -> list[bytes]:
        """Give the page in pieces, within `seconds` and the little that it takes to write it.

        Scrapes that share a finished collection share its page too.
        """
        run = await self._collection.join(seconds)
        snapshot = run.result() if run.done() and not run.cancelled() else self._snapshot()
        if self._pages_show is not snapshot:
            self._pages_show, self._pages = snapshot, {}
        wanted = (openmetrics, compress)
        if wanted not in self._pages:
            write = partial(self._write, snapshot, openmetrics=openmetrics, compress=compress)
            self._pages[wanted] = asyncio.get_running_loop().run_in_executor(self._writer, write)
        return await self._pages[wanted]

    async def reload(self) -> ConfigError | None:
        """Follow the configuration as it is now; if it is bad, give the reason and leave all as it was."""
        try:
            settings = self._load()
        except ConfigError as error:
            self._reload = self_metrics.ReloadResult(successful=False, loaded_at=self._reload.loaded_at)
            _log.error("configuration refused, the former one stays in force", problems=str(error))
            return error
        former = self._replace_targets(settings)
        self._reload = self_metrics.ReloadResult(successful=True, loaded_at=time.time())
        _log.info("configuration loaded", servers=list(self._servers), engines=list(self._engines))
        await asyncio.gather(*(target.stop() for target in former))
        return None

    async def stop(self) -> None:
        """Abandon everything under way; scrapes that wait get what is known."""
        await asyncio.gather(*(target.stop() for target in self._targets))
        await asyncio.gather(*(places.settle(_SETTLE) for places in self._places.values()))

    @property
    def _targets(self) -> list[Target[Any]]:
        return [*self._servers.values(), *self._engines.values()]

    def _replace_targets(self, settings: Settings) -> list[Target[Any]]:
        """Keep targets whose settings are the same; give those that are no longer needed."""
        limits: dict[Host, int] = {}
        for server in settings.servers:
            for host in server.hosts:
                limits[host] = max(limits.get(host, 0), server.max_connections)
        for host, limit in limits.items():
            self._places.setdefault(host, Places(limit)).limit = limit
        # What backends of ours still hold at another host counts, should a later reload name that again.
        self._places = {host: at for host, at in self._places.items() if host in limits or not at.is_empty}
        former = self._targets
        engines = self._engines
        self._servers = {each.name: self._server(each, settings.sql_of(each)) for each in settings.servers}
        self._engines = {each.name: _engine(each, engines.get(each.name)) for each in settings.containers}
        return [target for target in former if target not in self._targets]

    def _server(self, settings: ServerSettings, sql: tuple[SqlEntry, ...]) -> PostgresTarget:
        former = self._servers.get(settings.name)
        if former and former.settings == settings and former.state.sql == sql:
            return former
        places = {host: self._places[host] for host in settings.hosts}
        return PostgresTarget(settings, places, former, sql)

    async def _collect(self) -> Snapshot:
        collected: list[Target[Any]] = []
        # A reload meanwhile may exchange targets; a page without the new ones would resolve alerts.
        while waiting := [target for target in self._targets if target not in collected]:
            await asyncio.gather(*(target.collect() for target in waiting))
            collected += waiting
        return self._snapshot()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            [target.picture() for target in self._targets],
            [report for target in self._targets for report in target.reports()],
            self._reload,
        )

    def _write(self, snapshot: Snapshot, *, openmetrics: bool, compress: bool) -> list[bytes]:
        pieces = self._text(snapshot, openmetrics=openmetrics)
        return list(compressed(pieces) if compress else pieces)

    def _text(self, snapshot: Snapshot, *, openmetrics: bool) -> Iterator[bytes]:
        page = Page()
        for draw in snapshot.pictures:
            draw(page)
        self_metrics.emit(page, snapshot.reports, snapshot.reload)
        yield from page.encode(openmetrics=openmetrics)
        end = "# EOF\n" if openmetrics else ""
        yield (self._process.encode(openmetrics=openmetrics) + end).encode()


def _engine(settings: EngineSettings, former: EngineTarget | None) -> EngineTarget:
    if former and former.settings == settings:
        return former
    return EngineTarget(settings, former)
