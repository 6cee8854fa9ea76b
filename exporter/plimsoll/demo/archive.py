"""The database for the history of alerts, on the demo's own server: the relay writes it, Grafana reads it."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import psycopg
from psycopg import sql

from plimsoll.demo.postgres import PostgresServer

NAME = "history"
"""The database."""

_WRITER, _READER = "relay", "grafana"


class Archive(NamedTuple):
    """How it is reached, as connection strings."""

    writer: str
    reader: str


def create(server: PostgresServer) -> Archive:
    """Create the database, a role that may do all in it, and one that may read what that makes."""
    writing, reading = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for role, password in ((_WRITER, writing), (_READER, reading)):
            create_role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(create_role.format(sql.Identifier(role), password))
        connection.execute(f"CREATE DATABASE {NAME} OWNER {_WRITER}")
    with psycopg.connect(server.dsn(NAME), autocommit=True) as connection:
        # The relay has yet to make its schema, so these cannot be grants on that.
        for right in ("USAGE ON SCHEMAS", "SELECT ON TABLES"):
            connection.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {_WRITER} GRANT {right} TO {_READER}")
    return Archive(server.dsn(NAME, _WRITER, writing), server.dsn(NAME, _READER, reading))
