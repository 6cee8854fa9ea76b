"""Whatever changes a table's size is seen, and what does not change it costs no measuring.

The exporter measures everything once in 24 hours; what it sees in these tests it has found out, not met by
chance. What is published is held against the server's own functions, for all tables, after each change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from fix_postgres import MAJORS
from measuring import (
    Watched,
    a_server,
    also_watched,
    create_tablespace,
    different,
    first,
    is_right_in_turn,
    watched,
    watching,
)
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.sources.catalogue import look
from plimsoll.serve.sources.postgres import PostgresServer
from waiting import eventually

T = """
CREATE TABLE t (id int, note text, document text);
ALTER TABLE t ALTER document SET STORAGE EXTERNAL;
INSERT INTO t SELECT i, 'note ' || i, CASE WHEN i % 4 = 0 THEN repeat('y', 4000) END
FROM generate_series(1, 1000) i;
CREATE INDEX t_id ON t (id);
"""
"""The table of most tests: a quarter of its 1,000 rows has something in TOAST."""
THIN = f"{T} DELETE FROM t WHERE id % 10 > 0 OR id > 800;"
VIEW = f"{T} CREATE MATERIALIZED VIEW v AS SELECT id, note FROM t; CREATE UNIQUE INDEX v_id ON v (id);"
PARTED = """
CREATE TABLE p (id int, note text) PARTITION BY LIST (id);
CREATE INDEX ON p (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (id int, note text);
INSERT INTO p2 SELECT 2, 'note ' || i FROM generate_series(1, 4000) i;
"""
MORE = "INSERT INTO t SELECT i, 'more ' || i FROM generate_series(1, 4000) i"
LATER = "INSERT INTO t SELECT i, 'later ' || i FROM generate_series(4001, 8000) i"


class Case(NamedTuple):
    """Something that changes sizes."""

    name: str
    setup: str
    changes: tuple[str, ...]

    @property
    def schema(self) -> str:
        """Where its tables are."""
        return self.name.replace(" ", "_")


def case(name: str, setup: str, *changes: str) -> Case:
    return Case(name, setup, changes)


AT_ONCE = [
    case("create index", T, "CREATE INDEX ON t (note)"),
    case("create index concurrently", T, "CREATE INDEX CONCURRENTLY ON t (note)"),
    case("create first index", "CREATE TABLE t AS SELECT generate_series(1, 99) a", "CREATE INDEX ON t (a)"),
    case("add primary key", T, "ALTER TABLE t ADD PRIMARY KEY (id)"),
    case("index of a view", VIEW, "CREATE INDEX ON v (note)"),
    case("index of all partitions", PARTED, "CREATE INDEX ON p (note)"),
    case("drop index", T, "DROP INDEX t_id"),
    case("drop index concurrently", T, "DROP INDEX CONCURRENTLY t_id"),
    case(
        "drop constraint", f"{T} ALTER TABLE t ADD PRIMARY KEY (id)", "ALTER TABLE t DROP CONSTRAINT t_pkey"
    ),
    case("reindex index", THIN, "REINDEX INDEX t_id"),
    case("reindex table", THIN, "REINDEX TABLE t"),
    case("reindex concurrently", THIN, "REINDEX TABLE CONCURRENTLY t"),
    case("reindex toast", THIN, "REINDEX TABLE {t}"),
    case("vacuum full", THIN, "VACUUM FULL t"),
    case("vacuum full of toast", THIN, "VACUUM FULL {t}"),
    case("cluster", THIN, "CLUSTER t USING t_id"),
    case("truncate", T, "TRUNCATE t"),
    case("truncate and fill", T, f"BEGIN; TRUNCATE t; {MORE}; COMMIT"),
    case("another type", T, "ALTER TABLE t ALTER id TYPE text USING repeat(id::text, 9)"),
    case("a first toast relation", "CREATE TABLE t (a int)", "ALTER TABLE t ADD b text"),
    case("create table", T, "CREATE TABLE other AS SELECT * FROM t"),
    case("drop table", T, "DROP TABLE t"),
    case("drop and create", T, "DROP TABLE t", "CREATE TABLE t AS SELECT generate_series(1, 9999) a"),
    case(
        "an old name for another", f"{T} CREATE TABLE o (a int)", "DROP TABLE t", "ALTER TABLE o RENAME TO t"
    ),
    case("another schema", T, "CREATE SCHEMA elsewhere", "ALTER TABLE t SET SCHEMA elsewhere"),
    case("unlogged", T, "ALTER TABLE t SET UNLOGGED"),
    case("logged", f"{T} ALTER TABLE t SET UNLOGGED", "ALTER TABLE t SET LOGGED"),
    case("refresh", f"{VIEW} {LATER}", "REFRESH MATERIALIZED VIEW v"),
    case("attach partition", PARTED, "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)"),
    case("drop partition", PARTED, "DROP TABLE p1"),
]
"""What another file, or another set of indexes, tells of: the next look sees it."""

COUNTED = [
    case("insert", T, MORE),
    case("a first row", "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)"),
    case("insert through the root", PARTED, "INSERT INTO p SELECT 1, 'x' FROM generate_series(1, 4000)"),
    case("update", T, "UPDATE t SET note = note || '!'"),
    case("toast growth", T, "UPDATE t SET document = repeat('z', 99999) WHERE id = 1"),
    case(
        "insert unlogged", "CREATE UNLOGGED TABLE t (a int)", "INSERT INTO t SELECT generate_series(1, 9999)"
    ),
    case("insert rolled back", T, f"BEGIN; {MORE}; ROLLBACK"),
    case("savepoint rolled back", T, f"BEGIN; SAVEPOINT s; {MORE}; ROLLBACK TO s; COMMIT"),
    case(
        "conflict",
        f"{T} CREATE UNIQUE INDEX u ON t (note)",
        f"{MORE}, generate_series(1, 2) ON CONFLICT DO NOTHING",
    ),
    case(
        "referenced",
        f"CREATE TABLE o (id int PRIMARY KEY); INSERT INTO o VALUES (1); {T}"
        "ALTER TABLE t ADD o int DEFAULT 1 REFERENCES o ON UPDATE CASCADE",
        "UPDATE o SET id = 2",
    ),
    case("truncated by vacuum", f"{T} DELETE FROM t WHERE id > 9", "VACUUM t"),
    case("maps made by vacuum", T, "VACUUM t"),
    case("vacuum of toast", f"{T} DELETE FROM t WHERE id > 9", "VACUUM {t}"),
    case("delete and vacuum", T, "DELETE FROM t", "VACUUM t"),
    case("refresh concurrently", f"{VIEW} {LATER}", "REFRESH MATERIALIZED VIEW CONCURRENTLY v"),
]
"""What the statistics tell of: it is seen when they have arrived."""

NO_CHANGE = [
    "SELECT count(*) FROM t WHERE id > 10 AND document LIKE 'y%'",
    "SELECT * FROM t FOR UPDATE",
    "DELETE FROM t WHERE id < 0",
    "ANALYZE t",
    "COMMENT ON TABLE t IS 'so it goes'",
    "GRANT SELECT ON t TO plimsoll",
    "ALTER TABLE t SET (fillfactor = 50)",
    "ALTER TABLE t ADD extra int",
    "ALTER INDEX t_id RENAME TO t_id_renamed",
    "CREATE VIEW view AS SELECT * FROM t",
    "CREATE SEQUENCE s",
    "ALTER TABLE p DETACH PARTITION p1",
    "VACUUM FULL pg_catalog.pg_depend",
]


@pytest.fixture(scope="module", params=MAJORS, ids="pg{}".format)
def world(
    request: pytest.FixtureRequest,
    postgres_binaries: dict[int, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """Give a database with the tables of the cases, which were measured after the idle ones."""
    folder = tmp_path_factory.mktemp("exporter")
    with a_server(postgres_binaries, request.param) as server, watched(server, folder) as world:
        create_tablespace(server, "elsewhere")
        with world.session() as session:
            for each in (*AT_ONCE, *COUNTED):
                session.execute(f"CREATE SCHEMA {each.schema}; SET search_path = {each.schema}")
                session.execute(each.setup)
        world.quiet()
        yield world


@pytest.mark.parametrize("each", AT_ONCE, ids=lambda each: each.name)
def test_another_file_is_seen_at_once(world: Watched, each: Case) -> None:
    before = world.known

    world.run(*each.changes, schema=each.schema)

    world.is_right()
    assert world.known != before, "nothing was shown"


@pytest.mark.parametrize("each", COUNTED, ids=lambda each: each.name)
def test_what_is_counted_is_seen_when_the_counts_have_arrived(world: Watched, each: Case) -> None:
    before = world.known

    world.run(*each.changes, schema=each.schema)
    world.settle()

    world.is_right()
    assert world.known != before, "nothing was shown"


def test_what_leaves_sizes_alone_costs_no_measuring(world: Watched) -> None:
    world.prepare("unchanged", T + PARTED)
    for statement in NO_CHANGE:
        world.run(statement, schema="unchanged")
        world.settle()

        assert (world.measured(world.is_right()), statement) == ({}, statement)


def test_a_change_costs_one_measuring_and_no_more(world: Watched) -> None:
    """What is moved to another tablespace is as large there as here, so that only the count can tell."""
    schema = world.prepare("moved", T)

    for what in ("TABLE t", "INDEX t_id"):
        world.run(f"ALTER {what} SET TABLESPACE elsewhere", schema=schema)
        assert world.measured(world.is_right()) == {"changed": 1}
        assert world.measured(world.is_right()) == {}


def test_a_renamed_table_has_its_new_name_at_once_and_is_not_measured(world: Watched) -> None:
    schema = world.prepare("renamed", T)

    world.run("ALTER TABLE t RENAME TO u", "ALTER SCHEMA renamed RENAME TO renamed_too", schema=schema)

    assert world.measured(world.is_right()) == {}
    assert ("renamed_too", "u") in world.known


def test_an_open_copy_is_followed(world: Watched) -> None:
    """Its file grows, while no counter moves before it ends."""
    schema = world.prepare("copied", T)
    size = world.known[schema, "t"][0]
    counted = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE schemaname = %s AND relname = 't'"

    with world.session(schema, autocommit=False) as session, world.session() as other:
        with session.cursor().copy("COPY t (id, note) FROM STDIN") as copy:
            for grown in (500_000, 1_000_000):
                copy.write("".join(f"{i}\tcopied from somewhere\n" for i in range(10000)))
                eventually(lambda: session.pgconn.flush() == 0)
                eventually(partial(is_followed, world, (schema, "t"), size + grown))
                assert world.measured(world.scrape()) == {"held": 1}
                assert first(other, counted, schema) == 1000
        session.commit()
        world.is_right()
    world.quiet()


def is_followed(world: Watched, table: tuple[str, str], size: float) -> bool:
    """Say whether a table has grown to `size`, and all are as large as a page says."""
    published = world.published(world.scrape())
    return published[table][0] >= size and published == world.sizes()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_an_open_transaction_is_followed_to_its_end(world: Watched, end: str) -> None:
    """The session may keep its counts to itself for a while, so that its end has to be seen without them."""
    schema = world.prepare(f"open_{end}", T)
    with world.session(schema) as session:
        for statement in ("BEGIN", MORE):
            session.execute(statement)
        assert world.measured(world.is_right()) == {"held": 1}
        session.execute(MORE)
        assert world.measured(world.is_right()) == {"held": 1}
        session.execute("UPDATE t SET document = repeat('z', 99999) WHERE id = 4")
        session.execute(end)
        assert world.measured(world.is_right()) == {"changed": 1}
    world.quiet()


def test_a_transaction_that_was_open_when_a_database_was_first_seen_is_followed_too(world: Watched) -> None:
    with also_watched(world, "first") as other:
        other.run(T)
        with other.session() as session:
            session.execute("INSERT INTO t VALUES (0)")  # told at once, so that what follows is not
            for statement in ("BEGIN", MORE):
                session.execute(statement)
            other.is_right()
            session.execute(MORE)
            session.execute("COMMIT")
            other.is_right()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_transaction_is_followed(world: Watched, end: str) -> None:
    schema = world.prepare(f"prepared_{end}", T)

    world.run("BEGIN", MORE, f"PREPARE TRANSACTION '{schema}'", schema=schema)

    world.settle()
    assert world.measured(world.is_right()) == {"held": 1}
    assert world.measured(world.is_right()) == {"held": 1}
    world.run(f"{end} PREPARED '{schema}'")
    world.is_right()
    world.quiet()


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_table_that_was_locked_is_measured_when_it_is_free(world: Watched, end: str) -> None:
    schema = world.prepare(f"locked_{end}", T)
    with world.session(schema, autocommit=False) as session:
        session.execute(f"TRUNCATE t; {MORE}")
        page = world.scrape()
        assert world.by_reason(page, "pg_tables_unmeasured")["locked"] == 1
        assert world.published(page) == world.known
        session.execute(end)
    world.is_right()


def test_an_index_that_another_transaction_is_building_is_seen_when_it_is_there(world: Watched) -> None:
    schema = world.prepare("building", T)
    with world.session(schema, autocommit=False) as session:
        session.execute("CREATE INDEX ON t (note)")
        assert world.measured(world.is_right()) == {"held": 1}
    world.is_right()


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX CONCURRENTLY t_note ON t (note)", "REINDEX INDEX CONCURRENTLY t_id"]
)
def test_an_index_that_is_built_concurrently_is_followed(world: Watched, statement: str) -> None:
    schema = world.prepare(statement.split()[0].lower(), T)
    with (
        world.session(schema, autocommit=False) as reader,
        world.session(schema, autocommit=False) as writer,
    ):
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        writer.execute("INSERT INTO t VALUES (0)")
        with meanwhile(world, schema, statement):
            waits_for(world, "writers before build")
            assert world.measured(world.is_right()) == {"held": 1}
            writer.commit()
            waits_for(world, "old snapshots")
            assert world.measured(world.is_right()) == {"held": 1}
            reader.commit()
        world.is_right()


@contextmanager
def meanwhile(world: Watched, schema: str, statement: str) -> Iterator[None]:
    """Run a statement beside the test, and wait for its end."""
    thread = threading.Thread(target=world.run, args=[statement], kwargs={"schema": schema})
    thread.start()
    try:
        yield
    finally:
        thread.join()


def waits_for(world: Watched, whom: str) -> None:
    world.database.wait_until(
        f"SELECT count(*) = 1 FROM pg_stat_progress_create_index WHERE phase = 'waiting for {whom}'"
    )


def test_what_happens_in_one_database_costs_nothing_in_another(world: Watched) -> None:
    world.quiet()
    with also_watched(world, "too") as other:
        other.prepare("s", T)

        other.run("DROP INDEX s.t_id")

        page = other.is_right()
        assert other.measured(page) == {"changed": 1}
        assert world.measured(page) == {}


@pytest.mark.parametrize(
    "function", ["pg_stat_reset()", "pg_stat_reset_single_table_counters('s.t'::regclass)"]
)
def test_counters_that_begin_anew_and_come_as_far_as_before_hide_nothing(
    world: Watched, function: str
) -> None:
    rows = "INSERT INTO t SELECT generate_series(1, 9999)"
    with also_watched(world, "reset") as other:
        other.prepare("s", f"CREATE TABLE t (a int); {rows}")

        other.run(f"SELECT {function}")
        other.run(rows, schema="s")
        other.settle()

        other.is_right()
        other.quiet()


async def test_temporary_tables_of_others_do_not_have_indexes_read_again(world: Watched) -> None:
    settings = ServerSettings.model_validate({"name": "main", "dsn": world.database.dsn()})
    async with PostgresServer(settings).connect() as connection:
        before = await look(connection, None)
        with world.database.connect() as session:
            session.execute("CREATE TEMPORARY TABLE fleeting (id int PRIMARY KEY, document text)")
            session.execute("INSERT INTO fleeting SELECT generate_series(1, 1000)")
            after = await look(connection, before)
    assert after.signs == before.signs
    assert after.storage is before.storage
    assert after.parents is before.parents
    assert after.tables == before.tables
    assert all(after.tables[oid] is listed for oid, listed in before.tables.items())


NO_TRACE = """
CREATE TABLE g (words int[]) WITH (autovacuum_enabled = off);
CREATE INDEX g_index ON g USING gin (words) WITH (fastupdate = on);
INSERT INTO g SELECT ARRAY[i, i + 1, i + 2] FROM generate_series(1, 3000) i;
CREATE TABLE b (note text) WITH (autovacuum_enabled = off);
CREATE INDEX b_index ON b USING brin (note) WITH (pages_per_range = 1, autosummarize = off);
INSERT INTO b SELECT string_agg(md5(i::text || j), '')
FROM generate_series(1, 1000) i, generate_series(1, 19) j GROUP BY i;
"""


def test_what_leaves_no_trace_is_seen_in_turn(world: Watched, tmp_path: Path) -> None:
    """Before PostgreSQL 15 an idle session keeps to itself what follows its last telling too soon."""
    with (
        also_watched(world, "turns") as other,
        watching(world.database.server, other.database.name, tmp_path, full_interval="1s") as exporter,
    ):
        hasty = replace(other, exporter=exporter)
        other.prepare("s", NO_TRACE + T)
        for function in ("gin_clean_pending_list('g_index')", "brin_summarize_new_values('b_index')"):
            other.run(f"SELECT {function}", schema="s")
            is_right_in_turn(hasty, time.time())
        other.settle()
        page = other.scrape()
        assert other.measured(page) == {}
        assert different(other.published(page), other.sizes()).keys() == {("s", "g"), ("s", "b")}

        with other.session("s") as session:
            session.execute("INSERT INTO t VALUES (0)")
            session.execute(MORE)
            is_right_in_turn(hasty, time.time())
