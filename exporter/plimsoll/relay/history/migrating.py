"""Brings the schema of the history to a version, up or down.

The role needs the right to connect, and CREATE on the database for the first start, when it makes the schema
`plimsoll`; from then on it owns what it uses. An administrator who does not want to give that right makes the
schema: `CREATE SCHEMA plimsoll AUTHORIZATION the_role`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.migrations import Migration, migrations
from plimsoll.relay.history.sql import query
from plimsoll.relay.history.transaction import begin

MIGRATIONS = migrations()
NEWEST = len(MIGRATIONS)
"""The version that this program works with."""

_DROP_SCHEMA, _CREATE_SCHEMA = query("drop_schema"), query("create_schema")


class Migrated(NamedTuple):
    """The version of the schema before and after; 0 is none."""

    before: int
    after: int


async def migrate(connection: psycopg.AsyncConnection[Any], target: int | None = None) -> Migrated:
    """Bring the schema to version `target`, or to the newest, in one transaction: all of it or nothing.

    Relays that do so at once do it one after another. It takes as long as it takes, but waits for a lock for
    seconds only. The connection must be in autocommit mode and outside of a transaction.

    Raises:
        HistoryError: there is no such version, or the database's is newer than this program knows.
        psycopg.Error: the database refused; it is as it was before.
    """
    await begin(connection, statement_timeout=0)
    try:
        migrated = await apply(connection, target)
        await connection.execute("COMMIT")
    finally:
        if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            await connection.execute("ROLLBACK")
    return migrated


async def apply(connection: psycopg.AsyncConnection[Any], target: int | None = None) -> Migrated:
    """Do it within a transaction that has begun, by `begin`."""
    before = await _version(connection)
    after = NEWEST if target is None else target
    _check(before, after)
    if before == 0 < after:
        await connection.execute(_CREATE_SCHEMA.encode())
    for migration in MIGRATIONS[before:after]:
        await _up(connection, migration)
    for migration in reversed(MIGRATIONS[after:before]):
        await _down(connection, migration)
    if after == 0 < before:
        await connection.execute(_DROP_SCHEMA.encode())
    return Migrated(before, after)


def _check(before: int, after: int) -> None:
    if not 0 <= after <= NEWEST:
        raise HistoryError(f"the history's schema has no version {after}: 0 to {NEWEST} are known")
    if before > NEWEST:
        raise HistoryError(
            f"the history's schema has version {before}, and this program knows none above {NEWEST}: run the"
            f" newer relay that made it, or let that one go back with --history.schema={NEWEST}"
        )


async def _version(connection: psycopg.AsyncConnection[Any]) -> int:
    cursor = await connection.execute("SELECT to_regclass('plimsoll.schema_version') IS NOT NULL")
    (exists,) = await cursor.fetchone() or (False,)
    if not exists:
        return 0
    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM plimsoll.schema_version")
    (version,) = await cursor.fetchone() or (0,)
    return int(version)


async def _up(connection: psycopg.AsyncConnection[Any], migration: Migration) -> None:
    await connection.execute(migration.up.encode())
    await connection.execute(
        "INSERT INTO plimsoll.schema_version (version, name) VALUES (%s, %s)",
        (migration.version, migration.name),
    )


async def _down(connection: psycopg.AsyncConnection[Any], migration: Migration) -> None:
    await connection.execute(migration.down.encode())
    await connection.execute("DELETE FROM plimsoll.schema_version WHERE version = %s", (migration.version,))
