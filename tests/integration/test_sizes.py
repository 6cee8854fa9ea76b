"""What is published is what PostgreSQL's own functions say, on every supported version."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database, OwnPostgres
from serving import Samples, serving

WORLD = """
CREATE TABLE plain (id serial PRIMARY KEY, note text);
INSERT INTO plain (note) SELECT repeat('x', 50) FROM generate_series(1, 5000);
CREATE TABLE toasted (id int, document text);
ALTER TABLE toasted ALTER document SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT i, repeat('y', 9000) FROM generate_series(1, 100) i;
CREATE TABLE fixed (a int, b int);
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY);
CREATE TABLE parted (at date, n int) PARTITION BY RANGE (at);
CREATE TABLE parted_2025 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON parted (n);
INSERT INTO parted SELECT '2025-03-01', i FROM generate_series(1, 3000) i;
CREATE MATERIALIZED VIEW materialised AS SELECT * FROM plain;
CREATE INDEX ON materialised (id);
CREATE VIEW virtual AS SELECT * FROM plain;
CREATE SCHEMA second;
CREATE TABLE second.plain (a int);
CREATE TEMPORARY TABLE fleeting (a int);
DELETE FROM plain WHERE id <= 1000;
"""
FUNCTIONS = {
    "pg_stat_user_tables_size_bytes": "pg_total_relation_size(c.oid)",
    "pg_stat_user_tables_table_size_bytes": "pg_table_size(c.oid)",
    "pg_stat_user_tables_index_size_bytes": "pg_indexes_size(c.oid)",
    "pg_stat_user_tables_toast_size_bytes": "coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)",
}
TABLES = {"plain", "toasted", "fixed", "unlogged", "parted_2025", "parted_2026", "materialised"}


def scraped(database: Database, directory: Path) -> Samples:
    with serving(database.config(), directory) as exporter:
        return exporter.scrape()


def test_sizes_equal_those_of_the_server(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:  # stays open, and with it the temporary table
        session.execute(WORLD)
        # Everything is written now, and nothing grows between our look and the exporter's.
        session.execute("VACUUM ANALYZE")
        page = scraped(database, tmp_path)
        for family, function in FUNCTIONS.items():
            expected = session.execute(
                f"SELECT relname, {function} FROM pg_class c"
                " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm')"
            )
            assert page.tables(family, datname=database.name, schemaname="public") == dict(expected)
        assert page.tables(datname=database.name, schemaname="public").keys() == TABLES
        assert page.tables(datname=database.name, schemaname="second") == {"plain": 0}
        sizes = session.execute(
            "SELECT datname, pg_database_size(oid) FROM pg_database WHERE NOT datistemplate"
        )
        for datname, size in sizes:
            assert page.get("pg_database_size_bytes", datname=datname) == pytest.approx(size, rel=0.02)


def test_only_user_schemas_are_published(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        session.execute(WORLD)
        page = scraped(database, tmp_path)
    schemas = {
        dict(key)["schemaname"] for key in page.all("pg_stat_user_tables_size_bytes", datname=database.name)
    }
    assert schemas == {"public", "second"}


def test_tuples_come_from_the_statistics(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        session.execute("CREATE TABLE counted (a int) WITH (autovacuum_enabled = off)")
        session.execute("INSERT INTO counted SELECT generate_series(1, 1000)")
        session.execute("DELETE FROM counted WHERE a <= 300")
    # Before PostgreSQL 15 a session reports its last counts when it ends.
    database.wait_until("SELECT n_dead_tup = 300 FROM pg_stat_user_tables WHERE relname = 'counted'")
    page = scraped(database, tmp_path)
    assert page.get("pg_stat_user_tables_n_live_tup", relname="counted") == 700
    assert page.get("pg_stat_user_tables_n_dead_tup", relname="counted") == 300


def test_what_belongs_to_no_table_is_told(database: Database, tmp_path: Path) -> None:
    """Catalogues, sequences, and a large object that no table knows of."""
    rest = "pg_unattributed_size_bytes"
    with database.connect() as session, serving(database.config(), tmp_path) as exporter:
        session.execute(WORLD)
        before = exporter.scrape().get(rest, datname=database.name)
        session.execute("SELECT lo_from_bytea(0, decode(repeat('00', 1000000), 'hex'))")
        session.execute("CHECKPOINT")
        after = exporter.scrape().get(rest, datname=database.name)
        outside = session.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
            " WHERE relkind IN ('r', 'S') AND (relnamespace = 'pg_catalog'::regnamespace OR relkind = 'S')"
            " AND NOT relisshared"
        ).fetchone()
    assert outside
    assert before is not None
    assert after is not None
    assert after - before > 1000
    assert after == pytest.approx(float(outside[0]), rel=0.2)


ODD = [
    'we"ird',
    "back\\slash",
    "new\nline",
    "🐘 émoji",
    "Upper Case",
    "x" * 63,
    "{brace}=,'",
    "percent %s %(x)s",
]


def test_odd_names_come_through_exactly(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        for name in ODD:
            quoted = psycopg.sql.Identifier(name)
            session.execute(psycopg.sql.SQL("CREATE TABLE {} (a int)").format(quoted))
            session.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(quoted))
            session.execute(psycopg.sql.SQL("CREATE TABLE {}.{} (a int)").format(quoted, quoted))
    page = scraped(database, tmp_path)
    found = page.all("pg_stat_user_tables_size_bytes", server="main", datname=database.name)
    names = {(dict(key)["schemaname"], dict(key)["relname"]) for key in found}
    assert names == {("public", name) for name in ODD} | {(name, name) for name in ODD}


def test_templates_and_closed_and_excluded_databases_are_left_out(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        for name, clause in {
            "closed": "ALLOW_CONNECTIONS false",
            "full": "CONNECTION LIMIT 0",
            "stencil": "IS_TEMPLATE true",
            "scratch_1": "",
        }.items():
            session.execute(f"CREATE DATABASE {database.name}_{name} {clause}")
    config = database.config(databases={"include": [f"{database.name}.*"], "exclude": [".*scratch_.*"]})
    try:
        with serving(config, tmp_path) as exporter:
            page = exporter.scrape()
            left_out = {
                dict(key)["reason"]: value
                for key, value in page.all("pg_databases_left_out", server="main").items()
            }
            others = page.all("pg_database_size_bytes", server="main")
            assert {dict(key)["datname"] for key in others} == {database.name}
            assert left_out["template"] == 3  # template0 and template1 have company
            assert left_out["no_connections"] == 2
            assert left_out["excluded"] >= 2  # ours, and postgres
    finally:
        with database.connect() as session:
            session.execute(f"ALTER DATABASE {database.name}_stencil IS_TEMPLATE false")
            for name in ("closed", "full", "stencil", "scratch_1"):
                session.execute(f"DROP DATABASE {database.name}_{name}")


def test_declared_labels_stand_on_every_series_of_the_server(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        session.execute("CREATE TABLE t (a int)")
    with serving(database.config(labels={"organization": 'a "b"'}), tmp_path) as exporter:
        page = exporter.scrape()
    for name in (
        "pg_up",
        "pg_database_size_bytes",
        "pg_stat_user_tables_size_bytes",
        "plimsoll_collector_success",
    ):
        assert page.all(name)
        assert all(dict(key)["organization"] == 'a "b"' for key in page.all(name))


def test_a_dropped_table_disappears_and_never_reads_zero(database: Database, tmp_path: Path) -> None:
    with (
        database.connect() as session,
        serving(database.config(), tmp_path) as exporter,
    ):
        session.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) a")
        for round_ in range(15):
            session.execute(f"CREATE TABLE brief_{round_} AS SELECT generate_series(1, 1000) a")
            assert exporter.scrape().tables()[f"brief_{round_}"] > 0
            session.execute(f"DROP TABLE brief_{round_}")
            assert exporter.scrape().tables().keys() == {"kept"}


def test_a_standby_is_measured_without_its_unlogged_tables(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    """On a standby they have no contents; their files would read as a few kilobytes."""
    server = own_postgres()
    database = Database(server, "postgres")
    with database.connect() as session:
        session.execute("CREATE TABLE logged AS SELECT generate_series(1, 1000) a")
        session.execute("CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 1000) a")
    with serving(database.config(), tmp_path) as exporter:
        assert exporter.scrape().tables().keys() == {"logged", "unlogged"}
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    with serving(database.config(), tmp_path) as exporter:
        page = exporter.scrape()
        assert page.get("pg_up") == 1
        assert page.tables().keys() == {"logged"}
        assert page.tables()["logged"] > 0
