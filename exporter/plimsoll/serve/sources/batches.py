"""Reads about many objects, a batch a statement; a batch that fails is split until the culprit is alone."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason, StatementRefusedError

_STATEMENT_SECONDS = 1.0
"""Seconds that a statement about many objects is to take."""


class Budget:
    """Seconds that several statements may take together, counted from now."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds

    @classmethod
    def of_pass(cls, statement_timeout: float) -> Budget:
        """Give ten times the time of one statement: on a disk that hangs, splitting would never end."""
        return cls(10 * statement_timeout)

    @property
    def is_spent(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self._end


class Pace:
    """How many objects a statement is about: at most so many, and so many that it takes about a second.

    A statement that its timeout ends has cost all of that time, and measured nothing.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = most

    def learn(self, count: int, seconds: float) -> None:
        """Take into account that a statement about `count` objects took so long."""
        fitting = round(count * _STATEMENT_SECONDS / seconds) if seconds > 0 else self._most
        self.size = max(1, min(self._most, fitting, 2 * self.size))


class Reading(NamedTuple):
    """What was read about many objects."""

    rows: list[Row]
    refused: dict[int, Reason]
    """Objects that could not be read."""
    left: list[int]
    """Objects that the time did not suffice for."""


async def read_in_time(
    oids: Sequence[int], pace: Pace, read: Callable[[Sequence[int]], Awaitable[list[Row]]], budget: Budget
) -> Reading:
    """Read about `oids`, until all is read or the time is up.

    Raises:
        PostgresError: the connection failed, so nothing more can be read.
    """
    reading = Reading([], {}, [])
    ahead = deque(oids)
    halves: list[Sequence[int]] = []
    while (ahead or halves) and not budget.is_spent:
        batch = halves.pop() if halves else [ahead.popleft() for _ in range(min(pace.size, len(ahead)))]
        started = time.monotonic()
        try:
            reading.rows.extend(await read(batch))
        except StatementRefusedError as error:
            if len(batch) == 1:
                reading.refused[batch[0]] = error.reason
            else:
                middle = len(batch) // 2
                halves += (batch[middle:], batch[:middle])
        pace.learn(len(batch), time.monotonic() - started)
    reading.left.extend(oid for batch in (*reversed(halves), ahead) for oid in batch)
    return reading


async def read_in_batches(
    oids: Sequence[int],
    size: int,
    read: Callable[[Sequence[int]], Awaitable[list[Row]]],
    budget: Budget | None = None,
) -> tuple[list[Row], dict[int, Reason]]:
    """Read about `oids`, at most `size` at a time, and fewer where statements take long.

    Returns:
        The rows, and the objects that could not be read with the reason for each; those that the budget
        did not suffice for have the reason `timeout`.

    Raises:
        PostgresError: the connection failed, so nothing more can be read.
    """
    rows, refused, left = await read_in_time(oids, Pace(size), read, budget or Budget())
    return rows, refused | dict.fromkeys(left, "timeout")
