"""Whatever is done to tables, in whatever order: what is published is what there is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from fix_postgres import MAJORS
from measuring import Watched, a_server, create_tablespace, different, filled, watched

pytestmark = pytest.mark.long

SEEDS = [8]
STEPS = 40
TABLES = ("a", "b", "c", "d")

AT_ONCE = """
CREATE TABLE {t} (id int, note text DEFAULT 'x', document text)
CREATE TABLE {t} (id int PRIMARY KEY, note text)
CREATE UNLOGGED TABLE {t} (id int, note text)
CREATE MATERIALIZED VIEW {t} AS SELECT id, repeat('v', 50) AS note FROM generate_series(1, 2000) id
DROP TABLE {t}
DROP MATERIALIZED VIEW {t}
TRUNCATE {t}
VACUUM FULL {t}
VACUUM FULL {toast}
CREATE INDEX {t}_note ON {t} (note)
CREATE INDEX {t}_id ON {t} (id)
CREATE INDEX CONCURRENTLY {t}_id ON {t} (id)
CREATE INDEX {t}_brin ON {t} USING brin (id)
DROP INDEX {t}_note
DROP INDEX CONCURRENTLY {t}_id
REINDEX TABLE {t}
REINDEX TABLE CONCURRENTLY {t}
REINDEX TABLE {toast}
REINDEX INDEX CONCURRENTLY {t}_note
CLUSTER {t} USING {t}_id
ALTER TABLE {t} ALTER id TYPE bigint
ALTER TABLE {t} ALTER id TYPE int
ALTER TABLE {t} ADD document text
ALTER TABLE {t} DROP document
ALTER TABLE {t} RENAME TO {other}
DROP TABLE IF EXISTS {t}; CREATE TABLE {t} (id int, note text)
ALTER TABLE {t} SET UNLOGGED
ALTER TABLE {t} SET LOGGED
ALTER TABLE {t} SET TABLESPACE elsewhere
ALTER TABLE {t} SET TABLESPACE pg_default
ALTER INDEX {t}_note SET TABLESPACE elsewhere
REFRESH MATERIALIZED VIEW {t}
ANALYZE {t}
"""
"""What the next look sees."""

COUNTED = """
INSERT INTO {t} (id, note) SELECT i, 'note ' || i FROM generate_series({n}, {n} + 1000) i
INSERT INTO {t} (id, document) SELECT i, random_text(9000) FROM generate_series({n}, {n} + 30) i
BEGIN; INSERT INTO {t} (id, note) SELECT i, 'gone' FROM generate_series({n}, {n} + 1000) i; ROLLBACK
UPDATE {t} SET note = note || '!' WHERE id % 3 = 0
UPDATE {t} SET document = document || '!' WHERE id % 7 = 0
DELETE FROM {t} WHERE id % 2 = 0
DELETE FROM {t} WHERE id > {n}
DELETE FROM {t}
VACUUM {t}
VACUUM {toast}
VACUUM (FREEZE, ANALYZE) {t}
"""
"""What the statistics tell of later."""

RESETS = """
SELECT pg_stat_reset()
SELECT pg_stat_reset_single_table_counters('{t}'::regclass)
"""

OPEN = "INSERT INTO {t} (id, note) SELECT i, repeat('open', 10) FROM generate_series({n}, {n} + 2000) i"
"""What goes on in another session, the transaction of which stays open."""


SETUP = """
CREATE TABLE a (id int, note text DEFAULT 'x', document text);
CREATE TABLE b (id int, note text DEFAULT 'x', document text);
CREATE INDEX a_note ON a (note);
CREATE INDEX b_id ON b (id);
CREATE FUNCTION random_text(length int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(chr(33 + (random() * 90)::int), '') FROM generate_series(1, length)
$$
"""
"""Something to begin with, and text that cannot be compressed, for TOAST."""


class Changes:
    """Random changes to a few tables, some of them in a transaction that stays open meanwhile."""

    def __init__(self, world: Watched, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._stack = ExitStack()
        self._open: psycopg.Connection | None = None
        self.uncounted: set[str] = set()
        """Tables of which statistics may be on their way."""
        self.done: list[str] = []

    def step(self) -> None:
        """Do something; what cannot be done is not."""
        match self._chance.choices(["at once", "counted", "reset", "open", "end"], [50, 40, 3, 15, 10])[0]:
            case "at once":
                self._run(AT_ONCE)
            case "counted":
                self.uncounted |= self._run(COUNTED)
            case "reset":
                self._run(RESETS)
            case "open" if self._open is None:
                self._begin()
            case _:
                self.end()

    def _run(self, statements: str) -> set[str]:
        """Run one of some statements, and give the tables that it wrote to."""
        with self._world.session() as session:
            session.execute("SET lock_timeout = '50ms'")
            return self._attempt(session, statements)

    def _attempt(self, session: psycopg.Connection, statements: str) -> set[str]:
        """Try statements until one can be run, and give the tables that they wrote to."""
        touched: set[str] = set()
        for _ in range(20):
            table, other = self._chance.choice(TABLES), self._chance.choice(TABLES)
            statement = self._chance.choice(statements.strip().splitlines()).format(
                t=table, other=other, n=self._chance.randrange(5000), toast=f"{{{table}}}"
            )
            try:
                session.execute(filled(session, statement))
            except psycopg.Error as error:
                self.done.append(f"-- {statement}: {str(error).splitlines()[0]}")
                if isinstance(error, psycopg.errors.UniqueViolation):
                    touched.add(table)
            else:
                self.done.append(statement)
                if "RENAME" in statement and table in self.uncounted:
                    self.uncounted.add(other)
                return touched | {table}
        return touched

    def _begin(self) -> None:
        self._open = self._stack.enter_context(self._world.session())
        self._open.execute("BEGIN")
        statement = OPEN.format(t=self._chance.choice(TABLES), n=self._chance.randrange(5000))
        try:
            self._open.execute(statement)
        except psycopg.Error:
            self.end()
        else:
            self.done.append(f"-- open: {statement}")

    def end(self) -> None:
        """End the open transaction."""
        if self._open is not None:
            end = self._chance.choice(["COMMIT", "ROLLBACK"])
            self._open.execute(end)
            self.done.append(end)
            self._open = None
            self._stack.close()

    def settle(self) -> None:
        """Wait for the statistics of what was done, but for the open transaction's."""
        self._world.settle()
        self.uncounted.clear()

    def hold(self) -> None:
        """Find all sizes right, but for those of which statistics may be on their way."""
        published = self._world.published(self._world.scrape())
        wrong = different(published, self._world.sizes())
        assert {name for _, name in wrong} <= self.uncounted, "\n".join([*self.done, str(wrong)])


@pytest.fixture(params=MAJORS, ids="pg{}".format)
def world(
    request: pytest.FixtureRequest, postgres_binaries: dict[int, Path], tmp_path: Path
) -> Iterator[Watched]:
    """Give a database of which most tables are idle."""
    with a_server(postgres_binaries, request.param) as server, watched(server, tmp_path, idle=80) as world:
        create_tablespace(server, "elsewhere")
        world.run(SETUP)
        yield world


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_published_is_what_there_is(world: Watched, seed: int) -> None:
    changes = Changes(world, random.Random(seed))
    for number in range(STEPS):
        changes.step()
        if number % 5 == 4:
            changes.settle()
        changes.hold()
    changes.end()
    changes.settle()
    changes.hold()
    print("\n".join(changes.done))
