"""What waits for the history while it is away, is slow or is not wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from plimsoll.relay import memory as module
from plimsoll.relay.alert import Alert
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.statements import Remembered
from plimsoll.relay.lives.life import End, Life
from plimsoll.relay.memory import Memory
from plimsoll.relay.settings import HistorySettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = HistorySettings.model_validate({"dsn": "host=history"})
OPEN = Life(Alert({"alertname": "Open"}, {}, NOW), NOW)
OVER = Life(Alert({"alertname": "Over"}, {}, NOW), NOW, ended=End(NOW, told=True))


class FakeStore:
    """Stands in for the database: does what it is told to do."""

    def __init__(self, *_: Any) -> None:
        self.lives: list[Life] = []
        self.deliveries: list[Delivery] = []
        self.refuses_lives = self.refuses_deliveries = self.hangs = False

    async def exchange(
        self, lives: Sequence[Life], deliveries: Sequence[Delivery], _: object, now: datetime
    ) -> Remembered:
        if self.hangs:
            await asyncio.Event().wait()
        if (lives and self.refuses_lives) or (deliveries and self.refuses_deliveries):
            raise HistoryError("no")
        self.lives += lives
        self.deliveries += deliveries
        return Remembered((), None, {})

    async def close(self) -> None:
        """Close nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = FakeStore()
    monkeypatch.setattr(module, "Store", lambda *_: store)
    return store


@pytest.fixture
async def memory(store: FakeStore) -> Memory:
    memory = Memory()
    await memory.follow(SETTINGS, 300)
    return memory


def delivery(number: int, alerts: int = 1) -> Delivery:
    identities = tuple(str(each) for each in range(alerts))
    return Delivery("ops", f"msg_{number}", identities, "delivered", 204, NOW, 0.1)


async def test_what_could_not_be_written_is_written_later(memory: Memory, store: FakeStore) -> None:
    store.refuses_lives = True
    memory.keep([OVER])
    memory.delivered(delivery(1))
    assert await memory.exchange([OPEN], NOW, NOW) is None
    assert (memory.is_up, store.deliveries) == (False, [])

    store.refuses_lives = False
    assert await memory.exchange([OPEN], NOW, NOW) is not None
    assert await memory.exchange([OPEN], NOW, NOW) is not None

    assert store.lives == [OVER, OPEN, OPEN]
    assert store.deliveries == [delivery(1)]
    assert (memory.is_up, memory.last_success) == (True, NOW)


async def test_deliveries_that_are_refused_hold_up_no_lives(memory: Memory, store: FakeStore) -> None:
    store.refuses_deliveries = True
    memory.delivered(delivery(1))
    memory.keep([OVER])

    assert await memory.exchange([OPEN], NOW, NOW) is not None

    assert (store.lives, store.deliveries, memory.is_up) == ([OVER, OPEN], [], False)
    store.refuses_deliveries = False
    await memory.exchange([], NOW, NOW)
    assert store.deliveries == [delivery(1)]


async def test_who_is_stopped_while_writing_loses_nothing(memory: Memory, store: FakeStore) -> None:
    memory.delivered(delivery(1))
    memory.keep([OVER])
    store.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await memory.exchange([OPEN], NOW, NOW)

    store.hangs = False
    await memory.exchange([], NOW, NOW)

    assert (store.lives, store.deliveries) == ([OVER], [delivery(1)])


async def test_the_oldest_deliveries_are_given_up_and_counted(memory: Memory, store: FakeStore) -> None:
    half = module._MOST_WAITING // 2 - 1
    for number in range(3):
        memory.delivered(delivery(number, half))
    assert memory.dropped == 1

    await memory.exchange([], NOW, NOW)

    assert [each.webhook_id for each in store.deliveries] == ["msg_1", "msg_2"]


async def test_a_backlog_is_written_in_portions(
    memory: Memory, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    portions: list[int] = []
    exchange = store.exchange

    async def counted(lives: Any, deliveries: Any, *others: Any) -> Remembered:
        portions.append(len(deliveries))
        return await exchange(lives, deliveries, *others)

    monkeypatch.setattr(store, "exchange", counted)
    for number in range(5):
        memory.delivered(delivery(number, module._WRITTEN_AT_ONCE // 2 - 1))

    await memory.exchange([], NOW, NOW)

    assert portions == [0, 2, 2, 1]


async def test_without_a_history_nothing_waits(memory: Memory, store: FakeStore) -> None:
    await memory.follow(None, 300)
    memory.delivered(delivery(1))
    memory.keep([OVER])
    assert await memory.exchange([OPEN], NOW, NOW) is None

    await memory.follow(SETTINGS, 300)
    await memory.exchange([], NOW, NOW)

    assert (store.lives, store.deliveries) == ([], [])
    assert memory.dropped == 0
