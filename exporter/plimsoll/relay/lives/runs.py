"""Runs: the times for which an alert fired without a break, as the samples of a series tell them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Span(NamedTuple):
    """The first and the last moment of something; both are the same for what was seen once."""

    first: datetime
    last: datetime


class Run(NamedTuple):
    """An alert that fired without a break: when it was first and last seen to."""

    labels: Mapping[str, str]
    first: datetime
    last: datetime


def split(samples: Iterable[float], tolerance: float) -> list[Span]:
    """Cut the samples of a series where one is more than `tolerance` seconds after the one before it.

    Args:
        samples: their times in ascending order, as Unix time in seconds with milliseconds.
        tolerance: seconds.
    """
    spans: list[tuple[float, float]] = []
    for time in samples:
        # Times near 2e9 with milliseconds are not exact: half a millisecond more is no difference.
        if spans and time - spans[-1][1] <= tolerance + 0.0005:
            spans[-1] = (spans[-1][0], time)
        else:
            spans.append((time, time))
    return [Span(_moment(first), _moment(last)) for first, last in spans]


def join(runs: Iterable[Run], tolerance: float) -> list[Run]:
    """Make one of runs with the same labels that overlap, or lie at most `tolerance` seconds apart.

    Returns:
        What is left, the earliest first.
    """
    joined: dict[frozenset[tuple[str, str]], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.first):
        before = joined.setdefault(frozenset(run.labels.items()), [])
        if before and run.first - before[-1].last <= timedelta(seconds=tolerance):
            before[-1] = before[-1]._replace(last=max(before[-1].last, run.last))
        else:
            before.append(run)
    return sorted((run for runs in joined.values() for run in runs), key=lambda run: run.first)


def chunks(since: datetime, until: datetime, longest: timedelta) -> Iterator[Span]:
    """Cut a time into pieces of at most a length, the earliest first; none where it ends before it begins."""
    while since < until:
        end = min(since + longest, until)
        yield Span(since, end)
        since = end


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
