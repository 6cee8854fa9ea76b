"""What is watched: a target has a state, collectors that fill it, and the pages that are made of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from plimsoll.serve.collectors import Collector
from plimsoll.serve.jobs import Job, Report
from plimsoll.serve.metrics import Page

State = TypeVar("State")

Picture = Callable[[Page], None]
"""Writes what was known at one moment to a page; in any thread."""


class Target(ABC, Generic[State]):
    """One server or engine. The first collector finds out what is there; the others run when it could."""

    def __init__(self, state: State, collectors: Sequence[type[Collector[State]]]) -> None:
        self.state = state
        self._stopped = False
        self._collectors = [collector(state) for collector in collectors]
        self._listed: Sequence[Job] = ()

    @property
    def probe(self) -> Job:
        """The one job of the first collector."""
        (probe,) = self._collectors[0].jobs()
        return probe

    @property
    def is_found(self) -> bool:
        """Whether the first collector has found out what is there."""
        return bool(self.probe.success)

    def jobs(self) -> list[Job]:
        """Give the jobs of all its collectors."""
        return [job for collector in self._collectors for job in collector.jobs()]

    def reports(self) -> list[Report]:
        """Tell how each job that there was at the last collection has fared."""
        return [job.report for job in (self.probe, *self._listed) if job.report]

    async def collect(self) -> None:
        """Do what is due, and wait for what is under way. Never raises for a failure."""
        if not self._stopped:
            await self.probe.refresh()
        if self.is_found and not self._stopped:
            self._listed = [job for collector in self._collectors[1:] for job in collector.jobs()]
            await self._refresh(self._listed)

    async def _refresh(self, jobs: Sequence[Job]) -> None:
        """Do what is due of the jobs that come after the probe."""
        await asyncio.gather(*(job.refresh() for job in jobs))

    @abstractmethod
    def known(self) -> State:
        """Give a copy of the state that never changes, as it is at this moment."""

    def picture(self) -> Picture:
        """Give what is known at this moment."""
        known = self.known()

        def draw(page: Page) -> None:
            for collector in self._collectors:
                collector.emit(page, known)

        return draw

    async def stop(self) -> None:
        """Abandon what is under way, and begin nothing more."""
        self._stopped = True
        for job in self.jobs():
            job.cancel()
