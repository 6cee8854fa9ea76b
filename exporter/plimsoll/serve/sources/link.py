"""A libpq connection whose beginning and end are in our hands: bounded, and seen to its very end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.waiting import wait_async

Row = tuple[Any, ...]


class Link(psycopg.AsyncConnection[Row]):
    """An asynchronous connection that any await can leave at once.

    It begins with `PGconn.connect_start`, `establish` makes it usable, and `leave` ends it at any stage.
    """

    async def establish(self) -> None:
        """Drive libpq's connection state machine until the session stands."""
        while self.pgconn.status != pq.ConnStatus.BAD:
            match self.pgconn.connect_poll():
                case pq.PollingStatus.OK:
                    await self._prepare_session()
                    return
                case pq.PollingStatus.READING:
                    await _ready(self.pgconn.socket, write=False)
                case pq.PollingStatus.WRITING:
                    await _ready(self.pgconn.socket, write=True)
                case _:
                    break
        raise psycopg.OperationalError(self.pgconn.get_error_message())

    async def _prepare_session(self) -> None:
        self.pgconn.nonblocking = 1
        self.prepare_threshold = None
        await self.set_autocommit(True)

    async def wait(self, gen: PQGen[Any], *_: Any, **__: Any) -> Any:
        """Wait for an operation; when cancelled stop at once, where psycopg would wait for the server."""
        return await wait_async(gen, self.pgconn.socket)

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


async def _ready(descriptor: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(descriptor, event.set)
    try:
        await event.wait()
    finally:
        remove(descriptor)
