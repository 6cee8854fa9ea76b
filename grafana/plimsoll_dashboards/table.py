"""One table: what it is made of, how it came about, and whether vacuum keeps up with it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import VisibilityMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, from_values, words
from plimsoll_dashboards.columns import Column, label, table, trend, value
from plimsoll_dashboards.firing import banner, fires_since, measured
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import dashed, graph, stacked, stat, timeline
from plimsoll_dashboards.queries import now, over_time
from plimsoll_dashboards.signals import highest_now, limited, threshold
from plimsoll_dashboards.variables import alertmanager, only, part

_LABELS = ("server", "datname", "schemaname", "relname")
_BY_TABLE = ", ".join(_LABELS)

_SERVER = 'server="$server"'
_DATABASE = f'{_SERVER},datname="$datname"'
_SCHEMA = f'{_DATABASE},schemaname="$schemaname"'
_TABLE = f'{_SCHEMA},relname="$relname"'
_FAMILY = f"{_SCHEMA},relname=~`(${{family:regex}}|${{relname:regex}})_(p?[0-9].*|default)`"
_ROOT = f"{_SCHEMA},relname=~`${{family:regex}}|${{relname:regex}}`"
_ALERTS = (
    f'category!="meta",agent="",{_SERVER},datname=~`${{datname:regex}}|`,'
    "schemaname=~`${schemaname:regex}|`,relname=~`${relname:regex}|`"
)
"""Those of the table, of its database, and of its server: what lacks the label is about all of them."""

_SIZES = "table:pg_stat_user_tables_size_bytes:max"
_ROOT_SIZES = "root:pg_partition_root_size_bytes:max"
_NAMED = f'__name__=~"{_SIZES}|{_ROOT_SIZES}"'
"""Tables, and what consists of tables only, like a partitioned one."""


def _with_partitions(of: str) -> str:
    """Give a size, for which that of all partitions stands where the table has any."""
    return f"max({_ROOT_SIZES}{of} or {_SIZES}{of})"


_OWN_SIZE = f"max({_SIZES}{{{_TABLE}}})"
_SIZE = _with_partitions(f"{{{_TABLE}}}")
_YESTERDAY = _with_partitions(f"_offset24h{{{_TABLE}}}")
_TABLE_SIZE = f"max(pg_stat_user_tables_table_size_bytes{{{_TABLE}}})"
_TOAST_SIZE = f"max(pg_stat_user_tables_toast_size_bytes{{{_TABLE}}})"
_INDEX_SIZE = f"max(pg_stat_user_tables_index_size_bytes{{{_TABLE}}})"
_LIVE = f"max(pg_stat_user_tables_n_live_tup{{{_TABLE}}})"
_DEAD = f"max(pg_stat_user_tables_n_dead_tup{{{_TABLE}}})"
_DEAD_SHARE = f"100 * {_DEAD} / ({_LIVE} + {_DEAD} > 0)"
_GROWTH_PERCENT = "table:pg_stat_user_tables_size_bytes:growth24h_percent"
_ROOT_GROWTH_PERCENT = "root:pg_partition_root_size_bytes:growth24h_percent"
_UNMEASURED = f"max by (reason) (pg_tables_unmeasured{{{_DATABASE}}})"

_DATABASE_SIZES = "database:pg_database_size_bytes"

_OF_ROOTS = "PartitionedTableGrowthHigh"

_NOT_NOW = "not measured now"


def one_table() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-table",
        "Plimsoll / Table",
        "One table: what it is made of, how it came about, and whether vacuum keeps up with it.",
        variables=[
            only("server", "Server", f"{{{_NAMED}}}", "The PostgreSQL server, by its name in plimsoll.yml."),
            only("datname", "Database", f"{{{_NAMED},{_SERVER}}}", "The table's database."),
            only("schemaname", "Schema", f"{{{_NAMED},{_DATABASE}}}", "The table's schema."),
            only(
                "relname",
                "Table",
                f"{{{_NAMED},{_SCHEMA}}}",
                "The table, a partition or a partitioned one too.",
            ),
            part("family", "relname", f"{_SIZES}{{{_TABLE}}}", "^(.+?)_(?:p?[0-9].*|default)$"),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS)],
        sections=[
            Section(
                "",
                [
                    _banner().span(24).height(5),
                    _size(),
                    _growth("24 hours", _YESTERDAY),
                    _growth("7 days", _with_partitions(f"{{{_TABLE}}} offset 7d")),
                    _share(),
                    _rows_now(),
                    _dead_share_now(),
                    _parts().height(9),
                    _history().height(9),
                ],
            ),
            Section("Growth", [_growth_bytes(), _growth_percent()]),
            Section("Rows and vacuum", [_rows().span(8), _dead_share().span(8), _bytes_of_row().span(8)]),
            Section("Partitions", [_partitions(), _partition_sizes().span(24)]),
            Section("Is it up to date?", [_answers().span(8), _age().span(8), _unmeasured()]),
        ],
    )


def _banner() -> Table:
    def beside(title: str, unit: str, of_root: str, of_table: str, of_database: str) -> Column:
        return measured(
            title,
            unit,
            (f'alertname="{_OF_ROOTS}",{_ALERTS}', _BY_TABLE, f"{of_root}{{{_TABLE}}}"),
            (f'alertname!="{_OF_ROOTS}",relname!="",{_ALERTS}', _BY_TABLE, f"{of_table}{{{_TABLE}}}"),
            (f'relname="",datname!="",{_ALERTS}', "server, datname", f"{of_database}{{{_DATABASE}}}"),
        )

    return banner(
        "Alerts about this table, its database and its server",
        "Where schema and table are empty, the alert is about the whole database or server.",
        _ALERTS,
        _LABELS,
        [
            label("Alert", "alertname").wide(200),
            label("Server", "server").wide(100),
            label("Database", "datname").wide(120),
            label("Schema", "schemaname").wide(120),
            label("Table", "relname"),
            fires_since(_ALERTS),
            beside("Now", "bytes", _ROOT_SIZES, _SIZES, f"{_DATABASE_SIZES}:max"),
            beside(
                "Growth",
                "percent",
                _ROOT_GROWTH_PERCENT,
                _GROWTH_PERCENT,
                f"{_DATABASE_SIZES}:growth24h_percent",
            ).with_(decimals=1),
        ],
        empty="No alert about this table, its database or its server fires.",
    )


# --- now ----------------------------------------------------------------------------------------------------


def _size() -> Stat:
    return stat(
        "Size",
        "The table with its indexes and its TOAST, as pg_total_relation_size gives it, and with all its "
        "partitions, if it has any. If it is not measured now, it was dropped or renamed, is too small for "
        "series of its own (limit), or has not been measurable for hours: see the end of this page.",
        "bytes",
        now(_SIZE),
    ).no_value(_NOT_NOW)


def _growth(span: str, before: str) -> Stat:
    return stat(
        f"Growth in {span}",
        f"How much larger it is than {span} ago; negative after a clean-up that gave room back. If it "
        "surprises you, look below at what grew: rows, dead rows, indexes or TOAST.",
        "bytes",
        now(f"{_SIZE} - {before}"),
    ).no_value("not measured then, or now")


def _share() -> Stat:
    return (
        stat(
            "Share of its database",
            "How much of the database is this table. To free much room, begin with the largest share.",
            "percent",
            now(f"100 * {_SIZE} / max({_DATABASE_SIZES}:max{{{_DATABASE}}})"),
        )
        .decimals(1)
        .no_value(_NOT_NOW)
    )


def _rows_now() -> Stat:
    return stat(
        "Rows",
        "Live rows, as the server estimates them. Far from the truth after a crash or a restore, until "
        "somebody runs ANALYZE.",
        "short",
        now(_LIVE),
    ).no_value(_NOT_NOW)


def _dead_share_now() -> Stat:
    return (
        stat(
            "Dead rows",
            "The part of all rows that nobody can see any more, whose room vacuum has not given back to the "
            "table. Autovacuum begins at 20 % unless it is set otherwise; much more means that it cannot "
            "keep up, or that an old transaction, a prepared one or a replication slot holds it back.",
            "percent",
            now(_DEAD_SHARE),
        )
        .thresholds(from_values(GOOD, (25, NOTICE), (50, BAD)))
        .decimals(1)
        .no_value("no rows")
    )


# --- over time ----------------------------------------------------------------------------------------------


def _parts() -> Graph:
    panel = graph(
        "Size, by what takes it",
        "Stacked, so the top is the total. Indexes that grow faster than the heap are bloated: REINDEX "
        "CONCURRENTLY makes them anew. TOAST is where long values are; it has dead rows of its own, which "
        "autovacuum removes. Partitions are not counted here.",
        "bytes",
        over_time(f"{_TABLE_SIZE} - {_TOAST_SIZE}", "heap"),
        over_time(_TOAST_SIZE, "TOAST"),
        over_time(_INDEX_SIZE, "indexes"),
    )
    return stacked(panel.min(0)).no_value(_NOT_NOW)


def _history() -> Graph:
    return (
        graph(
            "Total size over 90 days",
            "Whether it grows steadily, by jumps, or goes up and down. Prometheus remembers as long as its "
            "retention says.",
            "bytes",
            over_time(_SIZE, "total", at_least="1h"),
        )
        .min(0)
        .time_from("90d")
        .no_value(_NOT_NOW)
    )


def _growth_bytes() -> Graph:
    return graph(
        "Growth within 24 hours",
        "At each moment, how much larger it was than a day before. A constant line is steady growth; a hill "
        "one day wide was a single load.",
        "bytes",
        over_time(f"{_SIZE} - {_YESTERDAY}", "growth"),
    ).no_value("no history yet: it takes a day")


def _growth_percent() -> Graph:
    panel = graph(
        "Growth within 24 hours in percent, and the thresholds of TableGrowthHigh",
        "Above its dashed line for 10 minutes, a table raises TableGrowthHigh if it is not tiny. Overrides "
        "have lines of their own, named by their matchers; the first that fits the table counts. All its "
        "partitions together are judged by PartitionedTableGrowthHigh.",
        "percent",
        over_time(f"max({_GROWTH_PERCENT}{{{_TABLE}}})", "growth"),
        threshold("TableGrowthHigh"),
        over_time(f"max({_ROOT_GROWTH_PERCENT}{{{_ROOT}}})", "growth with all partitions"),
        over_time(
            f'max by (override) (plimsoll:alert_threshold{{alertname="{_OF_ROOTS}"}})'
            f"\nand on ()\n{_ROOT_SIZES}{{{_ROOT}}}",
            "threshold with all partitions {{override}}",
        ),
    )
    return limited(panel, BAD)


def _rows() -> Graph:
    return (
        graph(
            "Rows over time",
            "Live and dead rows, as the server estimates them. Dead rows that only rise are not vacuumed.",
            "short",
            over_time(_LIVE, "live"),
            over_time(_DEAD, "dead"),
        )
        .min(0)
        .no_value(_NOT_NOW)
    )


def _dead_share() -> Graph:
    return (
        graph(
            "Dead rows over time, of all",
            "Teeth are right: they fall when autovacuum has been there. A line that rises and does not fall "
            "is not: look for transactions that have been open for long.",
            "percent",
            over_time(_DEAD_SHARE, "dead"),
        )
        .min(0)
        .no_value("no rows")
    )


def _bytes_of_row() -> Graph:
    return (
        graph(
            "Bytes for each row",
            "Size by live rows. If it rises while rows stay as they are, the table is bloated: room that "
            "vacuum freed is not used again. VACUUM FULL or pg_repack gives it back.",
            "bytes",
            over_time(f"{_OWN_SIZE} / ({_LIVE} > 0)", "bytes for each row"),
        )
        .min(0)
        .no_value("no rows")
    )


# --- partitions ---------------------------------------------------------------------------------------------


def _partitions() -> Table:
    def of_partitions(metric: str) -> str:
        return f"max by (relname) ({metric}{{{_FAMILY}}})"

    size, before = of_partitions(_SIZES), of_partitions(f"{_SIZES}_offset24h")
    return table(
        "Partitions of the same table",
        "Known by their names: what differs from this table's only by a number or date at the end, or by "
        "default. If an old one still grows, rows come late or go where they should not; if default grows, "
        "a partition is missing.",
        [
            label("Partition", "relname").linked(
                "The partition's history",
                page("plimsoll-table", ("relname",), kept=("server", "datname", "schemaname")),
            ),
            value("Size", "bytes", f"topk(100, {size})"),
            value("Growth 24 h", "bytes", _of_largest(f"{size} - {before}", size)),
            value("Rows", "short", _of_largest(of_partitions("pg_stat_user_tables_n_live_tup"), size)),
            value("Dead rows", "short", _of_largest(of_partitions("pg_stat_user_tables_n_dead_tup"), size)),
            trend(
                "Over time",
                "bytes",
                highest_now(f"{_SIZES}{{{_FAMILY}}}", "relname", 100),
                at_least="15m",
            ),
        ],
        empty="No table has the name of a partition of this one, or none of them has series.",
        sorted_by="Size",
    )


def _of_largest(series: str, size: str) -> str:
    return f"{series}\nand on (relname)\ntopk(100, {size})"


def _partition_sizes() -> Graph:
    panel = graph(
        "All partitions together",
        "Stacked: the 20 that are largest now of those that are known by their names. The dashed line is the "
        "partitioned table as the database has it, with all of them. Where old ones are dropped in time, it "
        "stays level.",
        "bytes",
        over_time(
            highest_now(f"{_SIZES}{{{_FAMILY}}}", "relname"),
            "{{relname}}",
            at_least="5m",
        ),
        over_time(f"max({_ROOT_SIZES}{{{_ROOT}}})", "all partitions", at_least="5m"),
    )
    return dashed(stacked(panel.min(0)), "/^all partitions$/", NOTICE).no_value(
        "It has no partitions, and is none."
    )


# --- whether it is up to date -------------------------------------------------------------------------------


def _answers() -> Timeline:
    return (
        timeline(
            "Does its server answer?",
            "While it does not, the last sizes are repeated for some hours (max_age), and then end.",
            over_time(f"max(server:pg_up:max{{{_SERVER}}})", "$server"),
        )
        .mappings(words({"0": ("▲▲ does not answer", CRITICAL), "1": ("answers", GOOD)}))
        .show_value(VisibilityMode.AUTO)
        .no_value("No exporter watches this server.")
    )


def _age() -> Graph:
    panel = graph(
        "How old the oldest size of its database is",
        "This table's size is no older. Above the dashed line MeasurementsTooOld fires: the exporter cannot "
        "keep up, or cannot connect.",
        "s",
        over_time(f"max(database:pg_sizes_oldest_timestamp_seconds:age_seconds{{{_DATABASE}}})", "oldest"),
        threshold("MeasurementsTooOld"),
    )
    return limited(panel.min(0), BAD)


def _unmeasured() -> Table:
    return (
        table(
            "Tables of its database that could not be measured",
            "Their last sizes are repeated; this table may be one of them. locked: somebody holds or waits "
            "for an exclusive lock, so look for a long migration. denied: grant pg_monitor to the exporter's "
            "role. timeout: the file system is slow, or the table has very many files.",
            [label("Reason", "reason"), value("Tables", "none", f"{_UNMEASURED} > 0")],
            empty="Every table could be measured.",
            sorted_by="Tables",
        )
        .span(8)
        .height(8)
    )
