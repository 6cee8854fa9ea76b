"""Counts the connections that a server gives us, to the very end of each backend."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

Farewell = Callable[[], Awaitable[int | None]]
"""Ends a connection on our side; gives a socket that reports when the other side has ended too."""

_PATIENCE = 5.0
"""Seconds that a backend gets to end by itself, after its statement was cancelled."""
_LONGEST_PATIENCE = 60.0
"""Seconds between attempts to end one that does not."""


@dataclass(eq=False)
class Place:
    """What a connection occupies, from the attempt to make it until its backend has gone."""

    long_work: bool
    at_work: bool = False
    """Whether a connection stands and is in use."""
    farewells: list[Farewell] = field(default_factory=list)
    """What to do when it is left."""
    end: Callable[[], Awaitable[None]] | None = None
    """Ends the backend from outside, as far as that is possible; it never raises."""


class Places:
    """At most `limit` connections to one host, whoever asks, also across reloads.

    A place is free again when the backend has gone, not when we stop caring: a server that hangs keeps
    at most `limit` of our connections, however often it is scraped. Long work leaves one place to the
    probe that tells whether the server is up (unless there is only one).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: set[Place] = set()
        self._freed = asyncio.Event()
        self._turns = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self._spare: Places | None = None

    @property
    def for_ending(self) -> Places:
        """Where a connection that ends a backend has its place: the probe's or, for want of it, one more."""
        if self.limit > 1:
            return self
        self._spare = self._spare or Places(1)
        return self._spare

    @property
    def all_at_work(self) -> bool:
        """Whether healthy connections of ours occupy every place."""
        return sum(place.at_work for place in self._taken) >= self.limit

    @property
    def state(self) -> str:
        """Say what the places are taken by."""
        at_work = sum(place.at_work for place in self._taken)
        return f"{at_work} at work, {len(self._taken) - at_work} not ended by the server"

    def is_free(self, *, long_work: bool) -> bool:
        """Whether there is a place at once."""
        if long_work and sum(place.long_work for place in self._taken) >= max(1, self.limit - 1):
            return False
        return len(self._taken) < self.limit

    @contextlib.asynccontextmanager
    async def take(self, *, long_work: bool, patience: float | None = None) -> AsyncIterator[Place]:
        """Wait for a place and hold it; afterwards its farewells are said, and then it is free.

        Raises:
            TimeoutError: for `patience` seconds no long work has come to its end.
        """
        await self._wait(long_work=long_work, patience=patience)
        place = Place(long_work)
        self._taken.add(place)
        try:
            yield place
        finally:
            task = asyncio.create_task(self._leave(place))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _wait(self, *, long_work: bool, patience: float | None) -> None:
        """Wait for a place; where many are waited for, those who wait long are not to give up."""
        async with asyncio.timeout(patience) as limit:
            while not self.is_free(long_work=long_work):
                turns = self._turns
                self._freed.clear()
                await self._freed.wait()
                if patience is not None and self._turns > turns:
                    limit.reschedule(asyncio.get_running_loop().time() + patience)

    async def settle(self, seconds: float) -> None:
        """Wait `seconds` until the given-up backends have gone, and end those that stay."""
        await self._emptied(seconds)
        if stubborn := [place.end() for place in self._taken if place.end]:
            await asyncio.gather(*stubborn)
            await self._emptied(seconds)
        for task in list(self._leaving):
            task.cancel()
        if self._spare:
            await self._spare.settle(seconds)

    async def _emptied(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._taken:
                    self._freed.clear()
                    await self._freed.wait()

    async def _leave(self, place: Place) -> None:
        place.at_work = False
        try:
            descriptors = [await farewell() for farewell in place.farewells]
            await _gone(place, [open_ for open_ in descriptors if open_ is not None])
        finally:
            self._taken.discard(place)
            self._turns += place.long_work
            self._freed.set()


async def _gone(place: Place, descriptors: Iterable[int]) -> None:
    """Wait for the other side; a backend that stays is ended, as a function may swallow its cancellation."""
    closing = asyncio.gather(*map(_closed_by_peer, descriptors))
    patience = _PATIENCE
    try:
        while not (await asyncio.wait({closing}, timeout=patience))[0]:
            patience = min(2 * patience, _LONGEST_PATIENCE)
            if place.end:
                await place.end()
    finally:
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing


async def _closed_by_peer(descriptor: int) -> None:
    """Read until the other side closes, or the kernel's keep-alive declares it dead.

    PostgreSQL leaves its socket open until the process ends, for exactly this purpose ("synchronous
    close", socket_close() in src/backend/libpq/pqcomm.c).
    """
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            # A backend that still waits for a password is not told by libpq, and would wait for a minute.
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, 65536):
                pass
