"""Counts the connections that a server gives us, to the very end of each backend."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Farewell = Callable[[], Awaitable[int | None]]
"""Ends a connection on our side; gives a socket that reports when the other side has ended too."""


@dataclass(eq=False)
class Place:
    """What a connection occupies, from the attempt to make it until its backend has gone."""

    long_work: bool
    at_work: bool = False
    """Whether a connection stands and is in use."""
    farewells: list[Farewell] = field(default_factory=list)
    """What to do when it is left."""


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
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def all_at_work(self) -> bool:
        """Whether healthy connections of ours occupy every place."""
        return sum(place.at_work for place in self._taken) >= self.limit

    def is_free(self, *, long_work: bool) -> bool:
        """Whether there is a place at once."""
        if long_work and sum(place.long_work for place in self._taken) >= max(1, self.limit - 1):
            return False
        return len(self._taken) < self.limit

    @contextlib.asynccontextmanager
    async def take(self, *, long_work: bool) -> AsyncIterator[Place]:
        """Wait for a place and hold it; afterwards its farewells are said, and then it is free."""
        while not self.is_free(long_work=long_work):
            self._freed.clear()
            await self._freed.wait()
        place = Place(long_work)
        self._taken.add(place)
        try:
            yield place
        finally:
            task = asyncio.create_task(self._leave(place))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def settle(self, seconds: float) -> None:
        """Wait until the given-up backends have gone, but no longer than `seconds`."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=seconds)
        for task in list(self._leaving):
            task.cancel()

    async def _leave(self, place: Place) -> None:
        place.at_work = False
        try:
            descriptors = [await farewell() for farewell in place.farewells]
            await asyncio.gather(*(_closed_by_peer(open_) for open_ in descriptors if open_ is not None))
        finally:
            self._taken.discard(place)
            self._freed.set()


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
