"""One watched PostgreSQL server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from plimsoll.serve.collectors import OF_POSTGRES
from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import LabelTemplate, Page
from plimsoll.serve.rotation import Rotation
from plimsoll.serve.self_metrics import INTERVAL
from plimsoll.serve.settings.postgres import Host, ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.places import Places, places_for_long_work
from plimsoll.serve.sources.postgres import PostgresError, PostgresServer
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.targets import Picture, Target


class PostgresTarget(Target[ServerState]):
    """Collects from one server. A target that replaces another goes on from what that one knew."""

    def __init__(
        self,
        settings: ServerSettings,
        places: Mapping[Host, Places],
        former: PostgresTarget | None = None,
        sql: tuple[SqlEntry, ...] = (),
    ) -> None:
        self.settings = settings
        server = PostgresServer(settings, places)
        if former and former.settings.hosts == settings.hosts:
            state = dataclasses.replace(former.state, settings=settings, server=server, sql=sql)
        else:
            state = ServerState(settings, server, sql=sql)
        super().__init__(state, OF_POSTGRES)
        lanes = places_for_long_work(settings.max_connections)
        self._rotation = Rotation(settings.name, lanes, self._answers)
        constant = {"target": settings.name, **settings.target_labels}
        self._interval_labels = LabelTemplate(constant, ("collector",))

    async def collect(self) -> None:
        """Do what is due, and wait for it if that will not take long. Never raises for a failure."""
        await super().collect()
        if not self.is_found:
            self._rotation.drop()

    async def _refresh(self, jobs: Sequence[Job]) -> None:
        self._rotation.offer(jobs)
        await self._rotation.wait()

    async def _answers(self) -> bool:
        """Say whether the server still lets us in, or only our own work keeps us from asking."""
        try:
            async with self.state.server.connect(patience=self.settings.connect_timeout):
                return True
        except PostgresError:
            return self.state.server.is_crowded

    def picture(self) -> Picture:
        """Give what is known at this moment, and how long the intervals are."""
        draw = super().picture()
        intervals = self._rotation.intervals

        def draw_all(page: Page) -> None:
            draw(page)
            page.add(
                INTERVAL, [(self._interval_labels(name), seconds) for name, seconds in intervals.items()]
            )

        return draw_all

    def known(self) -> ServerState:
        """Give what is known at this moment.

        `up` tells of the present scrape only: False while the answer is still awaited, and None if our own
        work, with max_connections of 1, keeps us from asking.
        """
        up = self.probe.success
        if self.probe.running:
            up = None if self.state.server.is_crowded else False
        return dataclasses.replace(self.state, up=up)

    async def stop(self) -> None:
        """Abandon what is under way, and begin nothing more."""
        self._rotation.stop()
        await super().stop()
