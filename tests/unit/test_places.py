"""How many connections there may be, also for ending a backend that stays."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import pytest

from plimsoll.serve.sources import places
from plimsoll.serve.sources.places import Places


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
