"""When things are collected: intervals, single flight, and a deadline that rules everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from plimsoll.serve.sources import SourceError

_log = structlog.get_logger(__name__)


def is_due(last_start: float | None, interval: float, now: float) -> bool:
    """Say whether a collection that began at `last_start` is to be repeated (seconds of one clock).

    A tenth of the interval, at most 5 s, is slack: at a scrape every 60 s, an interval of 60 s means
    every scrape, although scrapes come some milliseconds early or late.
    """
    return last_start is None or now - last_start >= interval - min(interval / 10, 5.0)


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
        self.labels = {"collector": collector, "target": target, **labels}
        self.success: bool | None = None
        self.duration: float | None = None
        self.last_success: float | None = None
        self._interval = interval
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._last_start: float | None = None
        self._complaint: str | None = None
        self._log = _log.bind(**self.labels)

    @property
    def running(self) -> bool:
        """Whether it is under way, perhaps since an earlier scrape."""
        return self._task is not None and not self._task.done()

    async def refresh(self) -> None:
        """Start it if it is due, and wait for its end if it is under way. Never raises for its failure."""
        if not self.running and is_due(self._last_start, self._interval, time.monotonic()):
            self._last_start = time.monotonic()
            self._task = asyncio.create_task(self._run())
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Abandon what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        started = time.monotonic()
        complaint = await self._complaint_of_work()
        self.duration = time.monotonic() - started
        self.success = complaint is None
        if self.success:
            self.last_success = time.time()
        self._tell(complaint)

    async def _complaint_of_work(self) -> str | None:
        try:
            await self._work()
        except SourceError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a fault in one collector must not cost the others
            self._log.exception("collector broke")
            return repr(error)
        return None

    def _tell(self, complaint: str | None) -> None:
        """Log what has changed, not the same failure at every scrape."""
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if complaint is None:
            self._log.info("collection works again")
        else:
            self._log.warning("collection failed", error=complaint)


class SharedRun:
    """Runs a function for all who ask while it is under way, each with a deadline of its own."""

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._function = function
        self._latest: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[None]] = set()
        self._open_until = 0.0

    async def join(self, seconds: float) -> asyncio.Task[None]:
        """Wait for the run under way, or for a new one, but at most `seconds`; give the run.

        A run past the deadline of the caller that began it goes on, but is joined no longer: what has
        finished in it meanwhile would not be looked at again.
        """
        now = time.monotonic()
        if self._latest is None or self._latest.done() or now >= self._open_until:
            self._open_until = now + seconds
            self._latest = asyncio.ensure_future(self._function())
            self._runs.add(self._latest)
            self._latest.add_done_callback(self._runs.discard)
        run = self._latest
        await asyncio.wait({run}, timeout=seconds)
        return run

    def stop(self) -> None:
        """Let everybody go who waits."""
        for run in self._runs:
            run.cancel()
