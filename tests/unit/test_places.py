"""How many connections there may be, also for ending a backend that stays."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.serve.sources import places
from plimsoll.serve.sources.places import Occupancy, Places, occupancy


def test_a_connection_that_ends_a_backend_has_one_place() -> None:
    """However many try, or a server that hangs would collect our connections."""
    several, single = Places(2), Places(1)

    assert several.for_ending is several
    assert single.for_ending is single.for_ending
    assert (single.for_ending.limit, single.for_ending is single) == (1, False)


async def test_a_backend_that_stays_is_given_up_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(places, "_PATIENCE", 0.01)
    ours, theirs = socket.socketpair()
    attempted = asyncio.Event()
    held = Places(1)

    async def farewell() -> int:
        return os.dup(ours.fileno())

    async def end() -> None:
        attempted.set()

    async with held.take(long_work=True) as place:
        place.farewells.append(farewell)
        place.end = end
    await attempted.wait()
    assert not held.is_free(long_work=True), "the backend is still there"
    await held.settle(0.01)
    for _ in range(10):
        await asyncio.sleep(0)  # the tasks that were cancelled have their last word
    assert held.is_free(long_work=True)
    gc.collect()
    ours.close()
    theirs.close()
    assert caplog.records == []


class Visitor:
    """Waits for a place, stays until it is told to go, and notes when it came in."""

    def __init__(self, held: Places, came_in: list[Visitor], *, long_work: bool = True) -> None:
        self.go = asyncio.Event()
        self._came_in = came_in
        self.task = asyncio.create_task(self._visit(held, long_work))

    async def _visit(self, held: Places, long_work: bool) -> None:
        async with held.take(long_work=long_work):
            self._came_in.append(self)
            await self.go.wait()


async def settled() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_has_waited_longest_is_next() -> None:
    held, came_in = Places(2), list[Visitor]()
    visitors = [Visitor(held, came_in) for _ in range(100)]
    for count, visitor in enumerate(visitors, 1):
        await settled()
        assert came_in == visitors[:count]
        visitor.go.set()
    await settled()

    assert held.is_free(long_work=True)


async def test_a_place_that_is_freed_wakes_only_who_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand who wait, to wake all each time would be a million steps."""
    held, came_in = Places(2), list[Visitor]()
    visitors = [Visitor(held, came_in) for _ in range(200)]
    await settled()
    steps = 0
    loop = asyncio.get_running_loop()
    soon = loop.call_soon

    def counting(*arguments: object, **more: object) -> object:
        nonlocal steps
        steps += 1
        return soon(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon", counting)
    for visitor in visitors:
        visitor.go.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
    monkeypatch.undo()

    assert steps < 30 * len(visitors)


async def test_the_probe_has_its_place_whoever_waits() -> None:
    held, came_in = Places(3), list[Visitor]()
    crowd = [Visitor(held, came_in) for _ in range(10)]
    probe = Visitor(held, came_in, long_work=False)
    await settled()

    assert came_in == [*crowd[:2], probe]
    for visitor in (*crowd, probe):
        visitor.go.set()
    await asyncio.gather(*(visitor.task for visitor in (*crowd, probe)))


async def test_with_one_place_the_probe_is_next() -> None:
    held, came_in = Places(1), list[Visitor]()
    first, second = Visitor(held, came_in), Visitor(held, came_in)
    probe = Visitor(held, came_in, long_work=False)
    await settled()
    for visitor in (first, second, probe):
        visitor.go.set()
    await asyncio.gather(first.task, second.task, probe.task)

    assert came_in == [first, probe, second]


async def test_a_higher_limit_lets_the_waiting_in() -> None:
    held, came_in = Places(2), list[Visitor]()
    visitors = [Visitor(held, came_in) for _ in range(4)]
    await settled()
    assert came_in == visitors[:1]

    held.limit = 4
    await settled()

    assert came_in == visitors[:3]
    for visitor in visitors:
        visitor.go.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))


async def test_who_leaves_in_the_moment_of_being_let_in_passes_the_place_on() -> None:
    held, came_in = Places(2), list[Visitor]()
    first, second, third = (Visitor(held, came_in) for _ in range(3))
    await settled()
    held.limit = 3
    second.task.cancel()
    await settled()

    assert came_in == [first, third]
    first.go.set()
    third.go.set()
    await asyncio.gather(first.task, third.task)


async def test_patience_ends_when_nothing_moves_on() -> None:
    held, came_in = Places(2), list[Visitor]()
    first = Visitor(held, came_in)
    await settled()
    with pytest.raises(TimeoutError):
        async with held.take(long_work=True, patience=0.01):
            pass
    first.go.set()
    await first.task
    await settled()

    assert held.is_free(long_work=True)


async def test_the_time_is_counted_for_which_places_are_held() -> None:
    held, came_in = Places(2), list[Visitor]()
    counted = Occupancy()

    async def work() -> None:
        occupancy.set(counted)
        for _ in range(2):
            async with held.take(long_work=True):
                await asyncio.sleep(0.03)

    first = Visitor(held, came_in)
    await settled()
    working = asyncio.create_task(work())
    await asyncio.sleep(0.2)
    assert counted.seconds == 0, "waiting does not count"
    first.go.set()
    await working

    assert 0.05 < counted.seconds < 0.2
    assert occupancy.get() is None


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from(["come", "probe", "go", "cancel", "tick", "pause"]), st.integers(0, 30)),
        max_size=60,
    ),
)
async def test_no_place_is_ever_lost(limit: int, steps: list[tuple[str, int]]) -> None:
    """Whoever is cancelled, at whatever moment: also in the one in which the place is given to him."""
    held, came_in = Places(limit), list[Visitor]()
    visitors: list[Visitor] = []
    for step, number in steps:
        if step in ("come", "probe"):
            visitors.append(Visitor(held, came_in, long_work=step == "come"))
        elif step == "tick":
            await asyncio.sleep(0)
        elif step == "pause":
            await settled()
        elif visitors:
            visitor = visitors[number % len(visitors)]
            visitor.go.set() if step == "go" else visitor.task.cancel()
        assert len(held._taken) <= limit
    for visitor in visitors:
        visitor.go.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*(visitor.task for visitor in visitors), return_exceptions=True)
    await settled()

    assert held._taken == set()
    assert not held._waiting_long
    assert not held._waiting_briefly
