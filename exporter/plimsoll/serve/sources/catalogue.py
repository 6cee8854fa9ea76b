"""Looks at the tables of a database without measuring any: what there is, and what may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection
from plimsoll.serve.sources.sql import statement

_CHANGES = statement("changes")
_INHERITANCE = statement("inheritance")
_STORAGE = statement("storage")
_TABLES = statement("tables")


class Signs(NamedTuple):
    """Signs of change, each of which means something only beside that of another look."""

    epoch: str
    """Another one: counters may have begun anew, by a crash or a reset of statistics."""
    storage: str | None
    """Another one: indexes or TOAST relations were built, rebuilt, moved or dropped."""
    inheritance: str | None
    """Another one: partitions, or children, were attached or detached."""


class Listed(NamedTuple):
    """A table as the catalogue and its counters show it: a row of tables.sql."""

    oid: int
    schema: str
    name: str
    live: int
    dead: int
    storage: int
    """Its file and its TOAST relation, in one number."""
    activity: int
    """The sum of the counters of what changes the length of its files."""
    is_partitioned: bool
    """Then it has no storage of its own."""


class Look(NamedTuple):
    """What a look saw. Everything in it is as old as what is measured later, or older: nothing is missed."""

    signs: Signs
    storage: Mapping[int, int]
    """For each table a sum over its indexes and its TOAST relation."""
    parents: Mapping[int, int]
    """The parent of each partition, by their oids."""
    held: frozenset[int]
    """Relations, indexes too, that somebody may be writing to."""
    tables: Mapping[int, Listed]
    """All tables by oid, also those that have no storage; the very same objects as in the former look while
    nothing about them changes."""


async def look(connection: Connection, former: Look | None) -> Look:
    """Look again; what the signs say is as in the `former` look is not read again.

    Raises:
        PostgresError: the catalogue could not be read.
    """
    ((epoch, storage, inheritance, held),) = await connection.read(_CHANGES)
    signs = Signs(epoch, storage, inheritance)
    is_stored = former and former.signs.storage == signs.storage
    is_inherited = former and former.signs.inheritance == signs.inheritance
    return Look(
        signs,
        former.storage if former and is_stored else await _storage(connection),
        former.parents if former and is_inherited else await _parents(connection),
        frozenset(held),
        await _tables(connection, former.tables if former else {}),
    )


# What is made of many rows is made in a thread: whoever asks for our health does not wait for it.


async def _storage(connection: Connection) -> dict[int, int]:
    rows = await connection.read(_STORAGE)
    return await asyncio.to_thread(lambda: {oid: int(total) for oid, total in rows})


async def _parents(connection: Connection) -> dict[int, int]:
    rows = await connection.read(_INHERITANCE)
    return await asyncio.to_thread(dict, rows)


async def _tables(connection: Connection, former: Mapping[int, Listed]) -> dict[int, Listed]:
    rows = await connection.read(_TABLES)
    return await asyncio.to_thread(_listed, rows, former)


def _listed(rows: Iterable[Row], former: Mapping[int, Listed]) -> dict[int, Listed]:
    return {
        row[0]: known if (known := former.get(row[0])) and known == row else Listed._make(row) for row in rows
    }
