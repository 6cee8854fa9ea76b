"""What is said to the database within one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import dict_row

from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history.rows import as_json, life_of_row, row_of_delivery, row_of_life, subject_of, turns
from plimsoll.relay.history.sql import query
from plimsoll.relay.lives.life import Life

Item = TypeVar("Item")
Session = psycopg.AsyncConnection[tuple[Any, ...]]

_BATCH = 1000
"""Rows that one statement writes: whatever else the relay does goes on in between."""

_WRITE_SUBJECTS, _WRITE_LIVES = query("write_subjects"), query("write_lives")
_WRITE_DELIVERIES, _WRITE_PROGRESS = query("write_deliveries"), query("write_progress")
_UNRESOLVED, _ENDED, _PROGRESS = query("unresolved"), query("ended"), query("progress")

_LATELY = timedelta(minutes=15)
"""How long before Prometheus was last looked through: its series join lives that are close to each other."""


class Limits(NamedTuple):
    """From when on somebody has seen too much for an end to be true, and last_seen_at is too far behind."""

    grace: timedelta
    behind: timedelta


class Remembered(NamedTuple):
    """What the history knows: the lives that have not ended, and up to when Prometheus was looked through.

    `last_seen` of a life may be up to a minute behind. `covered_until` is None as long as nobody has looked.
    """

    unresolved: tuple[Life, ...]
    covered_until: datetime | None
    ended: Mapping[str, datetime]
    """When alerts resolved of late, by identity."""


async def write_lives(session: Session, lives: Sequence[Life], limits: Limits, now: datetime) -> None:
    """Write lives, each as one row at most."""
    subjects = [subject._asdict() for subject in sorted(set(map(subject_of, lives)))]
    await session.execute(_WRITE_SUBJECTS.encode(), {"subjects": as_json(subjects)})
    for turn in turns(lives):
        for batch in _batches(turn):
            rows = as_json([row_of_life(life) for life in batch])
            await session.execute(_WRITE_LIVES.encode(), {"lives": rows, "now": now, **limits._asdict()})


async def write_deliveries(session: Session, deliveries: Sequence[Delivery]) -> None:
    """Write deliveries, each once."""
    for batch in _batches(deliveries):
        rows = as_json([row_of_delivery(each) for each in batch])
        await session.execute(_WRITE_DELIVERIES.encode(), {"deliveries": rows})


async def write_progress(session: Session, covered_until: datetime, now: datetime) -> None:
    """Move forward up to when Prometheus was looked through."""
    await session.execute(_WRITE_PROGRESS.encode(), {"covered_until": covered_until, "now": now})


async def read(session: Session, now: datetime) -> Remembered:
    """Read back what has not ended, and what has of late."""
    covered = await (await session.execute(_PROGRESS.encode())).fetchone()
    covered_until = covered[0].astimezone(UTC) if covered and covered[0] else None
    async with session.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_UNRESOLVED.encode())
        unresolved = tuple(map(life_of_row, await cursor.fetchall()))
        await cursor.execute(_ENDED.encode(), {"since": (covered_until or now) - _LATELY})
        ended = {row["fingerprint"]: row["resolved_at"].astimezone(UTC) for row in await cursor.fetchall()}
    return Remembered(unresolved, covered_until, ended)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
