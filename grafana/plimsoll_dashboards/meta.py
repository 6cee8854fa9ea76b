"""Plimsoll itself: whether what measures, judges and tells works, for else silence proves nothing."""

from __future__ import annotations

from dataclasses import replace

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, from_values, words
from plimsoll_dashboards.columns import Column, label, since, table, value
from plimsoll_dashboards.firing import firing, graded, severity, silenced, told
from plimsoll_dashboards.panels import count_of_bad, dashed, graph, stacked, stat, timeline
from plimsoll_dashboards.queries import now, over_time, rows
from plimsoll_dashboards.subjects import SUBJECT, described, silence
from plimsoll_dashboards.variables import alertmanager
from plimsoll_dashboards.variables import label as variable

_SERVERS = 'server=~"$server"'
_TARGETS = 'server=~"$server|",engine=~"$engine|"'
"""What is about a server or an engine, or about none: with one chosen, the rest of its kind is left out."""
_PROCESSES = 'instance=~"$instance"'
_PLIMSOLL = 'job=~"plimsoll|plimsoll-relay"'
_ALERTS = f'category="meta",{_TARGETS},instance=~"$instance|"'

_COLLECTION = "collector, server, engine, datname"
_SUCCESS = f"max by ({_COLLECTION}) (collector:plimsoll_collector_success:max{{{_TARGETS}}})"
_DURATION = f"max by ({_COLLECTION}) (plimsoll_collector_duration_seconds{{{_TARGETS}}})"

_QUERY = "server, datname, sql_collector, query"

_RELAY_MISSING = "no relay is scraped"
_MONITORS_MISSING = "Prometheus and Alertmanager are not scraped"
_SUCCEEDS = words({"1": ("✔ succeeds", GOOD), "0": ("✖ fails", BAD)})
_REACHABLE = words({"1": ("✔ reachable", GOOD), "0": ("✖ unreachable", CRITICAL)})


def meta() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-meta",
        "Plimsoll / Plimsoll",
        "Whether Plimsoll itself works: collectors, exporter, relay, rules, notifications.",
        variables=[
            variable(
                "server", "Server", "server:pg_up:max", "PostgreSQL servers, by their name in plimsoll.yml."
            ),
            variable(
                "engine",
                "Engine",
                "engine:plimsoll_containers_measured:is_present",
                "Container engines, by their name in plimsoll.yml.",
            ),
            variable(
                "instance", "Process", f"up{{{_PLIMSOLL}}}", "Exporters and relays, as Prometheus names them."
            ),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS)],
        sections=[
            Section("", [*_first(), _processes().height(7)]),
            Section("What is measured", _measuring()),
            Section("Prometheus and Alertmanager", _judging()),
            Section("Relay", _relay()),
            Section("What the processes use", _usage()),
        ],
    )


def _first() -> list[Table | Stat]:
    return [
        _banner().span(18).height(6),
        _critical().span(3).height(6),
        _other_alerts().span(3).height(6),
        _exporter(),
        _servers(),
        _engines(),
        _failing(),
        _oldest(),
        _lost(),
    ]


def _measuring() -> list[Timeline | Table | Graph]:
    return [
        _failures(),
        _collections(),
        _durations(),
        _ages(),
        _sql_queries().span(14).height(8),
        _sources_of_usage().span(10),
    ]


def _judging() -> list[Stat | Graph]:
    return [
        _alertmanagers(),
        _failed_rules(),
        _rules_version(),
        _alerts_judged(),
        _silences(),
        _series(),
        _samples().span(8),
        _new_series().span(8),
        _scrapes().span(8),
        _groups(),
        _missed(),
        _notifications().span(24),
    ]


def _relay() -> list[Stat | Timeline | Graph]:
    return [
        _unanswered(),
        _last_look(),
        _history(),
        _last_written(),
        _unrecorded(),
        _taken(),
        _relay_states().height(7),
        _in_flight(),
        _refused(),
    ]


# --- what fires ---------------------------------------------------------------------------------------------


def _banner() -> Table:
    return table(
        "Alerts about Plimsoll that fire",
        "While one of these fires, silence of other alerts proves nothing, so deal with it first. What is "
        "not about the server, engine or process chosen above is left out, unless it is about none.",
        [
            _described(severity(_ALERTS), graded(_ALERTS)),
            label("Alert", "alertname").wide(200),
            label("About", "about"),
            since("Since", described(firing(_ALERTS))),
            _described(silenced(_ALERTS, SUBJECT), told(_ALERTS, SUBJECT)),
            Column("Dismiss", "dismiss")
            .linked("Silence it in Alertmanager", silence("silences/new"), elsewhere=True)
            .wide(90),
        ],
        empty="No alert about Plimsoll fires.",
        sorted_by="Severity",
        descending=False,
    )


def _described(column: Column, alerts: str) -> Column:
    """Let the rows of a column have the label `about`."""
    return replace(column, query=rows(described(alerts)))


def _critical() -> Stat:
    return count_of_bad(
        "Critical",
        "Critical alerts about Plimsoll that fire now, silenced or not: an exporter or relay cannot be "
        "reached. Read the list beside it.",
        CRITICAL,
        now(f'count(ALERTS{{alertstate="firing",severity="critical",{_ALERTS}}}) or vector(0)'),
    )


def _other_alerts() -> Stat:
    return count_of_bad(
        "Others",
        "Alerts about Plimsoll of any other severity that fire now, silenced or not.",
        NOTICE,
        now(f'count(ALERTS{{alertstate="firing",severity!="critical",{_ALERTS}}}) or vector(0)'),
    )


# --- key numbers --------------------------------------------------------------------------------------------


def _exporter() -> Stat:
    return (
        stat(
            "Exporter",
            "Whether Prometheus can scrape every exporter. If not, nothing is measured through it: look at "
            "the error on Prometheus' page /targets, then whether its process runs.",
            "none",
            now("min(exporter:up:max)"),
        )
        .mappings(_REACHABLE)
        .no_value("Prometheus has no job plimsoll")
    )


def _servers() -> Stat:
    up = f"server:pg_up:max{{{_SERVERS}}}"
    return count_of_bad(
        "Servers that do not answer",
        "PostgreSQL servers that the exporter cannot ask. Is the server up, and may the exporter's role "
        "connect? `plimsoll check --connect` says what is missing.",
        CRITICAL,
        now(_count_of_zeros(up)),
    ).no_value("no server is measured")


def _engines() -> Stat:
    present = 'engine:plimsoll_containers_measured:is_present{engine=~"$engine"}'
    return count_of_bad(
        "Engines that do not answer",
        "Container engines that the exporter cannot ask. Does the engine run, and may the exporter use its "
        "socket? Meanwhile there are no series of its containers.",
        CRITICAL,
        now(_count_of_zeros(present)),
    ).no_value("no engine is watched")


def _failing() -> Stat:
    return count_of_bad(
        "Collections that fail",
        "Parts of the exporter's work that fail now: what they measure is missing, or repeated from before. "
        "The list below names them; the exporter's log has the errors.",
        BAD,
        now(_count_of_zeros(_SUCCESS)),
    ).no_value("nothing is collected")


def _oldest() -> Stat:
    ages = f"database:pg_sizes_oldest_timestamp_seconds:age_seconds{{{_SERVERS}}}"
    return stat(
        "Oldest size",
        "How long ago the size was measured that is oldest of all databases. The graph below has each "
        "database, and from when on an alert fires.",
        "s",
        now(f"max({ages})"),
    ).no_value("no size is measured")


def _lost() -> Stat:
    dropped = "sum(increase(prometheus_notifications_dropped_total[1h]))"
    given_up = 'sum(increase(alertmanager_notifications_failed_total{reason!="contextCanceled"}[1h]))'
    return (
        count_of_bad(
            "Notifications lost in an hour",
            "What Prometheus could hand to no Alertmanager, and what Alertmanager gave up. Above zero, "
            "somebody was not told: the logs of both have the reason, and the graph below says which of "
            "them.",
            CRITICAL,
            now(f"({dropped} or 0 * {given_up}) + ({given_up} or 0 * {dropped})"),
        )
        .decimals(0)
        .no_value(_MONITORS_MISSING)
    )


def _count_of_zeros(series: str) -> str:
    """Count what is 0; nothing at all if there is nothing to count."""
    return f"count({series} == 0)\nor\n0 * count({series})"


# --- processes ----------------------------------------------------------------------------------------------


def _each(name: str) -> str:
    """Give what each process says under a name that begins with that of its program."""
    programs = ("plimsoll", "prometheus", "alertmanager")
    return "\nor\n".join(f"{program}_{name}{{{_PROCESSES}}}" for program in programs)


def _of_ours(series: str) -> str:
    """Give a metric that any process may have, of these processes."""
    return f"max by (job, instance) ({series})\nand on (job, instance) (\n{_each('build_info')}\n)"


def _processes() -> Table:
    monitors = "\nor\n".join(
        f"last_over_time({program}_build_info[1d])" for program in ("prometheus", "alertmanager")
    )
    up = (
        f"max by (job, instance) (\nexporter:up:max{{{_PROCESSES}}}\nor\nrelay:up:max{{{_PROCESSES}}}\nor\n"
        f"up{{{_PROCESSES}}} and on (job, instance) (\n{monitors}\n)\n)"
    )
    versions = f"topk by (job, instance) (1,\n{_each('build_info')}\n)"
    states = (
        f"{up} * on (job, instance) group_left (version) {versions}\n"
        f"or\n({up} unless on (job, instance) {versions})"
    )
    accepted = f"max by (job, instance) (\n{_each('config_last_reload_successful')}\n)"
    loaded = f"max by (job, instance) (\n{_each('config_last_reload_success_timestamp_seconds')}\n)"
    cpu = _of_ours(f"rate(process_cpu_seconds_total{{{_PROCESSES}}}[$__rate_interval])")
    return table(
        "Processes",
        "Every exporter and relay, and what else Prometheus scrapes of Prometheus and Alertmanager. "
        "unreachable: see whether it runs. refused: its file was changed and is wrong, and the former holds "
        "until its next start; `plimsoll check` names the mistakes.",
        [
            value("State", "none", states).mapped(_REACHABLE).wide(130),
            label("Job", "job").wide(130),
            label("Process", "instance"),
            label("Version", "version").wide(100),
            value("Configuration", "none", accepted)
            .mapped(words({"1": ("✔ accepted", GOOD), "0": ("✖ refused", BAD)}))
            .wide(120),
            since("Loaded", loaded),
            since("Started", _of_ours(f"process_start_time_seconds{{{_PROCESSES}}}")),
            value("CPU", "percentunit", cpu, decimals=1).wide(80),
            value("Memory", "bytes", _of_ours(f"process_resident_memory_bytes{{{_PROCESSES}}}")).wide(100),
        ],
        empty="Prometheus scrapes neither the job plimsoll nor plimsoll-relay.",
        sorted_by="State",
        descending=False,
    )


def _usage() -> list[Graph]:
    return [
        _of_processes(
            "CPU",
            "In cores. The exporter works once a scrape; if it is busy all the time, it has too many tables "
            "or too short an interval: lengthen `tables.interval`.",
            "none",
            f"rate(process_cpu_seconds_total{{{_PROCESSES}}}[$__rate_interval])",
        ),
        _of_processes(
            "Memory",
            "Resident memory. Steady growth over days, without more tables or containers, is a leak: keep "
            "the graph for a report, and restart the process.",
            "bytes",
            f"process_resident_memory_bytes{{{_PROCESSES}}}",
        ),
        _of_processes(
            "Open files",
            "File descriptors and sockets, as a part of the limit of the process. Near all of it, nothing "
            "can be opened or connected any more: raise the limit (`ulimit -n`), and see what is open.",
            "percentunit",
            f"process_open_fds{{{_PROCESSES}}} / process_max_fds{{{_PROCESSES}}}",
        ),
    ]


def _of_processes(title: str, description: str, unit: str, series: str) -> Graph:
    panel = graph(title, description, unit, over_time(_of_ours(series), "{{job}} {{instance}}"))
    return panel.min(0).span(8)


# --- what is measured ---------------------------------------------------------------------------------------


def _failures() -> Timeline:
    signal = f"collector:plimsoll_collector_success:max{{{_TARGETS}}}"
    lowest = f"min by ({_COLLECTION}) (min_over_time({signal}[$__range] @ end()))"
    return (
        timeline(
            "Collections that failed at some time",
            "Since when, and whether all began to fail together: then look at the server, the network or the "
            "role, and at the exporter's log. One alone: often a right is missing in one database.",
            over_time(
                f"{_SUCCESS} and on ({_COLLECTION}) topk(30, 1 - {lowest} == 1)",
                "{{collector}} {{server}}{{engine}} {{datname}}",
                at_least="1m",
            ),
        )
        .mappings(_SUCCEEDS)
        .no_value("No collection failed in this time.")
        .height(7)
    )


def _collections() -> Table:
    worst = f"topk(100,\n1e6 * (1 - {_SUCCESS}) + {_DURATION}\n)"
    last = f"max by ({_COLLECTION}) (plimsoll_collector_last_success_timestamp_seconds{{{_TARGETS}}})"
    return table(
        "Collections: what fails, and what takes longest",
        "At most 100, the failing ones first. Took is with the wait for a connection: near a timeout of the "
        "configuration it is too slow, near 0 it is refused at once. `plimsoll check --connect` tries each, "
        "and has the statement that mends missing rights.",
        [
            value("State", "none", f"{_SUCCESS} and on ({_COLLECTION}) {worst}").mapped(_SUCCEEDS).wide(120),
            label("Collector", "collector").wide(120),
            label("Server", "server"),
            label("Engine", "engine"),
            label("Database", "datname"),
            value("Took", "s", f"{_DURATION} and on ({_COLLECTION}) {worst}").wide(110),
            since("Last success", f"{last} and on ({_COLLECTION}) {worst}").with_(noValue="never"),
        ],
        empty="Nothing is collected: does the exporter run, and does its file name servers or engines?",
        sorted_by="State",
        descending=False,
    )


def _durations() -> Graph:
    slowest = f"max by ({_COLLECTION}) (plimsoll_collector_duration_seconds{{{_TARGETS}}} @ end())"
    return (
        graph(
            "How long collections take",
            "The 20 that take longest now. One that climbs with its tables is served by a longer "
            "`tables.interval`; one that jumped waits for locks, a slow disk or a connection.",
            "s",
            over_time(
                f"{_DURATION} and on ({_COLLECTION}) topk(20, {slowest})",
                "{{collector}} {{server}}{{engine}} {{datname}}",
            ),
        )
        .min(0)
        .no_value("Nothing is collected: does the exporter run?")
    )


def _ages() -> Graph:
    ages = f"database:pg_sizes_oldest_timestamp_seconds:age_seconds{{{_SERVERS}}}"
    panel = graph(
        "Age of the oldest size",
        "Of the 20 databases where it is greatest now. Above the dashed line MeasurementsTooOld fires: "
        "somebody holds a lock for hours, or the exporter cannot keep up; the page Storage lists what could "
        "not be measured, and why.",
        "s",
        over_time(f"{ages} and on (server, datname) topk(20, {ages} @ end())", "{{server}} {{datname}}"),
        over_time('plimsoll:alert_threshold{alertname="MeasurementsTooOld"}', "threshold {{override}}"),
    )
    return dashed(panel.min(0), "/^threshold/", BAD).no_value("No size is measured yet.")


def _sql_queries() -> Table:
    def of(metric: str, labels: str = _QUERY) -> str:
        return f"max by ({labels}) ({metric}{{{_SERVERS}}})"

    reasons = of("plimsoll_sql_query_failure_reason", f"{_QUERY}, reason")
    states = (
        f"bottomk(100,\n0 * {reasons}\nor\n"
        f"{of('plimsoll_sql_query_success')} unless on ({_QUERY}) {reasons}\nor\n"
        f"({of('plimsoll_sql_databases', 'server, sql_collector')} == 0) - 1\n)"
    )
    shown = {"1": ("✔ succeeds", GOOD), "0": ("✖ fails", BAD), "-1": ("? runs nowhere", NOTICE)}
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


# --- Prometheus and Alertmanager ----------------------------------------------------------------------------


def _alertmanagers() -> Stat:
    return (
        stat(
            "Alertmanagers",
            "How many Prometheus knows. With 0 nobody is told anything: name them under `alerting` in its "
            "configuration.",
            "none",
            now("min(prometheus_notifications_alertmanagers_discovered)"),
        )
        .thresholds(from_values(CRITICAL, (1, GOOD)))
        .no_value("Prometheus is not scraped")
    )


def _failed_rules() -> Stat:
    return (
        count_of_bad(
            "Rules that failed in an hour",
            "Evaluations of rules that ended with an error: what they record or judge has gaps. Prometheus' "
            "page /rules has the errors.",
            CRITICAL,
            now("sum(increase(prometheus_rule_evaluation_failures_total[1h]))"),
        )
        .decimals(0)
        .no_value("Prometheus is not scraped")
    )


def _rules_version() -> Stat:
    return (
        stat(
            "Rules",
            "Which rules Prometheus runs: the version in alerts.yml. If it is not that of the file that "
            "`plimsoll render` wrote last, reload Prometheus; two at once are two files of alerts.",
            "none",
            now("count by (version) (plimsoll:rules_info)", "{{version}}"),
        )
        .text_mode(BigValueTextMode.NAME)
        .no_value("the rules are not loaded")
    )


def _alerts_judged() -> Stat:
    return stat(
        "Alerts that are judged",
        "How many alerts are enabled; those that are not are on the page Alerts. Fewer than you expect: is "
        "the rendered alerts.yml the one that Prometheus reads?",
        "none",
        now('count(count by (alertname) (plimsoll:alert_info{enabled="true"}))'),
    ).no_value("the rules are not loaded")


def _silences() -> Stat:
    return stat(
        "Silences in force",
        "In Alertmanager, acknowledgements included. More than you know of: look through its page Silences, "
        "for one with wide matchers hides what you ought to see.",
        "none",
        now('max(alertmanager_silences{state="active"})'),
    ).no_value("Alertmanager is not scraped")


def _series() -> Stat:
    return stat(
        "Series in Prometheus",
        "Of all jobs. Each costs a few kilobytes of memory; if Prometheus runs short of it, see below which "
        "process brings how many.",
        "short",
        now("max(prometheus_tsdb_head_series)"),
    ).no_value("Prometheus is not scraped")


def _samples() -> Graph:
    return _of_scrapes(
        "Series of each process",
        "How many samples a scrape gives. It grows with tables and containers; a jump is a server with many "
        "more tables, a step to few a server that is away.",
        "short",
        f"scrape_samples_scraped{{{_PLIMSOLL},{_PROCESSES}}}",
    )


def _new_series() -> Graph:
    return _of_scrapes(
        "New series within an hour",
        "Series that had not been there a scrape before. Steadily many of them: tables or containers come "
        "and go all the time; leave them out (`exclude`), or they fill Prometheus' memory.",
        "short",
        f"sum_over_time(scrape_series_added{{{_PLIMSOLL},{_PROCESSES}}}[1h])",
    )


def _scrapes() -> Graph:
    panel = _of_scrapes(
        "How long a scrape takes",
        "Near the timeout of its job (10 s as shipped), pages come without what was not ready. The dashed "
        "line is the timeout, where Prometheus runs with --enable-feature=extra-scrape-metrics.",
        "s",
        f"scrape_duration_seconds{{{_PLIMSOLL},{_PROCESSES}}}",
    )
    timeout = f"min(scrape_timeout_seconds{{{_PLIMSOLL},{_PROCESSES}}})"
    return dashed(panel.with_target(over_time(timeout, "timeout").ref_id("B")), "/^timeout$/", BAD)


def _of_scrapes(title: str, description: str, unit: str, series: str) -> Graph:
    panel = graph(
        title, description, unit, over_time(f"max by (job, instance) ({series})", "{{job}} {{instance}}")
    )
    return panel.min(0).no_value("Prometheus has no job plimsoll.")


def _groups() -> Graph:
    def of_group(metric: str, at: str = "") -> str:
        named = f'label_replace({metric}{at}, "group", "$1", "rule_group", ".*;(.*)")'
        return f"max by (group) ({named})"

    def part(at: str = "") -> str:
        took = of_group("prometheus_rule_group_last_duration_seconds", at)
        return f"{took} / {of_group('prometheus_rule_group_interval_seconds', at)}"

    panel = graph(
        "How much of its interval a group of rules takes",
        "The 10 groups that take longest now. At all of it, evaluations are left out and alerts come late: "
        "give Prometheus more CPU, or lengthen evaluation_interval.",
        "percentunit",
        over_time(f"{part()}\nand on (group) topk(10, {part(' @ end()')})", "{{group}}"),
    )
    return panel.min(0).no_value("Prometheus is not scraped.")


def _missed() -> Graph:
    panel = graph(
        "Evaluations that failed or were left out, within an hour",
        "Failed: the page /rules of Prometheus names the rule and the error. Left out: a group took longer "
        "than its interval. Meanwhile signals have gaps, and `for` of an alert may begin anew.",
        "none",
        over_time("sum(increase(prometheus_rule_evaluation_failures_total[1h]))", "failed"),
        over_time("sum(increase(prometheus_rule_group_iterations_missed_total[1h]))", "left out"),
    )
    return panel.min(0).decimals(0).no_value("Prometheus is not scraped.")


def _notifications() -> Graph:
    panel = graph(
        "Notifications within an hour",
        "sent counts attempts of Alertmanager to all receivers. given up: nobody was told, see its log. "
        "dropped: Prometheus reached no Alertmanager for so long that its queue was full. not posted: it "
        "could not reach one of them; the others may have been told.",
        "none",
        over_time("sum(increase(alertmanager_notifications_total[1h]))", "Alertmanager: sent"),
        over_time(
            'sum(increase(alertmanager_notifications_failed_total{reason!="contextCanceled"}[1h]))',
            "Alertmanager: given up",
        ),
        over_time("sum(increase(prometheus_notifications_dropped_total[1h]))", "Prometheus: dropped"),
        over_time("sum(increase(prometheus_notifications_errors_total[1h]))", "Prometheus: not posted"),
    )
    return panel.min(0).decimals(0).no_value(_MONITORS_MISSING)


# --- relay --------------------------------------------------------------------------------------------------


def _unanswered() -> Stat:
    return count_of_bad(
        "Sources that do not answer",
        "Alertmanagers and Prometheus that a relay asks in vain. Meanwhile nothing is taken for resolved, "
        "and without any Alertmanager acknowledgements lapse. The relay's log has the error.",
        BAD,
        now(_count_of_zeros("source:plimsoll_source_up:min")),
    ).no_value(_RELAY_MISSING)


def _last_look() -> Stat:
    return stat(
        "Last look",
        "When a relay last asked what fires; seconds ago is usual (`relay.interval`). Minutes: the relay "
        "hangs, or is gone. Restart it; nothing is lost.",
        "dateTimeFromNow",
        now("1000 * max(plimsoll_source_last_poll_timestamp_seconds)"),
    ).no_value(_RELAY_MISSING)


def _history() -> Stat:
    return (
        stat(
            "History",
            "Whether any relay could write the history the last time. If not: does the database run, has it "
            "room, may the role write? Notifications and acknowledgements go on meanwhile.",
            "none",
            now("max(relay:plimsoll_history_up:max)"),
        )
        .mappings(words({"1": ("✔ written", GOOD), "0": ("✖ not writable", BAD)}))
        .no_value("no history is set up")
    )


def _last_written() -> Stat:
    return stat(
        "History last written",
        "Each look of the relay ends with a write, so seconds ago is usual. Longer: see History beside it.",
        "dateTimeFromNow",
        now("1000 * max(plimsoll_history_last_success_timestamp_seconds)"),
    ).no_value("no history is set up")


def _unrecorded() -> Stat:
    return (
        count_of_bad(
            "Deliveries not recorded in an hour",
            "The history was away for so long that records of deliveries were dropped; they stay missing on "
            "the page Alert history. The deliveries themselves are not concerned.",
            NOTICE,
            now("sum(increase(plimsoll_history_deliveries_dropped_total[1h]))"),
        )
        .decimals(0)
        .no_value(_RELAY_MISSING)
    )


def _taken() -> Stat:
    return stat(
        "Silences, as the relay sees them",
        "Those that acknowledge, which it prolongs and ends, and others, which it leaves alone. Nothing "
        "while Alertmanager does not answer.",
        "none",
        now("max by (kind) (plimsoll_silences)", "{{kind}}"),
    ).no_value(_RELAY_MISSING)


def _relay_states() -> Timeline:
    return (
        timeline(
            "The relay, and what it needs",
            "A relay that cannot be scraped may still deliver; if not, signed webhooks get nothing, and "
            "Alertmanager tries again. Sources and the history are told apart by their names.",
            over_time("max by (instance) (relay:up:max)", "relay {{instance}}", at_least="1m"),
            over_time(
                "min by (source, url) (source:plimsoll_source_up:min)", "{{source}} {{url}}", at_least="1m"
            ),
            over_time("max(relay:plimsoll_history_up:max)", "history", at_least="1m"),
        )
        .mappings(words({"1": ("✔ works", GOOD), "0": ("✖ does not", BAD)}))
        .no_value("No relay is scraped as job plimsoll-relay; it is optional, see docs/relay.md.")
    )


def _in_flight() -> Graph:
    panel = graph(
        "Posts under way to each receiver",
        "Mostly 0. Steadily at `relay.max_in_flight` (4 unless set): the receiver is slow, and what finds no "
        "place is busy on the page Alerts, which has all results of deliveries.",
        "none",
        over_time("sum by (receiver) (plimsoll_webhook_in_flight)", "{{receiver}}"),
    )
    return panel.min(0).decimals(0).no_value("No webhook goes through a relay.")


def _refused() -> Graph:
    panel = graph(
        "Posts of Alertmanager that the relay refused, within an hour",
        "token: Alertmanager's file holds another one. unknown, inactive: render and reload both, their "
        "files differ. size, slow, invalid: not a notification of Alertmanager, or a bad network. Nobody is "
        "told of what was refused.",
        "none",
        over_time("sum by (reason) (increase(plimsoll_webhook_requests_refused_total[1h]))", "{{reason}}"),
    )
    return panel.min(0).decimals(0).no_value(_RELAY_MISSING)
