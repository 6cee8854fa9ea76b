"""All targets together: scraping them, and exchanging them on a reload."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable

import structlog

from plimsoll.config import ConfigError
from plimsoll.serve import self_metrics
from plimsoll.serve.jobs import SharedRun
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings import PostgresSettings
from plimsoll.serve.sources.places import Places
from plimsoll.serve.target import Target

_log = structlog.get_logger(__name__)
_SETTLE = 2.0
"""Seconds that backends get to go away when the exporter stops."""


class Exporter:
    """Watches what the configuration names.

    Raises:
        ConfigError: the configuration is bad; later, on a reload, the old one stays in force instead.
    """

    def __init__(self, load: Callable[[], PostgresSettings]) -> None:
        self._load = load
        self._places: dict[tuple[str, str], Places] = {}
        self._targets: dict[str, Target] = {}
        self._replace_targets(load())
        self._reload = self_metrics.ReloadResult(successful=True, loaded_at=time.time())
        self._process = self_metrics.ProcessMetrics()
        self._collection = SharedRun(self._collect)
        self._pages: dict[tuple[bool, bool], asyncio.Task[bytes]] = {}
        self._pages_show: asyncio.Task[None] | None = None

    async def scrape(self, seconds: float, *, openmetrics: bool, compress: bool) -> bytes:
        """Give the page, within `seconds` and the little that it takes to write it.

        Scrapes that share a finished collection share its page too.
        """
        run = await self._collection.join(seconds)
        if not run.done():
            return await self._write(openmetrics=openmetrics, compress=compress)
        if self._pages_show is not run:
            self._pages_show, self._pages = run, {}
        wanted = (openmetrics, compress)
        if wanted not in self._pages:
            self._pages[wanted] = asyncio.create_task(self._write(openmetrics=openmetrics, compress=compress))
        return await self._pages[wanted]

    async def reload(self) -> ConfigError | None:
        """Follow the configuration as it is now; if it is bad, give the reason and leave all as it was."""
        try:
            settings = self._load()
        except ConfigError as error:
            self._reload = self_metrics.ReloadResult(successful=False, loaded_at=self._reload.loaded_at)
            _log.error("configuration refused, the former one stays in force", problems=str(error))
            return error
        gone = self._replace_targets(settings)
        self._reload = self_metrics.ReloadResult(successful=True, loaded_at=time.time())
        _log.info("configuration loaded", servers=list(self._targets))
        await asyncio.gather(*(target.stop() for target in gone))
        return None

    async def stop(self) -> None:
        """Abandon everything under way; scrapes that wait get what is known."""
        self._collection.stop()
        await asyncio.gather(*(target.stop() for target in self._targets.values()))
        await asyncio.gather(*(places.settle(_SETTLE) for places in self._places.values()))

    def _replace_targets(self, settings: PostgresSettings) -> list[Target]:
        """Keep targets whose settings are the same; give those that are no longer needed."""
        former, self._targets = self._targets, {}
        limits: dict[tuple[str, str], int] = {}
        for server in settings.servers:
            limits[server.address] = max(limits.get(server.address, 0), server.max_connections)
            places = self._places.setdefault(server.address, Places(0))
            places.limit = limits[server.address]
            target = former.get(server.name)
            if target is None or target.settings != server:
                target = Target(server, places, target)
            self._targets[server.name] = target
        return [target for name, target in former.items() if self._targets.get(name) is not target]

    async def _collect(self) -> None:
        await asyncio.gather(*(target.collect() for target in self._targets.values()))

    async def _write(self, *, openmetrics: bool, compress: bool) -> bytes:
        """Write the page in a thread, so that health checks are answered meanwhile."""
        targets = list(self._targets.values())
        jobs = [job for target in targets for job in target.jobs()]
        reload = self._reload

        def write() -> bytes:
            page = Page()
            for target in targets:
                target.emit(page)
            self_metrics.emit(page, jobs, reload)
            text = page.encode(openmetrics=openmetrics) + self._process.encode(openmetrics=openmetrics)
            body = (text + "# EOF\n" if openmetrics else text).encode()
            return gzip.compress(body, compresslevel=1) if compress else body

        return await asyncio.to_thread(write)
