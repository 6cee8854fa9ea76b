"""The series of one database's tables: each that is shown, the rest as one sum, and roots of partitions."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from plimsoll.serve.metrics import Family, Page
from plimsoll.serve.roots import Root
from plimsoll.serve.state.tables import LABELS, TablePass, measured_at, of_indexes, of_table, of_toast, total

_DATABASE = ("server", "datname")
_TABLE = (*_DATABASE, "schemaname", "relname")
SIZE = Family(
    "pg_stat_user_tables_size_bytes",
    "gauge",
    "Disk space used by the table with its TOAST and its indexes, as pg_total_relation_size gives it.",
    _TABLE,
)
TABLE_SIZE = Family(
    "pg_stat_user_tables_table_size_bytes",
    "gauge",
    "Disk space used by the table with its TOAST and maps but without indexes, as pg_table_size gives it.",
    _TABLE,
)
TOAST_SIZE = Family(
    "pg_stat_user_tables_toast_size_bytes",
    "gauge",
    "Disk space used by the table's TOAST relation with its index; a part of the table size.",
    _TABLE,
)
INDEX_SIZE = Family(
    "pg_stat_user_tables_index_size_bytes",
    "gauge",
    "Disk space used by the table's indexes, as pg_indexes_size gives it.",
    _TABLE,
)
LIVE = Family("pg_stat_user_tables_n_live_tup", "gauge", "Estimated number of live rows.", _TABLE)
DEAD = Family("pg_stat_user_tables_n_dead_tup", "gauge", "Estimated number of dead rows.", _TABLE)
UNATTRIBUTED = Family(
    "pg_unattributed_size_bytes",
    "gauge",
    "Database size minus its measured tables: catalogues, large objects, files without an owner.",
    _DATABASE,
)
OTHERS_SIZE = Family(
    "pg_other_tables_size_bytes",
    "gauge",
    "Disk space used by the tables that have no series of their own: those beyond the limit.",
    _DATABASE,
)
OTHERS = Family("pg_other_tables", "gauge", "Tables that have no series of their own.", _DATABASE)
ROOT_SIZE = Family(
    "pg_partition_root_size_bytes",
    "gauge",
    "Disk space used by a table with all its partitions or children, which are in other series too.",
    _TABLE,
)
ROOT_PARTITIONS = Family(
    "pg_partition_root_partitions", "gauge", "Partitions, or children, of the table, at any depth.", _TABLE
)
FAMILIES = (
    *(SIZE, TABLE_SIZE, TOAST_SIZE, INDEX_SIZE, LIVE, DEAD),
    *(OTHERS_SIZE, OTHERS, ROOT_SIZE, ROOT_PARTITIONS, UNATTRIBUTED),
)


def emit(page: Page, labels: str, last: TablePass, size: int | None, oldest_allowed: float) -> None:
    """Add the tables of a database, the sum of those not shown, and what of it belongs to no table."""
    fresh = last.sizes
    if last.oldest < oldest_allowed:
        fresh = {oid: sizes for oid, sizes in fresh.items() if measured_at(sizes) >= oldest_allowed}
    shown = last.shown.tables.published
    others = [total(sizes) for oid, sizes in fresh.items() if oid not in shown]
    _emit_shown(page, labels, last, [oid for oid in fresh if oid in shown])
    page.add(OTHERS_SIZE, [(labels, sum(others))])
    page.add(OTHERS, [(labels, len(others))])
    roots = [root for oid, root in last.shown.roots.items() if oid in last.shown.of_roots.published]
    _emit_roots(page, labels, [root for root in roots if root.measured_at >= oldest_allowed])
    if size is not None and len(fresh) == last.listed:  # else bytes of a table would be nobody's
        page.add(UNATTRIBUTED, [(labels, size - sum(map(total, fresh.values())))])


def _emit_shown(page: Page, common: str, last: TablePass, oids: Sequence[int]) -> None:
    labels = [last.labels[oid] for oid in oids]
    sizes = [last.sizes[oid] for oid in oids]
    page.add_rows(SIZE, labels, sizes, total, common)
    page.add_rows(TABLE_SIZE, labels, sizes, of_table, common)
    page.add_rows(TOAST_SIZE, labels, sizes, of_toast, common)
    page.add_rows(INDEX_SIZE, labels, sizes, of_indexes, common)
    page.add_rows(LIVE, labels, oids, last.live_tuples, common)
    page.add_rows(DEAD, labels, oids, last.dead_tuples, common)


def _emit_roots(page: Page, common: str, roots: Sequence[Root]) -> None:
    labels = [LABELS(root.schema, root.name) for root in roots]
    page.add_rows(ROOT_SIZE, labels, roots, attrgetter("size"), common)
    page.add_rows(ROOT_PARTITIONS, labels, roots, attrgetter("partitions"), common)
