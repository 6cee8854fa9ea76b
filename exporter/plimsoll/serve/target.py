"""One watched PostgreSQL server: its state and its collectors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings import ServerSettings
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.postgres import PostgresServer
from plimsoll.serve.state import ServerState


class Target:
    """Collects from one server. A target that replaces another goes on from what that one knew."""

    def __init__(self, settings: ServerSettings, places: Places, former: Target | None = None) -> None:
        self.settings = settings
        server = PostgresServer(settings, places)
        if former and former.settings.parameters == settings.parameters:
            self.state: ServerState = dataclasses.replace(former.state, settings=settings, server=server)
        else:
            self.state = ServerState(settings, server)
        self._collectors = [collector(self.state) for collector in COLLECTORS]

    def jobs(self) -> Iterator[Job]:
        """Give the jobs of all its collectors."""
        for collector in self._collectors:
            yield from collector.jobs()

    async def collect(self) -> None:
        """Do what is due, and wait for what is under way. Never raises for a failure."""
        first, *others = self._collectors
        (probe,) = first.jobs()
        await probe.refresh()
        if probe.success:
            await asyncio.gather(*(job.refresh() for collector in others for job in collector.jobs()))

    def emit(self, page: Page) -> None:
        """Add what is known."""
        for collector in self._collectors:
            collector.emit(page)

    async def stop(self) -> None:
        """Abandon what is under way."""
        await asyncio.gather(*(job.stop() for job in self.jobs()))
