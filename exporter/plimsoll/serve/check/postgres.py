"""Tries a PostgreSQL server: each of its databases, and the grants."""

from __future__ import annotations

from collections.abc import AsyncIterator

from psycopg import sql

from plimsoll.config.finding import Finding
from plimsoll.serve.check.sql import try_queries
from plimsoll.serve.collectors.server import sort_out
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources.postgres import PostgresError, PostgresServer
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import Database, ServerState

_SETTLE = 2.0
"""Seconds that backends get to go away."""


async def try_server(settings: ServerSettings, entries: tuple[SqlEntry, ...]) -> AsyncIterator[Finding]:
    """Connect to a server and to each of its watched databases in turn, reading what `serve` would read."""
    server = PostgresServer(settings)
    try:
        async with server.connect() as connection:
            ((role, version, in_recovery, reads_statistics),) = await connection.read(statement("role"))
            rows = await connection.read(statement("server"))
            own_datname = connection.datname
    except PostgresError as error:
        yield Finding(settings.name, good=False, message=str(error))
        return
    databases, left_out = sort_out(rows, settings.databases)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    kind = "standby" if in_recovery else "primary"
    yield Finding(
        settings.name,
        good=True,
        message=f"PostgreSQL {version} ({kind}) as {role}; databases: {len(databases)}, left out: {reasons}",
    )
    if not reads_statistics:
        grant = sql.SQL("GRANT pg_monitor TO {};").format(sql.Identifier(role)).as_string()
        yield Finding(
            settings.name, good=False, message=f"the role lacks pg_monitor; as a superuser: {grant}"
        )
    for database in databases:
        yield await _try_database(server, settings.name, role, database)
    state = ServerState(settings, server, databases=databases, own_datname=own_datname, sql=entries)
    async for finding in try_queries(state):
        yield finding
    await server.settle(_SETTLE)


async def _try_database(server: PostgresServer, name: str, role: str, database: Database) -> Finding:
    subject = f"{name}/{database.name}"
    if not database.may_connect:
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(
            sql.Identifier(database.name), sql.Identifier(role)
        )
        message = f"the role may not connect, so its tables are not measured; {grant.as_string()}"
        return Finding(subject, good=False, message=message)
    try:
        async with server.connect(database.name) as connection:
            tables = await connection.read(statement("tables"))
    except PostgresError as error:
        return Finding(subject, good=False, message=str(error))
    return Finding(subject, good=True, message=f"{len(tables)} tables")
