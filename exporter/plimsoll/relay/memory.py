"""Between the relay and its history: what is not written yet, while the database is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog

from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.statements import Remembered
from plimsoll.relay.history.store import Store
from plimsoll.relay.lives.life import Life
from plimsoll.relay.settings import HistorySettings

_log = structlog.get_logger(__name__)

_MOST_KEPT = 10_000
"""Ended lives that wait for the database at most; the oldest are given up first."""

_MOST_WAITING = 100_000
"""Deliveries and alerts in them that wait at most, together: some 20 MB."""

_WRITTEN_AT_ONCE = 10_000
"""The same, for one transaction."""


class Memory:
    """Writes to the history, and keeps what could not be written."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._opened: tuple[HistorySettings, float] | None = None
        self._is_wanted = True
        """Whether there is a history; nobody has said that there is none."""
        self._ended: deque[Life] = deque(maxlen=_MOST_KEPT)
        self._deliveries: deque[Delivery] = deque()
        self._waiting = 0
        """How large they are, all together."""
        self.is_up: bool | None = None
        """Whether it could be written the last time; None before the first, and without a history."""
        self.last_success: datetime | None = None
        self.dropped = 0
        """Deliveries that were given up."""

    async def follow(self, settings: HistorySettings | None, grace: float) -> bool:
        """Write to another history from now on, or to none; say whether it is another than before."""
        self._is_wanted = settings is not None
        wanted = (settings, grace) if settings else None
        if wanted == self._opened:
            return False
        await self.close()
        self._opened, self.is_up = wanted, None
        self._store = Store(settings, grace) if settings else None
        return True

    def delivered(self, delivery: Delivery) -> None:
        """Take a delivery, to be written with the next exchange."""
        if not self._is_wanted:
            return
        self._deliveries.append(delivery)
        self._waiting += _size(delivery)
        while self._waiting > _MOST_WAITING:
            self._forget_first()
            self.dropped += 1

    async def recall(self, now: datetime) -> Remembered | None:
        """Give what the history knows, without telling it anything; None without one, or while it is away."""
        return await self._exchange((), (), None, now)

    def keep(self, ended: Iterable[Life]) -> None:
        """Take lives that have ended, to be written with the next exchange."""
        for life in ended if self._is_wanted else ():
            if len(self._ended) == _MOST_KEPT:
                _log.warning("history was away for too long: the end of an alert is lost")
            self._ended.append(life)

    async def exchange(
        self, lives: Iterable[Life], covered_until: datetime | None, now: datetime
    ) -> Remembered | None:
        """Write what is known, and give what the history knows; None without one, or while it is away.

        Args:
            lives: those that are not over.
            covered_until: up to when Prometheus' series have been looked through.
            now: the time.
        """
        remembered = await self._exchange([*self._ended, *lives], (), covered_until, now)
        if remembered is not None:
            self._ended.clear()
            await self._write_deliveries(now)
        return remembered

    async def prune(self, now: datetime) -> None:
        """Let the history forget what is too old or too much."""
        if self._store is None or not self.is_up:
            return
        try:
            if removed := await self._store.prune(now):
                _log.info("old history removed", rows=removed)
        except HistoryError as error:
            self._note(error)

    async def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            await self._store.close()

    async def _write_deliveries(self, now: datetime) -> None:
        """Write what waits, some at a time: lives are written already, whatever becomes of these."""
        while deliveries := self._first():
            if await self._exchange((), deliveries, None, now) is None:
                return
            for delivery in deliveries:
                if self._deliveries and self._deliveries[0] is delivery:  # else it was given up meanwhile
                    self._forget_first()

    def _first(self) -> list[Delivery]:
        """Give the first deliveries: about as many as one transaction writes in a second."""
        found: list[Delivery] = []
        size = 0
        for delivery in self._deliveries:
            size += _size(delivery)
            if found and size > _WRITTEN_AT_ONCE:
                break
            found.append(delivery)
        return found

    def _forget_first(self) -> None:
        self._waiting -= _size(self._deliveries.popleft())

    async def _exchange(
        self,
        lives: Sequence[Life],
        deliveries: Sequence[Delivery],
        covered_until: datetime | None,
        now: datetime,
    ) -> Remembered | None:
        if self._store is None:
            return None
        try:
            remembered = await self._store.exchange(lives, deliveries, covered_until, now)
        except HistoryError as error:
            self._note(error)
            return None
        if self.is_up is False:
            _log.info("history is written again")
        self.is_up, self.last_success = True, now
        return remembered

    def _note(self, error: HistoryError) -> None:
        if self.is_up is not False:
            _log.error("history cannot be written; what happens meanwhile is kept", error=str(error))
        self.is_up = False


def _size(delivery: Delivery) -> int:
    return 1 + len(delivery.identities)
