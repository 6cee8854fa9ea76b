"""What PostgreSQL answers to a query that somebody else wrote."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from plimsoll.serve.sources.link import Row

DECLARE = "DECLARE plimsoll NO SCROLL CURSOR FOR\n"
"""What stands before such a query."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query: each value as the text that PostgreSQL writes, and None for NULL.

    Types have PostgreSQL's names; one that is not built in has none.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def answer_of(cursor: psycopg.AsyncRawCursor[Row]) -> Answer:
    """Give what a cursor has fetched."""
    result = cursor.pgresult
    assert result  # noqa: S101 - FETCH has one
    columns = range(result.nfields)
    types = (cursor.adapters.types.get(result.ftype(column)) for column in columns)
    return Answer(
        tuple(_text(result.fname(column)) or "" for column in columns),
        tuple(known.name if known else "" for known in types),
        tuple(
            tuple(_text(result.get_value(row, column)) for column in columns) for row in range(result.ntuples)
        ),
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
