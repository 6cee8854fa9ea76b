"""What is known of the queries of collector files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.serve.settings.sql import Query

Labels = tuple[tuple[str, str], ...]
"""Names and values of the labels that one series has of its own, by name, without the empty ones."""

Series = Mapping[str, Mapping[Labels, float]]
"""Values by labels, by metric."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a query when it was last due; `series` is of its last success.

    `measured_at` is in seconds since the epoch, `started`, when the turn began in
    which it was due, in seconds of the monotonic clock.
    """

    query: Query
    started: float
    duration: float
    reason: str | None
    message: str
    rows: int
    series: Series
    measured_at: float
    is_live: bool
    has_run: bool = True
    """Whether it was sent to the server at all."""


Outcomes = Mapping[tuple[str, str], Outcome]
"""By collector file and query, in one database."""
