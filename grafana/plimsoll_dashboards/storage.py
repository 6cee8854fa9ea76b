"""Storage, the home page: what grew, will it hurt, who was told, who took it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, from_on, from_values, nothing_known
from plimsoll_dashboards.columns import Column, label, table, trend, value
from plimsoll_dashboards.firing import banner, critical_alerts, fires_since, measured, other_alerts
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import count_of_bad, dashed, graph, stacked, stat
from plimsoll_dashboards.queries import now, over_time
from plimsoll_dashboards.signals import highest_now, limited, threshold
from plimsoll_dashboards.variables import alertmanager, choice
from plimsoll_dashboards.variables import label as variable

_SERVERS = 'server=~"$server",organization=~"$organization"'
_DATABASES = f'{_SERVERS},datname=~"$datname"'
_TABLES = f'{_DATABASES},schemaname=~"$schemaname"'
# Also what is about a server as a whole: while it is away, so are its databases.
_ALERTS = f'category!="meta",server!="",agent="",{_SERVERS},datname=~"$datname|"'

_DATABASE_LABELS = ("server", "datname")
_TABLE_LABELS = (*_DATABASE_LABELS, "schemaname", "relname")
_BY_DATABASE, _BY_TABLE = ", ".join(_DATABASE_LABELS), ", ".join(_TABLE_LABELS)


# Targets may declare labels of their own, so one database can have several series.
def _of_database(metric: str, offset: str = "") -> str:
    return f"max by ({_BY_DATABASE}) ({metric}{{{_DATABASES}}}{offset})"


def _of_table(metric: str) -> str:
    return f"max by ({_BY_TABLE}) ({metric}{{{_TABLES}}})"


_SIZES = f"database:pg_database_size_bytes:max{{{_DATABASES}}}"
_TABLE_SIZES = f"table:pg_stat_user_tables_size_bytes:max{{{_TABLES}}}"
_ROOT_SIZES = f"root:pg_partition_root_size_bytes:max{{{_TABLES}}}"

_SIZE = _of_database("database:pg_database_size_bytes:max")
_SIZE_YESTERDAY = _of_database("database:pg_database_size_bytes:max_offset24h")
_SIZE_LAST_WEEK = _of_database("database:pg_database_size_bytes:max", " offset 7d")
_GROWTH = _of_database("database:pg_database_size_bytes:growth24h_percent")
_CRITICAL = _of_database("database:pg_database_size_bytes:critical")
_HOURS_LEFT = _of_database("database:pg_database_size_bytes:hours_until_critical")
_TABLE = _of_table("table:pg_stat_user_tables_size_bytes:max")
_TABLE_YESTERDAY = _of_table("table:pg_stat_user_tables_size_bytes:max_offset24h")
_TABLE_GROWTH = _of_table("table:pg_stat_user_tables_size_bytes:growth24h_percent")
_ROOT = _of_table("root:pg_partition_root_size_bytes:max")
_ROOT_YESTERDAY = _of_table("root:pg_partition_root_size_bytes:max_offset24h")
_ROOT_GROWTH = _of_table("root:pg_partition_root_size_bytes:growth24h_percent")
_UNMEASURED = f"max by (server, datname, reason) (pg_tables_unmeasured{{{_DATABASES}}})"

_OF_ROOTS = "PartitionedTableGrowthHigh"
"""The alert about partitioned tables; one about another table may bear the same names."""
_NEVER = 1e9
"""Hours; more than any estimate gives."""


def storage() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-storage",
        "Plimsoll / Storage",
        "How large databases and tables are, what grew, and when it will hurt.",
        variables=[
            variable("organization", "Organization", "server:pg_up:max", "Narrows the servers."),
            variable(
                "server",
                "Server",
                'server:pg_up:max{organization=~"$organization"}',
                "PostgreSQL servers, by their name in plimsoll.yml.",
            ),
            variable(
                "datname", "Database", f"database:pg_database_size_bytes:max{{{_SERVERS}}}", "Databases."
            ),
            variable(
                "schemaname",
                "Schema",
                f"table:pg_stat_user_tables_size_bytes:max{{{_DATABASES}}}",
                "Narrows the tables, not the totals of databases.",
            ),
            choice("tables", "Largest tables", "How many rows the list of tables has.", "25", "100", "500"),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS)],
        sections=[
            Section(
                "",
                [
                    _banner().span(18).height(7),
                    critical_alerts("databases and their servers", _ALERTS, _SIZES).span(3).height(7),
                    other_alerts("databases and their servers", _ALERTS, _SIZES).span(3).height(7),
                    _total().span(5),
                    _growth("24 hours", _SIZE_YESTERDAY).span(5),
                    _growth("7 days", _SIZE_LAST_WEEK).span(5),
                    _time_left().span(5),
                    _unmeasured().span(4),
                    _tables().span(24).height(11),
                ],
            ),
            Section("Growth", [_history().span(24), _sizes(), _growth_percent(), _databases()]),
            Section("Partitioned tables", [_roots().span(24), _root_sizes(), _root_growth_percent()]),
            Section("What could not be measured", [_incomplete(), _age()]),
        ],
    )


def _banner() -> Table:
    return banner(
        "Storage alerts that fire",
        "What to look at first. Open the database or the table to see since when it grows; mostly a job "
        "has stopped cleaning up, or something is imported.",
        _ALERTS,
        _TABLE_LABELS,
        [
            label("Alert", "alertname").wide(200),
            label("Server", "server").wide(90),
            _database(),
            label("Schema", "schemaname").wide(90),
            _table(),
            fires_since(_ALERTS),
            _beside("Now", "bytes", _ROOT, _TABLE, _SIZE),
            _beside("24 h before", "bytes", _ROOT_YESTERDAY, _TABLE_YESTERDAY, _SIZE_YESTERDAY),
            _beside("Growth", "percent", _ROOT_GROWTH, _TABLE_GROWTH, _GROWTH).with_(decimals=1),
        ],
        empty="No storage alert fires. Where the numbers beside this are unknown, nothing is measured.",
    )


def _database() -> Column:
    return label("Database", "datname").linked(
        "Only this database", page("plimsoll-storage", _DATABASE_LABELS)
    )


def _table() -> Column:
    return label("Table", "relname").linked("The table's history", page("plimsoll-table", _TABLE_LABELS))


def _beside(title: str, unit: str, of_root: str, of_table: str, of_database: str) -> Column:
    return measured(
        title,
        unit,
        (f'alertname="{_OF_ROOTS}",{_ALERTS}', _BY_TABLE, of_root),
        (f'alertname!="{_OF_ROOTS}",relname!="",{_ALERTS}', _BY_TABLE, of_table),
        (f'relname="",{_ALERTS}', _BY_DATABASE, of_database),
    )


def _total() -> Stat:
    return stat(
        "Total size",
        "All databases chosen above, as PostgreSQL counts them: tables, indexes, TOAST, catalogues, but not "
        "the write-ahead log. Compare with the disk on the page of the hosts.",
        "bytes",
        now(f"sum({_SIZE})"),
    ).no_value("unknown: nothing is measured")


def _growth(span: str, before: str) -> Stat:
    return stat(
        f"Growth in {span}",
        f"How much more there is than {span} ago, of the databases that existed then; negative after a "
        "clean-up. If it surprises you, sort the tables below by their growth.",
        "bytes",
        now(f"sum({_SIZE} - {before})"),
    ).no_value("not measured then, or now")


def _time_left() -> Stat:
    return (
        stat(
            "Time until critical",
            "Until the first database reaches its critical size (DatabaseSizeCritical) if it grows as in "
            "the last 24 hours; 0 where it has. Less than a day is an alert: clean up, or raise the limit "
            "if the disk allows.",
            "h",
            now(f"min(\n{_HOURS_LEFT}\nor\n0 * ({_SIZE} >= {_CRITICAL})\nor\n0 * {_SIZE} + {_NEVER:.0f}\n)"),
        )
        .thresholds(from_values(CRITICAL, (1, BAD), (24, NOTICE), (72, GOOD)))
        .mappings([from_on(_NEVER, "not in sight", GOOD), nothing_known()])
        .decimals(1)
        .no_value("unknown: nothing is measured")
    )


def _unmeasured() -> Stat:
    return count_of_bad(
        "Tables not measured",
        "Tables whose present size is not known, since they are locked, may not be read or took too long. "
        "Their last size is repeated. The list at the end of this page has the reasons.",
        NOTICE,
        now(f"sum({_UNMEASURED})\nor\n0 * count({_SIZE})"),
    )


def _tables() -> Table:
    def largest(series: str) -> str:
        return f"{series}\nand on ({_BY_TABLE})\ntopk($tables, {_TABLE})"

    return table(
        "Tables",
        "The largest tables with their indexes and TOAST. Many dead rows: autovacuum does not keep up, or a "
        "transaction or replication slot holds it back. Open a table for its history.",
        [
            label("Server", "server").wide(90),
            label("Database", "datname").wide(120),
            label("Schema", "schemaname").wide(120),
            _table(),
            value("Size", "bytes", f"topk($tables, {_TABLE})").wide(100),
            value("Rows", "short", largest(_of_table("pg_stat_user_tables_n_live_tup"))).wide(90),
            value("Dead rows", "short", largest(_of_table("pg_stat_user_tables_n_dead_tup"))).wide(90),
            value("Growth 24 h", "bytes", largest(f"{_TABLE} - {_TABLE_YESTERDAY}")).wide(110),
            value("Growth", "percent", largest(_TABLE_GROWTH), decimals=1).wide(90),
            value(
                "Share of its database",
                "percent",
                largest(f"100 * {_TABLE} / on (server, datname) group_left () {_SIZE}"),
                decimals=1,
                min=0,
                max=100,
                custom_cellOptions={"type": "gauge", "mode": "basic"},
            ),
            trend("Over time", "bytes", highest_now(_TABLE_SIZES, _BY_TABLE, "$tables"), at_least="15m"),
        ],
        empty="No table is measured yet: after a start, that takes a scrape or two.",
        sorted_by="Size",
    )


def _history() -> Graph:
    largest = highest_now(_TABLE_SIZES, _BY_TABLE, 10)
    panel = graph(
        "Size over 90 days, by the tables that are largest now",
        "What takes the room, and since when. The rest of the chosen databases, their catalogues included, "
        "is other; a jump there without a table that grew is often a table that was dropped, or many small "
        "ones.",
        "bytes",
        over_time(
            largest,
            "{{server}} {{datname}} {{schemaname}}.{{relname}}",
            at_least="1h",
        ),
        over_time(f"sum({_SIZE}) - (sum({largest}) or vector(0))", "other", at_least="1h"),
    )
    return stacked(panel).time_from("90d").height(10)


def _sizes() -> Graph:
    critical = f"{_CRITICAL} and {_SIZE} >= 0.5 * {_CRITICAL}"
    panel = graph(
        "Databases, and the critical size of those past half of it",
        "The dashed line is DatabaseSizeCritical's threshold for the database, overrides included.",
        "bytes",
        over_time(highest_now(_SIZES, _BY_DATABASE), "{{server}} {{datname}}"),
        over_time(critical, "critical: {{server}} {{datname}}"),
    )
    return dashed(panel.min(0), "/^critical: /", CRITICAL)


def _growth_percent() -> Graph:
    panel = graph(
        "Growth within 24 hours, and the thresholds of DatabaseGrowthHigh",
        "Above its dashed line for 10 minutes, a database raises DatabaseGrowthHigh if it is not tiny. "
        "Overrides have lines of their own, named by their matchers.",
        "percent",
        over_time(f"{_GROWTH} and {highest_now(_SIZES, _BY_DATABASE)}", "{{server}} {{datname}}"),
        threshold("DatabaseGrowthHigh"),
    )
    return limited(panel, BAD)


def _databases() -> Table:
    return table(
        "Databases",
        "How near each is to its critical size. Other tables are those without series of their own (limit, "
        "partitions). Not attributed is what no measured table explains: catalogues, large objects, files "
        "without an owner; much of it is worth a look.",
        [
            label("Server", "server").wide(90),
            _database(),
            value("Size", "bytes", _SIZE),
            value("Growth 24 h", "bytes", f"{_SIZE} - {_SIZE_YESTERDAY}"),
            value("Growth", "percent", _GROWTH, decimals=1),
            value("Critical size", "bytes", _CRITICAL),
            value("Until critical", "h", _HOURS_LEFT, decimals=1, noValue="not in sight"),
            value("Other tables", "bytes", _of_database("pg_other_tables_size_bytes")),
            value("Not attributed", "bytes", _of_database("pg_unattributed_size_bytes")),
        ],
        empty="No database is measured: is the exporter running, and may its role connect?",
        sorted_by="Size",
    )


def _roots() -> Table:
    def largest(series: str) -> str:
        return f"{series}\nand on ({_BY_TABLE})\ntopk($tables, {_ROOT})"

    return table(
        "Partitioned tables",
        "Each with all its partitions or children, at any depth, which are among the tables above or the "
        "other tables of the database. If one grows more than it should, see whether old ones are dropped.",
        [
            label("Server", "server").wide(90),
            label("Database", "datname").wide(120),
            label("Schema", "schemaname").wide(120),
            _table(),
            value("Size", "bytes", f"topk($tables, {_ROOT})").wide(100),
            value("Partitions", "none", largest(_of_table("pg_partition_root_partitions"))).wide(90),
            value("Growth 24 h", "bytes", largest(f"{_ROOT} - {_ROOT_YESTERDAY}")).wide(110),
            value("Growth", "percent", largest(_ROOT_GROWTH), decimals=1).wide(90),
            trend("Over time", "bytes", highest_now(_ROOT_SIZES, _BY_TABLE, "$tables"), at_least="15m"),
        ],
        empty="No table has partitions or children.",
        sorted_by="Size",
    ).height(8)


def _root_sizes() -> Graph:
    panel = graph(
        "Partitioned tables over time",
        "Teeth are right where the oldest partition is dropped from time to time.",
        "bytes",
        over_time(
            highest_now(_ROOT_SIZES, _BY_TABLE),
            "{{server}} {{datname}} {{schemaname}}.{{relname}}",
            at_least="5m",
        ),
    )
    return panel.min(0).no_value("No table has partitions or children.")


def _root_growth_percent() -> Graph:
    panel = graph(
        "Growth of partitioned tables within 24 hours, and the thresholds of PartitionedTableGrowthHigh",
        "Above its dashed line for 10 minutes, one raises PartitionedTableGrowthHigh if it is "
        "not tiny. A partition that fills on its day is no growth of the whole.",
        "percent",
        over_time(
            f"{_ROOT_GROWTH} and {highest_now(_ROOT_SIZES, _BY_TABLE)}",
            "{{server}} {{datname}} {{schemaname}}.{{relname}}",
        ),
        threshold(_OF_ROOTS),
    )
    return limited(panel, BAD)


def _incomplete() -> Table:
    return (
        table(
            "Tables that could not be measured",
            "locked: somebody holds or waits for an exclusive lock, so look for a long migration. denied: "
            "grant pg_monitor to the exporter's role. timeout: the file system is slow, or the table has "
            "very many files.",
            [
                label("Server", "server"),
                label("Database", "datname"),
                label("Reason", "reason"),
                value(
                    "Tables",
                    "none",
                    f"{_UNMEASURED} > 0",
                ),
            ],
            empty="Every table could be measured.",
            sorted_by="Tables",
        )
        .span(12)
        .height(8)
    )


def _age() -> Graph:
    ages = f"database:pg_sizes_oldest_timestamp_seconds:age_seconds{{{_DATABASES}}}"
    panel = graph(
        "How old the oldest size is",
        "Sizes of tables that nobody writes to are measured in turns (full_interval), so an hour is usual. "
        "Above the dashed line MeasurementsTooOld fires: the exporter cannot keep up, or cannot connect.",
        "s",
        over_time(highest_now(ages, _BY_DATABASE), "{{server}} {{datname}}"),
        threshold("MeasurementsTooOld"),
    )
    return limited(panel.min(0), BAD)
