"""What PostgreSQL answers to a query that somebody else wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from plimsoll.serve.sources.link import Row

DECLARE = "DECLARE plimsoll NO SCROLL CURSOR FOR\n"
"""What stands before such a query."""

MOST_BYTES = 16 * 2**20
"""No more than one portion beyond it is read of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query: each value as the text that PostgreSQL writes, and None for NULL.

    Types have PostgreSQL's names; one that is not built in has none.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    size: int = 0
    """Bytes of all values."""


def joined(portions: Sequence[Answer]) -> Answer:
    """Give the portions of an answer, of which there is one at least, as one."""
    rows = tuple(row for portion in portions for row in portion.rows)
    return Answer(portions[0].columns, portions[0].types, rows, sum(portion.size for portion in portions))


def answer_of(cursor: psycopg.AsyncRawCursor[Row]) -> Answer:
    """Give what a cursor has fetched."""
    result = cursor.pgresult
    assert result  # noqa: S101 - FETCH has one
    columns = range(result.nfields)
    values = [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]
    types = (cursor.adapters.types.get(result.ftype(column)) for column in columns)
    return Answer(
        tuple(_text(result.fname(column)) or "" for column in columns),
        tuple(known.name if known else "" for known in types),
        tuple(tuple(map(_text, row)) for row in values),
        sum(len(value) for row in values for value in row if value),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def said_of(error: psycopg.Error, query: str) -> str | None:
    """Give what the server says is wrong, and on which line of `query`; None if it was not the server."""
    if not error.diag.message_primary:
        return None
    message = " ".join(error.diag.message_primary.split())
    position = int(error.diag.statement_position or 0) - len(DECLARE)
    if position <= 0 or "\n" not in query.strip():
        return message
    line = query.count("\n", 0, position - 1) + 1
    return f"{message} (line {line} of the query)"
