"""Counts the connections that a server gives us, to the very end of each backend."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

Farewell = Callable[[], Awaitable[int | None]]
"""Ends a connection on our side; gives a socket that reports when the other side has ended too."""


class Places:
    """At most `limit` connections to one server, whoever asks, also across reloads.

    A place is free again when the backend has gone, not when we stop caring: a server that hangs keeps
    at most `limit` of our connections, however often it is scraped. Long work leaves one place to the
    probe that tells whether the server is up (unless there is only one).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._taken_by_long_work = 0
        self._freed = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def held_by_work(self) -> int:
        """Places in use, without those whose connection was given up while its backend lives on."""
        return self._taken - len(self._leaving)

    @contextlib.asynccontextmanager
    async def take(self, *, long_work: bool) -> AsyncIterator[list[Farewell]]:
        """Wait for a place and hold it. The farewells that are put into the list come before its end."""
        while not self._is_free(long_work=long_work):
            self._freed.clear()
            await self._freed.wait()
        self._taken += 1
        self._taken_by_long_work += long_work
        farewells: list[Farewell] = []
        try:
            yield farewells
        finally:
            task = asyncio.create_task(self._leave(farewells, long_work=long_work))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def settle(self, seconds: float) -> None:
        """Wait until the given-up backends have gone, but no longer than `seconds`."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=seconds)
        for task in list(self._leaving):
            task.cancel()

    def _is_free(self, *, long_work: bool) -> bool:
        if long_work and self._taken_by_long_work >= max(1, self.limit - 1):
            return False
        return self._taken < self.limit

    async def _leave(self, farewells: list[Farewell], *, long_work: bool) -> None:
        try:
            descriptors = [await farewell() for farewell in farewells]
            await asyncio.gather(*(_closed_by_peer(open_) for open_ in descriptors if open_ is not None))
        finally:
            self._taken -= 1
            self._taken_by_long_work -= long_work
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
