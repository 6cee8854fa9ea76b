"""One watched container engine."""

from __future__ import annotations

import dataclasses
import time

from plimsoll.serve.collectors import OF_ENGINES
from plimsoll.serve.inventory import Inventory
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources.docker import Engine
from plimsoll.serve.sources.events import EventStream
from plimsoll.serve.state.containers import EngineState
from plimsoll.serve.targets import Target


class EngineTarget(Target[EngineState]):
    """Collects from one engine. A target that replaces another goes on from what that one knew."""

    def __init__(self, settings: EngineSettings, former: EngineTarget | None = None) -> None:
        self.settings = settings
        engine = Engine(settings)
        known = former.state if former and former.settings.docker_host == settings.docker_host else None
        inventory = known.inventory if known else Inventory()
        events = EventStream(engine, inventory, known.events if known else None)
        super().__init__(EngineState(settings, engine, inventory, events), OF_ENGINES)

    async def collect(self) -> None:
        """Do what is due; what is published afterwards was asked for since now."""
        self.state.began_at = time.monotonic()
        await super().collect()

    @property
    def is_found(self) -> bool:
        """Whether the containers were listed, even if one of them could not be inspected."""
        return self.state.listed_at is not None and self.state.listed_at >= self.state.began_at

    def known(self) -> EngineState:
        """Give what is known at this moment, and was asked for since the present scrape began."""
        state, is_live = self.state, self.is_found
        return dataclasses.replace(
            state,
            measured=dict(state.live_usage()) if is_live else {},
            containers=state.inventory.containers() if is_live else (),
            machine=state.machine if is_live else None,
        )

    async def stop(self) -> None:
        """Abandon what is under way, and leave the engine."""
        await super().stop()
        self.state.events.stop()
        await self.state.engine.close()
