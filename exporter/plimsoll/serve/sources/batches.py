"""Reads about many objects, a batch a statement; a batch that fails is split until the culprit is alone."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason, StatementRefusedError


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


class Measured(Protocol):
    """What was measured at some time (seconds since the epoch)."""

    @property
    def measured_at(self) -> float:
        """The time."""


def oldest_first(oids: Iterable[int], known: Mapping[int, Measured]) -> list[int]:
    """Order oids so that, where the budget never suffices, each has its turn; the unknown come first."""
    return sorted(oids, key=lambda oid: known[oid].measured_at if oid in known else 0.0)


async def read_in_batches(
    oids: Sequence[int],
    size: int,
    read: Callable[[Sequence[int]], Awaitable[list[Row]]],
    budget: Budget | None = None,
) -> tuple[list[Row], dict[int, Reason]]:
    """Read about `oids`, at most `size` at a time.

    Returns:
        The rows, and the objects that could not be read with the reason for each; those that the budget
        did not suffice for have the reason `timeout`.

    Raises:
        PostgresError: the connection failed, so nothing more can be read.
    """
    budget = budget or Budget()
    rows: list[Row] = []
    refused: dict[int, Reason] = {}
    waiting = deque(oids[start : start + size] for start in range(0, len(oids), size))
    while waiting:
        batch = waiting.popleft()
        if budget.is_spent:
            refused |= dict.fromkeys(batch, "timeout")
            continue
        try:
            rows += await read(batch)
        except StatementRefusedError as error:
            if len(batch) == 1:
                refused[batch[0]] = error.reason
            else:
                middle = len(batch) // 2
                waiting.extendleft((batch[middle:], batch[:middle]))
    return rows, refused
