"""One watched PostgreSQL server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from plimsoll.serve.collectors import OF_POSTGRES
from plimsoll.serve.settings.postgres import Host, ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.postgres import PostgresServer
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.targets import Target


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

    def known(self) -> ServerState:
        """Give what is known at this moment.

        `up` tells of the present scrape only: False while the answer is still awaited, and None if our own
        work, with max_connections of 1, keeps us from asking.
        """
        up = self.probe.success
        if self.probe.running:
            up = None if self.state.server.is_crowded else False
        return dataclasses.replace(self.state, up=up)
