"""The columns of pg_stat_user_tables that are published where the configuration says so."""

from __future__ import annotations

from operator import itemgetter

from plimsoll.serve.metrics import Family, Page
from plimsoll.serve.state.tables import TablePass

_LABELS = ("server", "datname", "schemaname", "relname")
FAMILIES = (
    Family(
        "pg_stat_user_tables_n_mod_since_analyze",
        "gauge",
        "Estimated number of rows changed since the last ANALYZE.",
        _LABELS,
    ),
    Family(
        "pg_stat_user_tables_last_vacuum",
        "gauge",
        "When it was last vacuumed by hand, in seconds since the epoch.",
        _LABELS,
    ),
    Family(
        "pg_stat_user_tables_last_autovacuum",
        "gauge",
        "When autovacuum last vacuumed it, in seconds since the epoch.",
        _LABELS,
    ),
    Family(
        "pg_stat_user_tables_last_analyze",
        "gauge",
        "When it was last analysed by hand, in seconds since the epoch.",
        _LABELS,
    ),
    Family(
        "pg_stat_user_tables_last_autoanalyze",
        "gauge",
        "When autovacuum last analysed it, in seconds since the epoch.",
        _LABELS,
    ),
    Family("pg_stat_user_tables_seq_scan", "unknown", "Sequential scans begun.", _LABELS),
    Family("pg_stat_user_tables_seq_tup_read", "unknown", "Rows read by sequential scans.", _LABELS),
    Family("pg_stat_user_tables_idx_scan", "unknown", "Index scans begun.", _LABELS),
    Family("pg_stat_user_tables_idx_tup_fetch", "unknown", "Rows fetched by index scans.", _LABELS),
    Family("pg_stat_user_tables_n_tup_ins", "unknown", "Rows inserted.", _LABELS),
    Family("pg_stat_user_tables_n_tup_upd", "unknown", "Rows updated.", _LABELS),
    Family("pg_stat_user_tables_n_tup_del", "unknown", "Rows deleted.", _LABELS),
    Family(
        "pg_stat_user_tables_n_tup_hot_upd",
        "unknown",
        "Rows updated without a new entry in an index.",
        _LABELS,
    ),
    Family(
        "pg_stat_user_tables_vacuum_count",
        "unknown",
        "Times it was vacuumed by hand, not counting VACUUM FULL.",
        _LABELS,
    ),
    Family("pg_stat_user_tables_autovacuum_count", "unknown", "Times autovacuum has vacuumed it.", _LABELS),
    Family("pg_stat_user_tables_analyze_count", "unknown", "Times it was analysed by hand.", _LABELS),
    Family("pg_stat_user_tables_autoanalyze_count", "unknown", "Times autovacuum has analysed it.", _LABELS),
)
"""In the order of the columns of table_statistics.sql, after the oid."""


def emit(page: Page, common: str, last: TablePass) -> None:
    """Add what the last pass read of the tables that have series."""
    for column, family in enumerate(FAMILIES, start=1):
        rows = [row for row in last.statistics if row[column] is not None and row[0] in last.labels]
        page.add_rows(family, [last.labels[row[0]] for row in rows], rows, itemgetter(column), common)
