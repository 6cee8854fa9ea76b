"""Reads the history that a relay has written, as anybody may."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from plimsoll.demo.postgres import PostgresServer


class Row(NamedTuple):
    """What the history says of one life."""

    id: int
    alertname: str
    status: str
    message: str | None
    created_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    silence_id: str | None
    resolved_at: datetime | None
    auto_resolved: bool | None

    @property
    def taken(self) -> tuple[str, datetime | None, str | None]:
        """Its status, and when it was taken by whom."""
        return self.status, self.acknowledged_at, self.acknowledged_by


def rows(server: PostgresServer, condition: LiteralString, *values: str) -> list[Row]:
    """Give the lives that meet a condition, the oldest first."""
    columns = sql.SQL(", ").join(map(sql.Identifier, Row._fields))
    query = sql.SQL("SELECT {} FROM plimsoll.alert WHERE {} ORDER BY id").format(columns, sql.SQL(condition))
    with psycopg.connect(server.dsn()) as session:
        return session.cursor(row_factory=class_row(Row)).execute(query, values).fetchall()


def delivered(server: PostgresServer) -> set[str]:
    """Give the webhook-ids of what was delivered."""
    with psycopg.connect(server.dsn()) as session:
        query = "SELECT webhook_id FROM plimsoll.delivery WHERE result = 'delivered'"
        return {each for (each,) in session.execute(query)}
