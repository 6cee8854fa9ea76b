"""Looks at the tables of a database without measuring any: what there is, and what may have changed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection
from plimsoll.serve.sources.sql import statement

_CHANGES = statement("changes")
_INHERITANCE = statement("inheritance")
_STORAGE = statement("storage")
_TABLES = statement("tables")


Listed = tuple[int, str, str, int, int, int, int, bool]
"""A row of tables.sql: oid, schema, name, live and dead tuples, storage, activity, is it partitioned.

No object with names, since there are very many: whenever Python looks for garbage, nothing else can run, and
it passes over plain tuples of what holds nothing else.
"""


def spare_tuples() -> None:
    """Show the tuples that were made last to the collector of garbage, before they get into a mapping.

    It sees that nothing in them can be garbage, and leaves them and a mapping of such alone from then on. Any
    other mapping of very many tables it would look through again and again.
    """
    gc.collect(0)


def name_of(listed: Listed) -> tuple[str, str]:
    """Give the schema and the name of a table."""
    return listed[1:3]


def live_tuples(listed: Listed) -> int:
    """Give the estimated number of live tuples."""
    return listed[3]


def dead_tuples(listed: Listed) -> int:
    """Give the estimated number of dead tuples."""
    return listed[4]


def traces_of(listed: Listed) -> tuple[int, int]:
    """Give what is another if a table was rewritten or written to: its files and its counters."""
    return listed[5:7]


def is_partitioned(listed: Listed) -> bool:
    """Whether it has no storage of its own."""
    return listed[7]


class Signs(NamedTuple):
    """Signs of change, each of which means something only beside that of another look."""

    epoch: str
    """Another one: counters may have begun anew, by a crash or a reset of statistics."""
    storage: str | None
    """Another one: indexes or TOAST relations were built, rebuilt, moved or dropped."""
    inheritance: str | None
    """Another one: partitions, or children, were attached or detached."""


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
    return await asyncio.to_thread(lambda: {oid: int(total) for oid, total in _each(rows)})


async def _parents(connection: Connection) -> dict[int, int]:
    rows = await connection.read(_INHERITANCE)
    return await asyncio.to_thread(lambda: dict(_each(rows)))


async def _tables(connection: Connection, former: Mapping[int, Listed]) -> dict[int, Listed]:
    rows = await connection.read(_TABLES)
    return await asyncio.to_thread(_listed, rows, former)


def _listed(rows: list[Row], former: Mapping[int, Listed]) -> dict[int, Listed]:
    spare_tuples()
    tables = (known if (known := former.get(row[0])) == row else row for row in _each(rows))
    return {table[0]: table for table in tables}


def _each(rows: list[Row]) -> Iterator[Row]:
    """Give each row and let go of it, for to free them all at once would keep all threads waiting."""
    rows.reverse()
    while rows:
        yield rows.pop()
