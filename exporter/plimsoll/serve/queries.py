"""Which custom queries run where and when, what of them is published, and how their failures are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plimsoll.serve.jobs import RETRY, is_due
from plimsoll.serve.settings.sql import Query, SqlEntry
from plimsoll.serve.sources.postgres import PostgresError
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.state.sql import Outcome, Series

_COSTLY = ("timeout", "connection")
"""Reasons for which a query that was run is left alone for its whole interval."""
_LONGEST_TOLD = 200
"""Characters of a message in the log: it may quote rows."""


class QueriesFailedError(PostgresError):
    """Some queries of a database failed; which and why is the trouble, not how the server words it."""

    def __init__(self, failed: Sequence[Outcome], count: int) -> None:
        told = (f"{'/'.join(each.query.key)} ({each.reason}: {_cut(each.message)})" for each in failed[:5])
        super().__init__(f"{len(failed)} of {count} queries failed: {'; '.join(told)}")
        self._failed = frozenset((each.query.key, each.reason) for each in failed)

    @property
    def gist(self) -> object:
        """What the trouble is."""
        return self._failed


def planned(state: ServerState) -> Mapping[str, Sequence[Query]]:
    """Give what is run in which database, each query once."""
    plan: dict[str, dict[tuple[str, str], Query]] = {}
    for entry in state.sql:
        for name in _databases_of(entry, state):
            for query in entry.queries:
                plan.setdefault(name, {}).setdefault(query.key, query)
    return {name: tuple(queries.values()) for name, queries in plan.items()}


def _databases_of(entry: SqlEntry, state: ServerState) -> Sequence[str]:
    if state.own_datname is None:  # nobody has asked the server yet
        return ()
    if entry.databases is None:
        return (state.own_datname,)
    return [each.name for each in state.databases if entry.databases.wanted(each.name)]


def idle(state: ServerState) -> list[SqlEntry]:
    """Give the entries that select no database, once it is known which there are."""
    if state.own_datname is None:
        return []
    return [entry for entry in state.sql if not _databases_of(entry, state)]


def nowhere(entry: SqlEntry, state: ServerState) -> str:
    """Say why an entry runs nowhere."""
    watched = ", ".join(each.name for each in state.databases[:10]) or "none"
    more = ", …" if len(state.databases) > 10 else ""
    return f"{', '.join(entry.names)}: `databases` selects none of those that are watched: {watched}{more}"


def last_of(state: ServerState, datname: str, query: Query) -> Outcome | None:
    """Give what came of a query, unless a reload has changed it since."""
    outcome = state.outcomes.get(datname, {}).get(query.key)
    return outcome if outcome and outcome.query.gives_what(query) else None


def published(query: Query, outcome: Outcome, oldest: float) -> Series:
    """Give the series that are published: counters live, gauges while they are not too old."""
    is_shown = {"counter": outcome.is_live, "gauge": outcome.measured_at >= oldest}
    kinds = {metric.metric_name: metric.kind for metric in query.metrics}
    return {name: outcome.series.get(name, {}) for name, kind in kinds.items() if is_shown[kind]}


def has_its_turn(query: Query, last: Outcome | None, now: float) -> bool:
    """Say whether a query is to be run again (now: seconds of the monotonic clock)."""
    if last is None:
        return True
    return is_due(last.started, query.interval if last.is_live else _pause(query, last), now)


def _pause(query: Query, last: Outcome) -> float:
    """Give the seconds after which a query is tried again that failed, or was given up."""
    if last.has_run and last.reason in _COSTLY:
        return max(query.interval, RETRY)
    return min(query.interval, RETRY)


def complain_about(outcomes: Sequence[Outcome | None]) -> None:
    """Tell of the queries that failed.

    Raises:
        QueriesFailedError: there are some.
    """
    failed = [outcome for outcome in outcomes if outcome and outcome.reason]
    if failed:
        raise QueriesFailedError(failed, len(outcomes))


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST_TOLD else f"{message[: _LONGEST_TOLD - 1]}…"
