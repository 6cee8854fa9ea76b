"""What the exporter measures: which parts of its work fail, how long they take, how old sizes are."""

from __future__ import annotations

from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph

from plimsoll_dashboards.colours import BAD, GOOD, NOTICE, words
from plimsoll_dashboards.columns import label, since, table, value
from plimsoll_dashboards.meta.series import AGES, COLLECTION, SERVERS, SUCCESS, TARGETS
from plimsoll_dashboards.panels import graph, stacked, timeline
from plimsoll_dashboards.queries import over_time
from plimsoll_dashboards.signals import highest_now, limited, threshold

_DURATION = f"max by ({COLLECTION}) (plimsoll_collector_duration_seconds{{{TARGETS}}})"

_QUERY = "server, datname, sql_collector, query"
"""What tells one query of a collector file from another."""

_SUCCEEDS = {"1": ("✔ succeeds", GOOD), "0": ("✖ fails", BAD)}


def collection() -> list[Timeline | Table | Graph]:
    """Build the panels, in reading order."""
    return [
        _failures(),
        _collections(),
        _durations(),
        _ages(),
        _sql_queries().span(14).height(8),
        _sources_of_usage().span(10),
    ]


def _failures() -> Timeline:
    signal = f"collector:plimsoll_collector_success:max{{{TARGETS}}}"
    lowest = f"min by ({COLLECTION}) (min_over_time({signal}[$__range] @ end()))"
    return (
        timeline(
            "Collections that failed at some time",
            "Since when, and whether all began to fail together: then look at the server, the network or the "
            "role, and at the exporter's log. One alone: often a right is missing in one database.",
            over_time(
                f"{SUCCESS} and on ({COLLECTION}) topk(30, 1 - {lowest} == 1)",
                "{{collector}} {{server}}{{engine}} {{datname}}",
                at_least="1m",
            ),
        )
        .mappings(words(_SUCCEEDS))
        .no_value("No collection failed in this time.")
        .height(7)
    )


def _collections() -> Table:
    worst = f"topk(100,\n1e6 * (1 - {SUCCESS}) + {_DURATION}\n)"
    last = f"max by ({COLLECTION}) (plimsoll_collector_last_success_timestamp_seconds{{{TARGETS}}})"
    return table(
        "Collections: what fails, and what takes longest",
        "At most 100, the failing ones first. Took is with the wait for a connection: near a timeout of the "
        "configuration it is too slow, near 0 it is refused at once. `plimsoll check --connect` tries each, "
        "and has the statement that mends missing rights.",
        [
            value("State", "none", f"{SUCCESS} and on ({COLLECTION}) {worst}")
            .mapped(words(_SUCCEEDS))
            .wide(120),
            label("Collector", "collector").wide(120),
            label("Server", "server"),
            label("Engine", "engine"),
            label("Database", "datname"),
            value("Took", "s", f"{_DURATION} and on ({COLLECTION}) {worst}").wide(110),
            since("Last success", f"{last} and on ({COLLECTION}) {worst}").with_(noValue="never"),
        ],
        empty="Nothing is collected: does the exporter run, and does its file name servers or engines?",
        sorted_by="State",
        descending=False,
    )


def _durations() -> Graph:
    slowest = f"max by ({COLLECTION}) (plimsoll_collector_duration_seconds{{{TARGETS}}} @ end())"
    return (
        graph(
            "How long collections take",
            "The 20 that take longest now. One that climbs with its tables is served by a longer "
            "`tables.interval`; one that jumped waits for locks, a slow disk or a connection.",
            "s",
            over_time(
                f"{_DURATION} and on ({COLLECTION}) topk(20, {slowest})",
                "{{collector}} {{server}}{{engine}} {{datname}}",
            ),
        )
        .min(0)
        .no_value("Nothing is collected: does the exporter run?")
    )


def _ages() -> Graph:
    panel = graph(
        "Age of the oldest size",
        "Of the 20 databases where it is greatest now. Above the dashed line MeasurementsTooOld fires: "
        "somebody holds a lock for hours, or the exporter cannot keep up; the page Storage lists what could "
        "not be measured, and why.",
        "s",
        over_time(highest_now(AGES, "server, datname"), "{{server}} {{datname}}"),
        threshold("MeasurementsTooOld"),
    )
    return limited(panel.min(0), BAD).no_value("No size is measured yet.")


def _sql_queries() -> Table:
    def of(metric: str, labels: str = _QUERY) -> str:
        return f"max by ({labels}) ({metric}{{{SERVERS}}})"

    reasons = of("plimsoll_sql_query_failure_reason", f"{_QUERY}, reason")
    states = (
        f"bottomk(100,\n0 * {reasons}\nor\n"
        f"{of('plimsoll_sql_query_success')} unless on ({_QUERY}) {reasons}\nor\n"
        f"({of('plimsoll_sql_databases', 'server, sql_collector')} == 0) - 1\n)"
    )
    shown = {**_SUCCEEDS, "-1": ("? runs nowhere", NOTICE)}
    return table(
        "Queries of collector files",
        "Custom SQL. The README explains each reason under Custom SQL; the exporter's log has the message of "
        "the server. runs nowhere: `databases` of its entry selects no database.",
        [
            value("State", "none", states).mapped(words(shown)).wide(120),
            label("Reason", "reason").wide(90),
            label("Server", "server").wide(90),
            label("Database", "datname").wide(100),
            label("File", "sql_collector").wide(100),
            label("Query", "query"),
            value("Took", "s", of("plimsoll_sql_query_duration_seconds")).wide(80),
            value("Rows", "short", of("plimsoll_sql_query_rows")).wide(70),
        ],
        empty="No collector file is configured (section sql of plimsoll.yml).",
        sorted_by="State",
        descending=False,
    )


def _sources_of_usage() -> Graph:
    containers = 'max by (engine, source) (plimsoll_containers_measured{engine=~"$engine"})'
    panel = graph(
        "Running containers, by who measures them",
        "cgroup: files, which is quick. stats: the engine's API, which is slow, since cgroup files are not "
        "found (mount the host's /sys and /proc, see `host_root`). none: their CPU and memory are not known.",
        "none",
        over_time(f"sum by (source) ({containers})", "{{source}}"),
    )
    return stacked(panel).decimals(0).no_value("No container engine is watched.")
