"""Prometheus and Alertmanager: whether rules are evaluated in time, and whether anybody is told."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import BigValueTextMode

from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, from_values
from plimsoll_dashboards.meta.series import (
    DROPPED,
    GIVEN_UP,
    MONITORS_MISSING,
    PLIMSOLL,
    PROCESSES,
    in_an_hour,
)
from plimsoll_dashboards.panels import count_of_bad, dashed, graph, stat
from plimsoll_dashboards.queries import now, over_time

_FAILED_RULES = in_an_hour("prometheus_rule_evaluation_failures_total")

_PROMETHEUS_MISSING = "Prometheus is not scraped"


def judging() -> list[Stat | Graph]:
    """Build the panels, in reading order."""
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
        .no_value(_PROMETHEUS_MISSING)
    )


def _failed_rules() -> Stat:
    return (
        count_of_bad(
            "Rules that failed in an hour",
            "Evaluations of rules that ended with an error: what they record or judge has gaps. Prometheus' "
            "page /rules has the errors.",
            CRITICAL,
            now(_FAILED_RULES),
        )
        .decimals(0)
        .no_value(_PROMETHEUS_MISSING)
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
    ).no_value(_PROMETHEUS_MISSING)


def _samples() -> Graph:
    return _of_scrapes(
        "Series of each process",
        "How many samples a scrape gives. It grows with tables and containers; a jump is a server with many "
        "more tables, a step to few a server that is away.",
        "short",
        f"scrape_samples_scraped{{{PLIMSOLL},{PROCESSES}}}",
    )


def _new_series() -> Graph:
    return _of_scrapes(
        "New series within an hour",
        "Series that had not been there a scrape before. Steadily many of them: tables or containers come "
        "and go all the time; leave them out (`exclude`), or they fill Prometheus' memory.",
        "short",
        f"sum_over_time(scrape_series_added{{{PLIMSOLL},{PROCESSES}}}[1h])",
    )


def _scrapes() -> Graph:
    panel = _of_scrapes(
        "How long a scrape takes",
        "Near the timeout of its job (10 s as shipped), pages come without what was not ready. The dashed "
        "line is the timeout, where Prometheus runs with --enable-feature=extra-scrape-metrics.",
        "s",
        f"scrape_duration_seconds{{{PLIMSOLL},{PROCESSES}}}",
    )
    timeout = f"min(scrape_timeout_seconds{{{PLIMSOLL},{PROCESSES}}})"
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
    return panel.min(0).no_value(f"{_PROMETHEUS_MISSING}.")


def _missed() -> Graph:
    panel = graph(
        "Evaluations that failed or were left out, within an hour",
        "Failed: the page /rules of Prometheus names the rule and the error. Left out: a group took longer "
        "than its interval. Meanwhile signals have gaps, and `for` of an alert may begin anew.",
        "none",
        over_time(_FAILED_RULES, "failed"),
        over_time(in_an_hour("prometheus_rule_group_iterations_missed_total"), "left out"),
    )
    return panel.min(0).decimals(0).no_value(f"{_PROMETHEUS_MISSING}.")


def _notifications() -> Graph:
    panel = graph(
        "Notifications within an hour",
        "sent counts attempts of Alertmanager to all receivers. given up: nobody was told, see its log. "
        "dropped: Prometheus reached no Alertmanager for so long that its queue was full. not posted: it "
        "could not reach one of them; the others may have been told.",
        "none",
        over_time(in_an_hour("alertmanager_notifications_total"), "Alertmanager: sent"),
        over_time(GIVEN_UP, "Alertmanager: given up"),
        over_time(DROPPED, "Prometheus: dropped"),
        over_time(in_an_hour("prometheus_notifications_errors_total"), "Prometheus: not posted"),
    )
    return panel.min(0).decimals(0).no_value(MONITORS_MISSING)
