"""The sample application: a shop that takes orders, so that the sizes the demo shows are real.

python -m plimsoll.demo.application DSN writes to the database until that is 1 GiB in size.
"""

from __future__ import annotations

import signal
import sys
import time

import psycopg

from plimsoll.demo.postgres import PostgresServer

NAME = "shop"
"""Its database."""

_LARGEST = 1024**3
"""Bytes at which it stops writing, so that a demo left running fills no disk."""

_ORDERS_AT_FIRST = 420_000
"""Some 130 MiB with indexes: the growth alerts do not judge what is below 100 MiB."""

_SCHEMA = """\
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    customer int NOT NULL,
    status text NOT NULL DEFAULT 'open',
    items text NOT NULL
);
CREATE INDEX ON orders (customer);
CREATE TABLE sessions (token text PRIMARY KEY, seen_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE SCHEMA archive;
CREATE TABLE archive.orders (LIKE orders);
INSERT INTO customers
    SELECT i, 'Customer ' || i, 'customer.' || i || '@example.com' FROM generate_series(1, 20000) i;
"""

_TAKE_ORDERS = """\
INSERT INTO orders (customer, items)
    SELECT 1 + random() * 19999, repeat(md5(i::text), 7) FROM generate_series(1, %s::int) i
"""

_WORK = """\
UPDATE orders SET status = 'sent'
    WHERE id IN (SELECT id FROM orders WHERE status = 'open' ORDER BY id DESC LIMIT 50);
INSERT INTO sessions SELECT gen_random_uuid() FROM generate_series(1, 50);
DELETE FROM sessions WHERE seen_at < clock_timestamp() - interval '5 minutes';
"""


def fill(server: PostgresServer) -> None:
    """Create the database with its tables and their first rows."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
    with psycopg.connect(server.dsn(NAME), autocommit=True) as connection:
        connection.execute(_SCHEMA)
        connection.execute(_TAKE_ORDERS, [_ORDERS_AT_FIRST])
        connection.execute("VACUUM ANALYZE")


def work(dsn: str) -> None:
    """Take some 210 orders a second, 70 kB, until the database is large enough."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        while _size(connection) < _LARGEST:
            connection.execute(_TAKE_ORDERS, [210])
            connection.execute(_WORK)
            time.sleep(1)


def _size(connection: psycopg.Connection) -> int:
    (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    return int(size)


if __name__ == "__main__":
    work(sys.argv[1])
    signal.pause()
