"""Tries the queries of collector files: each is run once, as `serve` would run it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from plimsoll.config.finding import Finding
from plimsoll.serve.collectors.sql import connection_to, run
from plimsoll.serve.queries import idle, nowhere, planned
from plimsoll.serve.series import RowsRefusedError, refuse_taken
from plimsoll.serve.settings.sql import Query
from plimsoll.serve.sources.postgres import PostgresError, StatementRefusedError
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.state.sql import Series

_PATIENCE = 60.0
"""Seconds to wait for the backend of the query before."""


async def try_queries(state: ServerState) -> AsyncIterator[Finding]:
    """Run every query in each of its databases, and tell what came of it."""
    for entry in idle(state):
        yield Finding(state.settings.name, good=False, message=nowhere(entry, state))
    for datname, queries in planned(state).items():
        known: list[Series] = []
        for query in queries:
            yield await _try_query(state, datname, query, known)


async def _try_query(state: ServerState, datname: str, query: Query, known: list[Series]) -> Finding:
    """Run a query; what it gives is added to what is known."""
    subject, name = f"{state.settings.name}/{datname}", f"query {'/'.join(query.key)}"
    try:
        async with connection_to(state, datname, _PATIENCE) as connection:
            rows, series = await run(connection, query)
        refuse_taken(query, series, known)
    except (StatementRefusedError, RowsRefusedError) as error:
        return Finding(subject, good=False, message=f"{name} ({error.reason}): {error}")
    except PostgresError as error:
        return Finding(subject, good=False, message=f"{name} (connection): {error}")
    known.append(series)
    count = sum(map(len, series.values()))
    return Finding(subject, good=True, message=f"{name}: {rows} rows, {count} series")
