"""One watched PostgreSQL server: its state and its collectors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping

from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings import Host, ServerSettings
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.postgres import PostgresServer
from plimsoll.serve.state import ServerState


class Target:
    """Collects from one server. A target that replaces another goes on from what that one knew."""

    def __init__(
        self, settings: ServerSettings, places: Mapping[Host, Places], former: Target | None = None
    ) -> None:
        self.settings = settings
        server = PostgresServer(settings, places)
        if former and former.settings.hosts == settings.hosts:
            self.state: ServerState = dataclasses.replace(former.state, settings=settings, server=server)
        else:
            self.state = ServerState(settings, server)
        self._stopped = False
        self._collectors = [collector(self.state) for collector in COLLECTORS]

    def jobs(self) -> list[Job]:
        """Give the jobs of all its collectors."""
        return [job for collector in self._collectors for job in collector.jobs()]

    async def collect(self) -> None:
        """Do what is due, and wait for what is under way. Never raises for a failure."""
        first, *others = self._collectors
        (probe,) = first.jobs()
        if not self._stopped:
            await probe.refresh()
        if probe.success and not self._stopped:
            await asyncio.gather(*(job.refresh() for collector in others for job in collector.jobs()))

    def snapshot(self) -> ServerState:
        """Give what is known at this moment.

        `up` tells of the present scrape only: False while the answer is still awaited, and None if our own
        work, with max_connections of 1, keeps us from asking.
        """
        (probe,) = self._collectors[0].jobs()
        up = probe.success
        if probe.running:
            up = None if self.state.server.is_crowded else False
        return dataclasses.replace(self.state, up=up)

    def emit(self, page: Page, known: ServerState) -> None:
        """Write a snapshot; in any thread."""
        for collector in self._collectors:
            collector.emit(page, known)

    def stop(self) -> None:
        """Abandon what is under way, and begin nothing more."""
        self._stopped = True
        for job in self.jobs():
            job.cancel()
