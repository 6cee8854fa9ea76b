"""Which series the tables of a database have: a limit, partitions, and other columns of the statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fix_postgres import Database
from plimsoll.serve.metrics import Family
from plimsoll.serve.table_statistics import FAMILIES
from serving import Samples, serving
from waiting import eventually

WORLD = """
CREATE TABLE large (n int);
INSERT INTO large SELECT generate_series(1, 40000);
CREATE TABLE middle (n int);
INSERT INTO middle SELECT generate_series(1, 20000);
CREATE TABLE small (n int PRIMARY KEY);
INSERT INTO small SELECT generate_series(1, 10);
CREATE TABLE entry (at date, n int) PARTITION BY RANGE (at);
CREATE TABLE entry_2025 PARTITION OF entry FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY RANGE (at);
CREATE TABLE entry_2025_q1 PARTITION OF entry_2025 FOR VALUES FROM ('2025-01-01') TO ('2025-04-01');
CREATE TABLE entry_2025_q2 PARTITION OF entry_2025 FOR VALUES FROM ('2025-04-01') TO ('2025-07-01');
CREATE TABLE entry_2026 PARTITION OF entry FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO entry SELECT date '2025-02-01' + i % 100, i FROM generate_series(1, 3000) i;
INSERT INTO entry SELECT date '2026-02-01' + i % 100, i FROM generate_series(1, 3000) i;
CREATE TABLE metric (at int, value float);
CREATE TABLE chunk_1 (CHECK (at < 1000)) INHERITS (metric);
CREATE TABLE chunk_2 (CHECK (at >= 1000)) INHERITS (metric);
INSERT INTO chunk_1 SELECT i, i FROM generate_series(1, 999) i;
INSERT INTO chunk_2 SELECT i, i FROM generate_series(1000, 1999) i;
VACUUM ANALYZE;
"""
PARTITIONS = {"entry_2025_q1", "entry_2025_q2", "entry_2026", "chunk_1", "chunk_2"}
TABLES = {"large", "middle", "small", "metric"} | PARTITIONS


def make(database: Database) -> dict[str, int]:
    """Make the tables; give the size of each."""
    with database.connect() as session:
        for statement in filter(str.strip, WORLD.split(";")):
            session.execute(statement)
        return sizes(database)


def sizes(database: Database) -> dict[str, int]:
    with database.connect() as session:
        return dict(
            session.execute(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
        )


def scraped(database: Database, directory: Path, **tables: Any) -> Samples:
    with serving(database.config(tables=tables), directory) as exporter:
        return exporter.scrape()


def others(page: Samples, database: Database) -> tuple[float | None, float | None]:
    return (
        page.get("pg_other_tables", datname=database.name),
        page.get("pg_other_tables_size_bytes", datname=database.name),
    )


def roots(page: Samples, database: Database, family: str) -> dict[str, float]:
    return page.tables(f"pg_partition_root_{family}", datname=database.name)


def test_beyond_the_limit_the_largest_are_published_and_the_rest_is_summed_up(
    database: Database, tmp_path: Path
) -> None:
    expected = make(database)

    page = scraped(database, tmp_path, limit=2)

    assert page.tables(datname=database.name) == {name: expected[name] for name in ("large", "middle")}
    rest = [size for name, size in expected.items() if name not in {"large", "middle"}]
    assert others(page, database) == (len(rest), sum(rest))


def test_without_a_limit_every_table_is_published(database: Database, tmp_path: Path) -> None:
    expected = make(database)

    page = scraped(database, tmp_path, limit=0)

    assert page.tables(datname=database.name) == expected
    assert others(page, database) == (0, 0)


def test_roots_are_the_sums_of_what_is_below_them(database: Database, tmp_path: Path) -> None:
    expected = make(database)

    page = scraped(database, tmp_path)

    assert page.tables(datname=database.name).keys() == TABLES
    of_entry = ("entry_2025_q1", "entry_2025_q2", "entry_2026")
    assert roots(page, database, "size_bytes") == {
        "entry": sum(expected[name] for name in of_entry),
        "metric": sum(expected[name] for name in ("metric", "chunk_1", "chunk_2")),
    }
    assert roots(page, database, "partitions") == {"entry": 3, "metric": 2}


def test_roots_only_leaves_partitions_to_the_sum_of_the_others(database: Database, tmp_path: Path) -> None:
    expected = make(database)

    page = scraped(database, tmp_path, partitions="roots_only")

    assert page.tables(datname=database.name).keys() == TABLES - PARTITIONS
    assert others(page, database) == (len(PARTITIONS), sum(expected[name] for name in PARTITIONS))
    assert roots(page, database, "partitions") == {"entry": 3, "metric": 2}


def test_a_partition_follows_its_root(database: Database, tmp_path: Path) -> None:
    make(database)
    with serving(database.config(), tmp_path) as exporter, database.connect() as session:
        assert roots(exporter.scrape(), database, "partitions") == {"entry": 3, "metric": 2}

        session.execute("ALTER TABLE chunk_2 NO INHERIT metric")
        session.execute("ALTER TABLE entry DETACH PARTITION entry_2026")
        session.execute("ALTER TABLE entry RENAME TO booking")
        page = exporter.scrape()

        assert roots(page, database, "partitions") == {"booking": 2, "metric": 1}
        present = sizes(database)
        assert (
            roots(page, database, "size_bytes")["booking"]
            == present["entry_2025_q1"] + present["entry_2025_q2"]
        )


def test_the_other_columns_of_the_statistics_are_those_of_the_view(
    database: Database, tmp_path: Path
) -> None:
    make(database)
    families = {family.name.removeprefix("pg_stat_user_tables_"): family for family in FAMILIES}
    with (
        serving(database.config(tables={"statistics": True}), tmp_path) as exporter,
        database.connect() as session,
    ):
        session.execute("SELECT count(*) FROM large")
        session.execute("SELECT FROM small WHERE n = 3")

        def equal() -> bool:
            page = exporter.scrape()
            found = {
                column: page.tables(as_parsed(family), datname=database.name)
                for column, family in families.items()
            }
            return found == {column: view(session, column) for column in families}

        eventually(equal)
        assert view(session, "n_tup_ins")["large"] == 40000
        assert "large" not in view(session, "idx_scan")
        assert "pg_stat_user_tables_seq_scan" in exporter.fetch("/metrics")[1]


def as_parsed(family: Family) -> str:
    """Give the name under which prometheus_client's parser has a counter without `_total`."""
    return f"{family.name}_total" if family.kind == "unknown" else family.name


def view(session: Any, column: str) -> dict[str, float]:
    """Give what the view says; what is NULL is left out."""
    value = f"extract(epoch FROM {column})::float8" if column.startswith("last_") else column
    return dict(
        session.execute(
            f"SELECT pg_class.relname, {value} FROM pg_stat_user_tables JOIN pg_class ON relid = oid"
            f" WHERE {column} IS NOT NULL AND relkind = 'r'"
        )
    )


def test_statistics_are_published_where_they_are_asked_for_only(database: Database, tmp_path: Path) -> None:
    make(database)

    page = scraped(database, tmp_path)

    assert page.tables("pg_stat_user_tables_n_live_tup", datname=database.name)
    assert not page.all("pg_stat_user_tables_seq_scan")
