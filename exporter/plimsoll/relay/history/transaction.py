"""How every transaction on the history begins."""

from __future__ import annotations

from typing import Any

import psycopg

from plimsoll.relay.history.sql import query

_BEGIN = query("begin")
_LOCK_TIMEOUT = 4.0
"""Seconds for which a statement waits for somebody else's lock."""
_IDLE_TIMEOUT = 15.0
"""Seconds after which the server ends a transaction of a relay that is silent."""


async def begin(connection: psycopg.AsyncConnection[Any], statement_timeout: float) -> None:
    """Begin, as soon as no other relay is at it; `statement_timeout` in seconds, 0 is none.

    Everything is set for the transaction only, so that a pooler may stand in between.

    Raises:
        psycopg.Error: the connection is lost, or another relay does not come to an end.
    """
    text = _BEGIN.format(
        statement_timeout=_milliseconds(statement_timeout),
        lock_timeout=_milliseconds(_LOCK_TIMEOUT),
        idle_timeout=_milliseconds(_IDLE_TIMEOUT),
    )
    await connection.execute(text.encode())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
