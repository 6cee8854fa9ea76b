"""A libpq connection whose beginning and end are in our hands: bounded, and seen to its very end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.types.string import TextLoader
from psycopg.waiting import wait_async

Row = tuple[Any, ...]
_LOOK_AGAIN = 60.0
"""Seconds after which it is asked whether an answer has come that nobody told of."""


class Link(psycopg.AsyncConnection[Row]):
    """An asynchronous connection that any await can leave at once.

    It begins with `PGconn.connect_start`; `reach` and `establish` make it usable, and `leave` ends it at any
    stage.
    """

    backend: Row | None = None
    """The number of the backend and when it began, where somebody else's query was sent to it."""
    was_told_to_end: bool = False
    """Whether somebody else's query had to be ended together with the backend."""
    _progress: int = pq.PollingStatus.WRITING

    async def reach(self) -> None:
        """Wait until the server's kernel has accepted the connection.

        Raises:
            psycopg.OperationalError: it was refused.
        """
        self._raise_if_bad()
        # libpq takes a connection that is still being made for one that stands, and would block on it.
        await _ready(self.pgconn.socket, write=True)
        self._progress = self.pgconn.connect_poll()
        self._raise_if_bad()

    async def establish(self) -> None:
        """Log in, on a connection that was reached.

        Raises:
            psycopg.OperationalError: the server does not want us.
        """
        while self._progress != pq.PollingStatus.OK:
            await _ready(self.pgconn.socket, write=self._progress == pq.PollingStatus.WRITING)
            self._progress = self.pgconn.connect_poll()
            self._raise_if_bad()
        await self._prepare_session()

    def _raise_if_bad(self) -> None:
        if self.pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(self.pgconn.get_error_message())

    async def _prepare_session(self) -> None:
        self.pgconn.nonblocking = 1
        self.prepare_threshold = None
        await self.set_autocommit(True)

    async def wait(self, gen: PQGen[Any], *_: Any, **__: Any) -> Any:
        """Wait for an operation; when cancelled stop at once, where psycopg would wait for the server."""
        # Without an interval psycopg asks again and again, and keeps a processor busy while the server works.
        return await wait_async(gen, self.pgconn.socket, interval=_LOOK_AGAIN)

    def tolerate(self) -> None:
        """Show bytes that are no UTF-8 from now on instead of failing, which takes several times as long.

        There are some in databases without an encoding, and names of databases are never converted to ours.
        """
        self.adapters.register_loader("text", _TolerantLoader)

    async def leave(self) -> int | None:
        """Close, ending what still runs; give a socket that stays open until the backend has gone."""
        if self.pgconn.status == pq.ConnStatus.BAD:
            self.pgconn.finish()
            return None
        descriptor = os.dup(self.pgconn.socket)
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            with contextlib.suppress(psycopg.Error):
                await self.cancel_safe(timeout=1)
        self.pgconn.finish()
        return descriptor


class _TolerantLoader(TextLoader):
    def load(self, data: Any) -> str:
        return str(data, "utf-8", "backslashreplace")


async def _ready(descriptor: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(descriptor, event.set)
    try:
        await event.wait()
    finally:
        remove(descriptor)
