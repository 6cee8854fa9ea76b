"""Many databases take turns. Time is a number here, which the work itself moves on."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from plimsoll.serve.jobs import Job
from plimsoll.serve.rotation import SHARE, Rotation, stretch_of
from plimsoll.serve.sources import SourceError
from plimsoll.serve.sources.places import occupancy


class Clock:
    """The monotonic clock of a simulation."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class World:
    """Databases of one server, and how long a pass over each takes."""

    def __init__(self, clock: Clock, costs: Sequence[float], interval: float = 60, lanes: int = 1) -> None:
        self.clock = clock
        self.costs = list(costs)
        self.failing: set[int] = set()
        self.is_up = True
        self.asked_after = 0
        self.starts: list[list[float]] = [[] for _ in costs]
        self.busy = 0.0
        self.jobs = [self._job("tables", number, interval) for number in range(len(costs))]
        self.rotation = Rotation("main", lanes, self._answers)

    def _job(self, collector: str, number: int, interval: float) -> Job:
        async def work() -> None:
            await self._measure(number)

        return Job(collector, "main", {"datname": f"d{number}"}, interval, work)

    async def _measure(self, number: int) -> None:
        self.starts[number].append(self.clock.now)
        cost = self.costs[number]
        self.clock.now += cost
        self.busy += cost
        counted = occupancy.get()
        assert counted is not None
        counted.seconds += cost
        if number in self.failing or not self.is_up:
            raise SourceError("refused")

    async def _answers(self) -> bool:
        self.asked_after += 1
        return self.is_up

    async def scrape(self, at: float) -> None:
        """Scrape at a time, or as soon as the work that is under way allows; all that is due is done."""
        self.clock.now = max(self.clock.now, at)
        self.rotation.offer(self.jobs)
        while workers := [task for line in self.rotation._lines.values() for task in line.workers]:
            await asyncio.wait(workers)

    async def watch(self, seconds: float, every: float = 15) -> None:
        """Scrape for a while. Here all work is done when the next scrape comes."""
        begun = self.clock.now
        for number in range(int(seconds / every)):
            await self.scrape(begun + number * every)


def pauses(starts: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


async def test_few_databases_are_measured_at_their_interval(clock: Clock) -> None:
    world = World(clock, [0.1] * 20)

    await world.watch(600, every=60)

    assert {len(starts) for starts in world.starts} == {10}
    assert world.rotation.intervals == {"tables": 60}


async def test_the_last_in_the_line_has_its_turn_at_every_scrape_too(clock: Clock) -> None:
    """A round takes 25 of 60 seconds: counted from its own beginning, the last would come too late."""
    world = World(clock, [0.25] * 100)

    await world.watch(600, every=60)

    assert {len(starts) for starts in world.starts} == {10}


async def test_what_does_not_fit_takes_half_of_the_time(clock: Clock) -> None:
    world = World(clock, [1.0] * 200)  # 200 s a round
    await world.scrape(clock.now)
    begun, busy = clock.now, world.busy

    await world.watch(4000)

    assert world.rotation.intervals["tables"] == pytest.approx(400)
    share = (world.busy - busy) / (clock.now - begun)
    assert 0.4 < share < 0.6
    counts = Counter(len(starts) for starts in world.starts)
    assert max(counts) - min(counts) <= 2, "all have had their turns"


@settings(deadline=None, max_examples=30)
@given(
    costs=st.lists(st.floats(0.001, 20), min_size=1, max_size=40),
    failing=st.sets(st.integers(0, 39)),
    interval=st.sampled_from([0, 15, 60, 600]),
    lanes=st.integers(1, 4),
)
async def test_none_starves_and_the_server_has_time_left(
    costs: list[float], failing: set[int], interval: float, lanes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(time, "monotonic", clock)
        world = World(clock, costs, interval, lanes)
        world.failing = failing
        await world.watch(60)
        begun, busy = clock.now, world.busy
        longest = max(interval, 2 * sum(costs) / lanes, 10) + sum(costs)

        await world.watch(10 * longest)

        # In this world one works at a time, whatever the lanes: so much is allowed to be busy at most.
        allowed = max(1.0, clock.now - begun) * SHARE * lanes + 2 * sum(costs)
        assert world.busy - busy <= allowed * 1.25
        for starts in world.starts:
            assert len(starts) >= 3
            assert max(pauses(starts)) <= 1.5 * longest + 100 * max(costs)


async def test_who_has_waited_longest_is_next(clock: Clock) -> None:
    world = World(clock, [1.0] * 6)
    await world.scrape(clock.now)
    first = sorted(range(6), key=lambda number: world.starts[number])
    world.jobs.append(world._job("tables", 6, 60))
    world.costs.append(1.0)
    world.starts.append([])

    await world.scrape(clock.now + 600)

    assert sorted(range(7), key=lambda number: world.starts[number][-1]) == [6, *first]


async def test_what_is_still_waiting_keeps_its_place_in_the_line(clock: Clock) -> None:
    world = World(clock, [1.0] * 6)
    asked = clock.now
    world.rotation.offer(world.jobs)
    waiting = set(world.jobs)
    while len(waiting) > 3:
        await asyncio.sleep(0)
        waiting = {job for job in world.jobs if job.began is None}
    world.rotation.offer(world.jobs)
    await world.rotation.wait()

    assert {len(starts) for starts in world.starts} == {1}
    assert {job.is_due(asked + 60, 60) for job in world.jobs} == {True}, (
        "the pause counts from the first asking"
    )
    assert {job.is_due(asked + 54, 60) for job in world.jobs} == {False}


async def test_a_pass_that_hangs_costs_its_own_turn_only(clock: Clock) -> None:
    world = World(clock, [0.1] * 50 + [12.0])
    world.failing = {50}

    await world.watch(1200, every=60)

    assert {len(starts) for starts in world.starts[:50]} == {20}
    assert world.rotation.intervals == {"tables": 60}


async def test_what_hangs_rests_where_the_interval_is_long(clock: Clock) -> None:
    world = World(clock, [0.1, 12.0], interval=3600)
    world.failing = {0, 1}

    await world.watch(3600, every=60)

    assert len(world.starts[0]) == 60, "what fails at once is tried each minute"
    assert len(world.starts[1]) == 3, "what hangs rests a hundred times as long"


async def test_failures_do_not_push_others_back(clock: Clock) -> None:
    """However many fail, each of the others has as many turns as a failing one."""
    world = World(clock, [2.0] * 100)  # 200 s a round
    world.failing = set(range(50))
    await world.watch(4000)

    turns = [len(starts) for starts in world.starts]
    assert min(turns[50:]) >= min(turns[:50]) - 2
    assert max(turns[:50]) <= max(turns[50:]) + 2


async def test_a_first_failure_is_looked_into_soon(clock: Clock) -> None:
    """It may have been an accident, and would be told of for a whole round."""
    world = World(clock, [2.0] * 400)  # 800 s a round, so 1600 s between two turns
    await world.scrape(clock.now)
    await world.scrape(clock.now + 1600)
    world.failing = {7}
    await world.scrape(clock.now + 1600)
    world.failing = set()
    failed = world.starts[7][-1]

    await world.scrape(failed + 1000)

    assert world.jobs[7].success
    assert world.starts[7][-1] - failed < 1600


async def test_a_server_that_is_down_fails_once(clock: Clock) -> None:
    world = World(clock, [0.01] * 1000)
    await world.scrape(clock.now)
    world.is_up = False

    with capture_logs() as logged:
        await world.scrape(clock.now + 60)

    assert world.asked_after == 1
    assert len(logged) == 1
    assert sum(job.success is False for job in world.jobs) == 1


async def test_one_bad_database_does_not_stop_the_others(clock: Clock) -> None:
    world = World(clock, [0.01] * 100)
    world.failing = {3, 4}
    await world.scrape(clock.now)
    await world.scrape(clock.now + 60)

    assert {len(starts) for starts in world.starts} == {2}
    assert world.asked_after == 2, "it is asked after a new failure, not at each"


async def test_longer_intervals_are_told_once_and_so_is_their_end(clock: Clock) -> None:
    world = World(clock, [2.0] * 100)
    with capture_logs() as logged:
        await world.watch(2000)
        world.jobs = world.jobs[:10]
        await world.watch(600)

    longer, again = (entry["event"] for entry in logged)
    assert (longer.startswith("databases take turns at longer intervals"), again.endswith("again")) == (
        True,
        True,
    )
    assert logged[0]["tables_interval"].endswith("s")
    assert world.rotation.intervals == {"tables": 60}


async def test_each_collector_has_a_line_of_its_own(clock: Clock) -> None:
    """Slow queries of users do not keep sizes waiting: both lines compete for places, turn by turn."""
    world = World(clock, [0.0] * 4)
    begun: list[str] = []

    def named(collector: str) -> Job:
        async def work() -> None:
            begun.append(collector)
            await asyncio.sleep(0)

        return Job(collector, "main", {}, 60, work)

    world.jobs = [named("sql") for _ in range(5)] + [named("tables") for _ in range(5)]
    await world.scrape(clock.now)

    assert {"sql", "tables"} == set(begun[:2])


def job_of(occupied: float | None, interval: float = 60) -> Job:
    async def nothing() -> None:
        pass

    job = Job("tables", "main", {}, interval, nothing)
    job.occupancy = occupied
    return job


def test_what_has_not_run_yet_counts_like_the_others() -> None:
    known = [job_of(0.6) for _ in range(60)]

    assert stretch_of([known], 1) == pytest.approx(0.6 / SHARE)
    assert stretch_of([[*known, *(job_of(None) for _ in range(60))]], 1) == pytest.approx(1.2 / SHARE)
    assert stretch_of([[*known, *(job_of(None) for _ in range(61))]], 1) == 1, "too little is known"
    assert stretch_of([[]], 1) == stretch_of([], 1) == 1


def test_lines_share_the_connections() -> None:
    line = [job_of(0.6) for _ in range(60)]

    assert stretch_of([line, line], 1) == pytest.approx(1.2 / SHARE)
    assert stretch_of([line, line], 2) == pytest.approx(0.6 / SHARE)
    assert stretch_of([line, line], 4) == 1


async def test_a_scrape_does_not_wait_for_a_long_round(clock: Clock) -> None:
    world = World(clock, [0.1] * 100)
    await world.scrape(clock.now)
    clock.now += 60
    world.rotation.offer(world.jobs)

    await asyncio.wait_for(world.rotation.wait(), 5)

    assert world.rotation._lines["tables"].seconds_ahead > 9.5, "hardly anything is done yet"
    world.rotation.stop()


async def test_a_scrape_waits_for_a_short_one(clock: Clock) -> None:
    world = World(clock, [0.1] * 10)
    await world.scrape(clock.now)
    clock.now += 60
    world.rotation.offer(world.jobs)
    await world.rotation.wait()

    assert {len(starts) for starts in world.starts} == {2}


async def test_dropped_turns_are_not_taken(clock: Clock) -> None:
    world = World(clock, [1.0] * 10)
    world.rotation.offer(world.jobs)
    world.rotation.drop()
    await world.rotation.wait()
    assert not any(world.starts)

    await world.scrape(clock.now)
    assert all(world.starts)
