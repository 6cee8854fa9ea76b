"""When things are collected: intervals, single flight, and a deadline that rules everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Generic, NamedTuple, TypeVar

import structlog

from plimsoll.serve.metrics import LabelTemplate
from plimsoll.serve.sources import SourceError
from plimsoll.serve.sources.places import Occupancy, occupancy

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)
RETRY = 60.0
"""Seconds after which a failed collection is tried again, however long its interval."""
_REST = 100
"""What fails slowly rests that many times as long as it held a connection, but not beyond its interval."""
_TOLD = ("collector", "target", "datname")
"""Labels that log lines have."""


def is_due(last_start: float | None, interval: float, now: float) -> bool:
    """Say whether a collection that began at `last_start` is to be repeated (seconds of one clock).

    A tenth of the interval, at most 5 s, is slack: at a scrape every 60 s, an interval of 60 s means
    every scrape, although scrapes come some milliseconds early or late.
    """
    return last_start is None or now - last_start >= interval - min(interval / 10, 5.0)


class Report(NamedTuple):
    """How a job fared when it last ended; durations are in seconds, times in seconds since the epoch."""

    labels: str
    """As they stand between braces."""
    success: bool
    duration: float
    last_success: float | None


class Job:
    """One thing to collect, repeated when it is due, never twice at a time."""

    def __init__(
        self,
        collector: str,
        target: str,
        labels: Mapping[str, str],
        interval: float,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        self.collector = collector
        self.interval = interval
        self._labels = {"collector": collector, "target": target, **labels}
        self._rendered = LabelTemplate(self._labels)()
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._last_start: float | None = None
        self.began: float | None = None
        """When it was last begun (monotonic clock, in seconds)."""
        self.occupancy: float | None = None
        """For how many seconds it held connections when it last ran to its end."""
        self.failures = 0
        """How often it has failed since it last succeeded."""
        self.complaint: str | None = None
        self._gist: object = None
        self.report: Report | None = None

    @property
    def running(self) -> bool:
        """Whether it is under way, perhaps since an earlier scrape."""
        return self._task is not None and not self._task.done()

    @property
    def success(self) -> bool | None:
        """Whether it succeeded when it last ended; None before that."""
        return self.report.success if self.report else None

    @property
    def pause(self) -> float:
        """The seconds from one beginning to the next: fewer after a failure, unless that took long."""
        if not self.failures:
            return self.interval
        return min(self.interval, max(RETRY, _REST * (self.occupancy or 0.0)))

    def is_due(self, now: float, pause: float) -> bool:
        """Whether it is not under way, and was not begun for `pause` seconds."""
        return not self.running and is_due(self._last_start, pause, now)

    async def refresh(self) -> None:
        """Start it if it is due, and wait for its end if it is under way. Never raises for its failure."""
        if self.is_due(time.monotonic(), self.pause):
            self._start(time.monotonic())
        if self._task is not None:
            await asyncio.wait({self._task})

    async def run(self, since: float) -> None:
        """Start it, and wait for its end. The pause until the next time counts from `since`."""
        self._start(since)
        assert self._task is not None  # noqa: S101 - just started
        await asyncio.wait({self._task})

    def cancel(self) -> None:
        """Abandon what is under way."""
        if self._task is not None:
            self._task.cancel()

    def _start(self, since: float) -> None:
        self._last_start = since
        self.began = time.monotonic()
        self._task = asyncio.create_task(self._run(self.began))

    async def _run(self, started: float) -> None:
        occupied = Occupancy()
        occupancy.set(occupied)  # the task's own, and gone with it
        complaint, gist, fault = None, None, None
        try:
            await self._work()
        except SourceError as error:
            complaint, gist = str(error), error.gist
        except Exception as error:  # noqa: BLE001 - a fault in one collector must not cost the others
            complaint = gist = repr(error)
            fault = error
        last_success = self.report.last_success if self.report else None
        self.report = Report(
            self._rendered,
            success=complaint is None,
            duration=time.monotonic() - started,
            last_success=last_success if complaint else time.time(),
        )
        self.occupancy = occupied.seconds
        self.failures = self.failures + 1 if complaint else 0
        is_known = gist == self._gist
        self.complaint, self._gist = complaint, gist
        if not is_known:
            self._tell(complaint, fault)
        self._task = None  # of what there may be thousands of, nothing is kept that has ended

    def _tell(self, complaint: str | None, fault: Exception | None) -> None:
        """Log what has changed, not the same failure at every scrape."""
        log = _log.bind(**{name: self._labels[name] for name in _TOLD if name in self._labels})
        if complaint is None:
            log.info("collection works again")
        elif fault is None:
            log.warning("collection failed", error=complaint)
        else:
            log.error("collector broke", exc_info=fault)


class _Run(Generic[Result]):
    """A run that is shared: as long as somebody waits for it, it goes on."""

    def __init__(self, task: asyncio.Task[Result], open_until: float) -> None:
        self._task = task
        self._open_until = open_until
        self._waiting = 0

    def is_open(self, now: float) -> bool:
        return not self._task.done() and now < self._open_until

    async def wait(self, seconds: float) -> asyncio.Task[Result]:
        self._waiting += 1
        try:
            await asyncio.wait({self._task}, timeout=seconds)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()  # says nothing to a task that is done
        return self._task


class SharedRun(Generic[Result]):
    """Runs a function for all who ask while it is under way, each with a deadline of its own."""

    def __init__(self, function: Callable[[], Coroutine[None, None, Result]]) -> None:
        self._function = function
        self._latest: _Run[Result] | None = None

    async def join(self, seconds: float) -> asyncio.Task[Result]:
        """Wait for the run under way, or for a new one, but at most `seconds`; give the run.

        A run past the deadline of the caller that began it is joined no longer: those who come later want
        to know how things are now. When nobody waits for it any more, it is cancelled.
        """
        now = time.monotonic()
        if self._latest is None or not self._latest.is_open(now):
            self._latest = _Run(asyncio.create_task(self._function()), now + seconds)
        return await self._latest.wait(seconds)
