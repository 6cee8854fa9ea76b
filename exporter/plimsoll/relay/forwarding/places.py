"""How many may do something at once, and how many may wait for that."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator


class NoPlaceError(RuntimeError):
    """Everything is taken, and stays so for too long."""


class Places:
    """At most `limit` at once; whoever waits comes in turn, and at most `waiting_limit` wait."""

    def __init__(self, limit: int, waiting_limit: int) -> None:
        self._limit = limit
        self._waiting_limit = waiting_limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, limit: int) -> None:
        """Have another limit; who has a place already keeps it."""
        self._limit = limit
        self._admit()

    @contextlib.asynccontextmanager
    async def take(self, seconds: float) -> AsyncIterator[None]:
        """Wait for a place, and hold it.

        Raises:
            NoPlaceError: none is free within `seconds`, or too many wait already.
        """
        await self._enter(seconds)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, seconds: float) -> None:
        if len(self._waiting) >= self._waiting_limit:
            raise NoPlaceError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            self._renounce(turn)
            raise NoPlaceError from None
        except asyncio.CancelledError:
            self._renounce(turn)
            raise

    def _renounce(self, turn: asyncio.Future[None]) -> None:
        """Take back a wish, which may have been granted at the last moment."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif not turn.cancelled():
            self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._taken += 1
