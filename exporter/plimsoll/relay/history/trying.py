"""Tries the history's database as the relay would use it, and writes nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.link import Link
from plimsoll.relay.history.migrating import NEWEST, apply
from plimsoll.relay.history.sql import query

_RIGHTS = query("rights")

_MAKE_SCHEMA = sql.SQL("GRANT CREATE ON DATABASE {database} TO {role};")
_MAKE_TABLES = sql.SQL("GRANT USAGE, CREATE ON SCHEMA plimsoll TO {role};")
_WRITE = sql.SQL(
    "GRANT USAGE ON SCHEMA plimsoll TO {role};"
    " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plimsoll TO {role};"
)


class Rights(NamedTuple):
    """What stands in a database, and what the role may do there."""

    role: str
    database: str
    release: str
    may_make_schema: bool
    has_schema: bool
    may_make_tables: bool
    has_tables: bool
    owner: str | None
    """Of the tables."""
    is_owner: bool
    """Or may act as if it were."""
    may_write: bool


async def try_history(conninfo: str) -> str:
    """Tell what the relay will find, in 10 seconds at most.

    Raises:
        HistoryError: the relay could not work with that; the message says what would help.
    """
    link = Link(conninfo)
    try:
        async with link.transaction() as session:
            await session.execute("SET TRANSACTION READ ONLY")
            rights = await _rights(session)
            work = await _work(session, rights)
    finally:
        await link.close()
    return f"PostgreSQL {rights.release} as {rights.role}; {work}"


async def _rights(session: psycopg.AsyncConnection[Any]) -> Rights:
    async with session.cursor(row_factory=class_row(Rights)) as cursor:
        await cursor.execute(_RIGHTS.encode())
        (rights,) = await cursor.fetchall()
    return rights


async def _work(session: psycopg.AsyncConnection[Any], rights: Rights) -> str:
    """Say what there is to do for the relay when it starts."""
    if not rights.has_tables:
        return _first(rights)
    if not rights.may_write:
        raise _lacking(rights, "write into the tables of the schema plimsoll", _WRITE)
    version = await _version(session)
    if version >= NEWEST:
        await apply(session)  # refuses what is newer, and has nothing to do otherwise
        return f"the schema plimsoll has version {version}"
    if not (rights.is_owner and rights.may_make_tables):
        raise HistoryError(
            f"the schema plimsoll has version {version}, and only {rights.owner} can bring it to {NEWEST}:"
            f" run `plimsoll relay --history.schema={NEWEST}` with a dsn of that role"
        )
    return f"the relay will bring the schema plimsoll from version {version} to {NEWEST}"


def _first(rights: Rights) -> str:
    if rights.has_schema and not rights.may_make_tables:
        raise _lacking(rights, "make tables in the schema plimsoll", _MAKE_TABLES)
    if not rights.has_schema and not rights.may_make_schema:
        raise _lacking(rights, "make the schema plimsoll", _MAKE_SCHEMA)
    made = "tables in the schema plimsoll" if rights.has_schema else "the schema plimsoll"
    return f"the relay will make {made}"


def _lacking(rights: Rights, what: str, grant: sql.SQL) -> HistoryError:
    names = {"database": sql.Identifier(rights.database), "role": sql.Identifier(rights.role)}
    statement = grant.format(**names).as_string()
    return HistoryError(f"the role {rights.role} may not {what}; as a superuser: {statement}")


async def _version(session: psycopg.AsyncConnection[Any]) -> int:
    cursor = await session.execute("SELECT coalesce(max(version), 0) FROM plimsoll.schema_version")
    (version,) = await cursor.fetchone() or (0,)
    return int(version)
