"""Many databases take turns: few at a time, who waited longest first, and not all of the time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog

from plimsoll.serve.jobs import Job

_log = structlog.get_logger(__name__)
SHARE = 0.5
"""The part of the time of its connections for long work that a server is kept busy for at most, on average.

As much again is left for what takes longer than the last time: with more, rounds would begin to overtake each
other as soon as the server is slower than usual, which is when it can bear them least.
"""
SHORTEST = 10.0
"""Seconds that an interval counts for at least: an interval of 0 is kept by rounds of up to half of it."""
_WORTH_WAITING = 5.0
"""Seconds of work for whose results a scrape waits; with more it would only be late, and not complete."""
_WORTH_TELLING = 1.1


def stretched(seconds: float, stretch: float) -> float:
    """Give an interval as it is kept."""
    return seconds if stretch <= 1 else max(seconds, SHORTEST) * stretch


def stretch_of(lines: Iterable[Sequence[Job]], lanes: int) -> float:
    """Give the factor, at least 1, by which intervals grow so that the work fits into its share of the time.

    Args:
        lines: the jobs of each collector. What has not run yet counts like the others of its line; a line of
            which less than half is known does not count.
        lanes: connections for long work.
    """
    return max(1.0, sum(map(_load, lines)) / (SHARE * lanes))


def _load(jobs: Sequence[Job]) -> float:
    """Give how many connections the jobs would keep busy at their configured intervals."""
    known = [job.occupancy / max(job.pause, SHORTEST) for job in jobs if job.occupancy is not None]
    return sum(known) * len(jobs) / len(known) if len(known) * 2 >= len(jobs) > 0 else 0.0


class Rotation:
    """Runs the jobs of one server that take their time, over as many connections as there are lanes.

    Each collector has a line of its own, so that none waits for all the work of another.
    """

    def __init__(self, server: str, lanes: int, answers: Callable[[], Awaitable[bool]]) -> None:
        """Take the server's name, the connections for long work, and what says whether the server answers."""
        self._server = server
        self._lanes = lanes
        self._answers = answers
        self._lines: dict[str, _Line] = {}
        self._stretch = 1.0
        self._is_told = False
        self.intervals: Mapping[str, float] = {}
        """The seconds after which the work of each collector is repeated at present."""

    def offer(self, jobs: Iterable[Job]) -> None:
        """Line up what is due of all that there is to do; it replaces what was lined up before."""
        sorts: dict[str, list[Job]] = {name: [] for name in self._lines}
        for job in jobs:
            sorts.setdefault(job.collector, []).append(job)
        self._stretch = stretch_of(sorts.values(), self._lanes)
        now = time.monotonic()
        for name, of_sort in sorts.items():
            due = [job for job in of_sort if job.is_due(now, self._pause(job))]
            line = self._lines.setdefault(name, _Line(self._lanes, self._answers))
            line.form(due, typical=_typical(of_sort), since=None if self._stretch > 1 else now)
        self.intervals = {
            name: stretched(min(job.interval for job in of_sort), self._stretch)
            for name, of_sort in sorts.items()
            if of_sort
        }
        self._tell()

    def _pause(self, job: Job) -> float:
        """Give the seconds between two turns; a failure that may be an accident is looked into sooner."""
        return job.pause if job.failures == 1 else stretched(job.pause, self._stretch)

    def _tell(self) -> None:
        if self._stretch > _WORTH_TELLING and not self._is_told:
            self._is_told = True
            intervals = {f"{name}_interval": f"{seconds:.0f}s" for name, seconds in self.intervals.items()}
            _log.info(
                "databases take turns at longer intervals: max_connections leave no time for more",
                server=self._server,
                **intervals,
            )
        elif self._stretch == 1 and self._is_told:
            self._is_told = False
            _log.info("all databases have their turns at the configured intervals again", server=self._server)

    async def wait(self) -> None:
        """Wait until all is done, if that will not take long; otherwise it goes on in the background."""
        ahead = sum(line.seconds_ahead for line in self._lines.values()) / self._lanes
        workers = [worker for line in self._lines.values() for worker in line.workers]
        if workers and ahead <= _WORTH_WAITING:
            await asyncio.wait(workers)

    def drop(self) -> None:
        """Forget what is lined up; what is under way goes on."""
        for line in self._lines.values():
            line.form([])

    def stop(self) -> None:
        """Begin nothing more."""
        self.drop()
        for line in self._lines.values():
            for worker in line.workers:
                worker.cancel()


class _Line:
    """The jobs of one collector that are due, and as many at work on them as there are lanes."""

    def __init__(self, lanes: int, answers: Callable[[], Awaitable[bool]]) -> None:
        self._lanes = lanes
        self._answers = answers
        self._waiting: dict[Job, float | None] = {}  # the last is next, for that end of a dictionary is cheap
        self._typical = 0.0
        self.workers: set[asyncio.Task[None]] = set()

    @property
    def seconds_ahead(self) -> float:
        """How long one connection will be busy with those who wait, if they succeed."""
        return sum(self._typical if job.failures else job.occupancy or self._typical for job in self._waiting)

    def form(self, due: list[Job], *, typical: float = 0.0, since: float | None = None) -> None:
        """Form anew.

        Args:
            due: who is to wait in it.
            typical: the seconds that one of them holds a connection.
            since: from when the pauses after their turns count. At intervals as configured that is the
                moment of asking, so that 60 s at a scrape every 60 s means every scrape for the last in the
                line as well. None means each one's own beginning, which spreads them over the interval.
        """
        former = self._waiting
        # Or exporters that are started ever again would never come to the end of the alphabet.
        random.shuffle(due)
        due.sort(key=_began, reverse=True)
        self._waiting = {job: since and (former.get(job) or since) for job in due}
        self._typical = typical
        for _ in range(min(self._lanes - len(self.workers), len(due))):
            worker = asyncio.create_task(self._work())
            self.workers.add(worker)
            worker.add_done_callback(self.workers.discard)

    async def _work(self) -> None:
        """Give those who wait their turns, one after the other."""
        while self._waiting:
            job, since = self._waiting.popitem()
            was_good = not job.failures
            await job.run(since or time.monotonic())
            if was_good and job.failures and not await self._answers():
                self._waiting.clear()  # all would fail, and say so


def _began(job: Job) -> float:
    return job.began or 0.0


def _typical(jobs: Sequence[Job]) -> float:
    """Give the seconds that one of the jobs holds a connection if it succeeds; 0 if none did."""
    known = [job.occupancy for job in jobs if job.occupancy is not None and not job.failures]
    return sum(known) / len(known) if known else 0.0
