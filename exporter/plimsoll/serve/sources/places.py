"""Counts the connections that a server gives us, to the very end of each backend."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
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


@dataclass
class Occupancy:
    """For how many seconds somebody has held places, waiting for them not included."""

    seconds: float = 0.0


occupancy: ContextVar[Occupancy | None] = ContextVar("occupancy", default=None)
"""Where the present task wants the time counted for which it holds places."""


def places_for_long_work(limit: int) -> int:
    """Give how many of `limit` connections long work may have: one is the probe's, unless it is alone."""
    return max(1, limit - 1)


class Places:
    """At most `limit` connections to one host, whoever asks, also across reloads.

    A place is free again when the backend has gone, not when we stop caring: a server that hangs keeps
    at most `limit` of our connections, however often it is scraped. Long work leaves one place to the
    probe that tells whether the server is up (unless there is only one). Who has waited longest is next.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: set[Place] = set()
        # Not deques: whoever gives up leaves from the middle.
        self._waiting_briefly: OrderedDict[asyncio.Future[Place], None] = OrderedDict()
        self._waiting_long: OrderedDict[asyncio.Future[Place], None] = OrderedDict()
        self._freed = asyncio.Event()
        self._turned_at = -math.inf
        self._leaving: set[asyncio.Task[None]] = set()
        self._spare: Places | None = None

    @property
    def limit(self) -> int:
        """How many connections there may be."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

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
    def is_empty(self) -> bool:
        """Whether nobody holds a place."""
        return not self._taken

    @property
    def state(self) -> str:
        """Say what the places are taken by."""
        at_work = sum(place.at_work for place in self._taken)
        return f"{at_work} at work, {len(self._taken) - at_work} not ended by the server"

    def is_free(self, *, long_work: bool) -> bool:
        """Whether there is a place at once."""
        if long_work and sum(place.long_work for place in self._taken) >= places_for_long_work(self.limit):
            return False
        return len(self._taken) < self.limit

    @contextlib.asynccontextmanager
    async def take(self, *, long_work: bool, patience: float | None = None) -> AsyncIterator[Place]:
        """Wait for a place and hold it; afterwards its farewells are said, and then it is free.

        Raises:
            TimeoutError: for `patience` seconds no long work has come to its end.
        """
        place = await self._granted(long_work=long_work, patience=patience)
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            yield place
        finally:
            if counted := occupancy.get():
                counted.seconds += loop.time() - since
            task = asyncio.create_task(self._leave(place))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _granted(self, *, long_work: bool, patience: float | None) -> Place:
        """Wait for a place; where many are waited for, those who wait long are not to give up."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        granted: asyncio.Future[Place] = loop.create_future()
        waiting = self._waiting_long if long_work else self._waiting_briefly
        waiting[granted] = None
        self._admit()
        try:
            while not granted.done():
                rest = None if patience is None else max(since, self._turned_at) + patience - loop.time()
                if rest is not None and rest <= 0:
                    raise TimeoutError
                await asyncio.wait({granted}, timeout=rest)
            return granted.result()
        except BaseException:
            waiting.pop(granted, None)
            if granted.done():  # just now, to one who is leaving: the next is to have it
                self._free(granted.result())
            raise

    def _admit(self) -> None:
        """Give what is free to those who have waited longest, the probe first."""
        for waiting, long_work in ((self._waiting_briefly, False), (self._waiting_long, True)):
            while waiting and self.is_free(long_work=long_work):
                granted, _ = waiting.popitem(last=False)
                place = Place(long_work)
                self._taken.add(place)
                granted.set_result(place)

    def _free(self, place: Place) -> None:
        self._taken.discard(place)
        self._freed.set()
        self._admit()

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
            if place.long_work:
                self._turned_at = asyncio.get_running_loop().time()
            self._free(place)


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
