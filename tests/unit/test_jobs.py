"""When things are collected, and who waits for what. Events say when something goes on, never a sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from plimsoll.serve.jobs import Job, SharedRun, is_due
from plimsoll.serve.sources import SourceError

LONG = 3600.0


@pytest.mark.parametrize(
    ("interval", "elapsed", "due"),
    [
        (0, 0, True),  # every scrape
        (0, 0.001, True),
        (60, 60, True),
        (60, 59.9, True),  # a scrape that comes early
        (60, 55, True),
        (60, 54.9, False),
        (60, 30, False),
        (10, 9, True),  # a tenth of it is slack
        (10, 8.9, False),
        (3600, 3595, True),  # but 5 s at most
        (3600, 3594.9, False),
        (60, 600, True),
    ],
)
def test_a_collection_is_due_after_its_interval_with_slack(
    interval: float, elapsed: float, due: bool
) -> None:
    assert is_due(1000.0, interval, 1000.0 + elapsed) is due


def test_what_never_ran_is_due() -> None:
    assert is_due(None, LONG, 0.0)


def test_a_scrape_a_minute_is_a_collection_a_minute() -> None:
    starts = [0.0]
    for number in range(1, 200):
        now = number * 60 + (0.4 if number % 2 else -0.4)
        if is_due(starts[-1], 60, now):
            starts.append(now)

    assert len(starts) == 200


class Work:
    """Something to do that a test holds up, lets go, and lets fail."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.at_most = 0
        self.cancelled = False
        self.under_way = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failure: BaseException | None = None

    async def __call__(self) -> None:
        self.begun += 1
        self.at_most = max(self.at_most, self.begun - self.ended)
        self.under_way.set()
        try:
            await self.go_on.wait()
            if self.failure:
                raise self.failure
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended += 1


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
async def work() -> Work:
    return Work()


@pytest.fixture
async def quick_work(work: Work) -> Work:
    work.go_on.set()
    return work


class Clock:
    """A monotonic clock that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(work: Work, interval: float = 0) -> Job:
    return Job("tables", "main", {"server": "main"}, interval, work)


def messages(logged: list[EventDict]) -> list[str]:
    return [str(entry["event"]) for entry in logged]


async def test_a_job_that_never_ended_knows_nothing(work: Work) -> None:
    fresh = job(work)

    assert (fresh.success, fresh.report, fresh.running) == (None, None, False)


async def test_a_job_that_succeeded_knows_when(quick_work: Work) -> None:
    done = job(quick_work)
    await done.refresh()

    assert not done.running
    assert done.report is not None
    assert done.report.success is True
    assert done.report.last_success is not None
    assert done.report.labels == 'collector="tables",target="main",server="main"'


async def test_a_job_is_not_repeated_before_its_interval_is_over(quick_work: Work) -> None:
    hourly = job(quick_work, LONG)
    await hourly.refresh()
    await hourly.refresh()

    assert quick_work.begun == 1


async def test_a_job_without_an_interval_is_repeated_every_time(quick_work: Work) -> None:
    always = job(quick_work)
    await always.refresh()
    await always.refresh()

    assert quick_work.begun == 2


async def test_a_job_never_runs_twice_at_a_time(work: Work) -> None:
    shared = job(work)
    waiting = [asyncio.create_task(shared.refresh()) for _ in range(50)]
    await work.under_way.wait()
    assert shared.running
    work.go_on.set()
    await asyncio.gather(*waiting)

    assert (work.begun, work.at_most) == (1, 1)


async def test_a_waiter_that_gives_up_does_not_stop_the_job(work: Work) -> None:
    shared = job(work)
    waiter = asyncio.create_task(shared.refresh())
    await work.under_way.wait()
    waiter.cancel()
    await asyncio.wait({waiter})
    assert shared.running

    work.go_on.set()
    await shared.refresh()

    assert shared.success is True
    assert not work.cancelled


async def test_the_same_failure_is_logged_once_and_so_is_the_recovery(
    quick_work: Work, logged: list[EventDict]
) -> None:
    failing = job(quick_work)
    quick_work.failure = SourceError("no route")
    for _ in range(3):
        await failing.refresh()
    assert messages(logged) == ["collection failed"]
    assert logged[0]["error"] == "no route"
    assert logged[0]["log_level"] == "warning"
    assert failing.report is not None
    assert (failing.success, failing.report.last_success) == (False, None)

    quick_work.failure = None
    for _ in range(3):
        await failing.refresh()

    assert messages(logged) == ["collection failed", "collection works again"]
    assert failing.success is True


async def test_another_failure_is_logged_too(quick_work: Work, logged: list[EventDict]) -> None:
    failing = job(quick_work)
    for reason in ("no route", "no route", "refused", "no route"):
        quick_work.failure = SourceError(reason)
        await failing.refresh()

    assert [entry["error"] for entry in logged] == ["no route", "refused", "no route"]


class WordyError(SourceError):
    """Tells the same trouble in other words each time."""

    gist = "no route"


async def test_the_same_failure_in_other_words_is_logged_once(
    quick_work: Work, logged: list[EventDict]
) -> None:
    failing = job(quick_work)
    for words in ("no route", "no route at all"):
        quick_work.failure = WordyError(words)
        await failing.refresh()

    assert [entry["error"] for entry in logged] == ["no route"]
    assert failing.complaint == "no route at all"


async def test_a_success_from_the_start_is_not_worth_a_line(
    quick_work: Work, logged: list[EventDict]
) -> None:
    await job(quick_work).refresh()

    assert logged == []


async def test_a_failure_keeps_the_time_of_the_last_success(quick_work: Work) -> None:
    sometimes = job(quick_work)
    await sometimes.refresh()
    before = sometimes.report
    quick_work.failure = SourceError("no route")
    await sometimes.refresh()

    assert before is not None
    assert sometimes.report is not None
    assert (sometimes.success, sometimes.report.last_success) == (False, before.last_success)


async def test_a_failed_job_is_not_left_alone_for_its_whole_interval(
    quick_work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    hourly = job(quick_work, 3600)
    quick_work.failure = SourceError("no route")
    await hourly.refresh()
    clock.now += 50
    await hourly.refresh()
    assert quick_work.begun == 1
    clock.now += 10
    await hourly.refresh()
    assert quick_work.begun == 2


@pytest.mark.parametrize("fault", [ZeroDivisionError("division by zero"), TimeoutError(), KeyError("oid")])
async def test_a_fault_costs_only_its_own_job(
    quick_work: Work, logged: list[EventDict], fault: Exception
) -> None:
    healthy_work = Work()
    healthy_work.go_on.set()
    broken, healthy = job(quick_work), job(healthy_work)
    quick_work.failure = fault

    await asyncio.gather(broken.refresh(), healthy.refresh())

    assert (broken.success, healthy.success) == (False, True)
    await broken.refresh()
    assert messages(logged) == ["collector broke"], "once, with its traceback"
    assert logged[0]["exc_info"] is fault


async def test_a_job_that_is_stopped_is_not_called_a_failure(work: Work, logged: list[EventDict]) -> None:
    stopped = job(work)
    waiter = asyncio.create_task(stopped.refresh())
    await work.under_way.wait()

    stopped.cancel()
    await waiter

    assert work.cancelled
    assert not stopped.running
    assert stopped.success is None
    assert logged == []


async def test_a_job_that_never_began_can_be_cancelled(work: Work) -> None:
    unused = job(work)
    unused.cancel()
    assert not unused.running


async def test_fifty_joiners_share_one_run(work: Work) -> None:
    run = SharedRun(work)
    joiners = [asyncio.create_task(run.join(LONG)) for _ in range(50)]
    await work.under_way.wait()
    work.go_on.set()

    runs = await asyncio.gather(*joiners)

    assert work.begun == 1
    assert len(set(runs)) == 1
    assert runs[0].done()


async def test_a_finished_run_is_not_joined(quick_work: Work) -> None:
    run = SharedRun(quick_work)
    first = await run.join(LONG)
    second = await run.join(LONG)

    assert first is not second
    assert quick_work.begun == 2


async def test_each_joiner_has_a_deadline_of_its_own(work: Work) -> None:
    run = SharedRun(work)
    patient = asyncio.create_task(run.join(LONG))
    await work.under_way.wait()

    seen = await run.join(0.001)

    assert not seen.done()
    assert not patient.done()
    work.go_on.set()
    assert await patient is seen
    assert seen.done()
    assert work.begun == 1


async def test_a_run_past_its_openers_deadline_is_not_joined(work: Work) -> None:
    run = SharedRun(work)
    first = await run.join(0)
    assert not first.done()

    second = asyncio.create_task(run.join(LONG))
    third = asyncio.create_task(run.join(LONG))
    await work.under_way.wait()
    work.go_on.set()

    assert await second is await third is not first


async def test_a_run_that_nobody_waits_for_is_cancelled(work: Work) -> None:
    """Otherwise every scrape of a server that hangs would leave one behind."""
    run = SharedRun(work)
    left = await run.join(0.001)

    await asyncio.wait({left})

    assert left.cancelled()


async def test_a_joiner_that_gives_up_does_not_stop_the_run(work: Work) -> None:
    run = SharedRun(work)
    impatient, patient = (asyncio.create_task(run.join(LONG)) for _ in range(2))
    await work.under_way.wait()
    impatient.cancel()
    await asyncio.wait({impatient})

    work.go_on.set()

    assert (await patient).done()
    assert (work.begun, work.cancelled) == (1, False)
