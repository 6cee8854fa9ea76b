"""Turns alerts into rules: those themselves, the signals that embed a number, and the alert table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from string import Template
from typing import Any

from plimsoll.alerts.catalogue import GROUPS, Catalogue
from plimsoll.alerts.effective import Branch, Effective
from plimsoll.alerts.merging import OWN_GROUP
from plimsoll.alerts.selection import Selection, base_selection, override_selection
from plimsoll.alerts.settings import LinkSettings, UserFile
from plimsoll.alerts.shape import CompiledSignal, public_address
from plimsoll.alerts.units import duration, number
from plimsoll.alerts.writing import Lines

Rule = dict[str, Any]
RuleGroup = dict[str, Any]
ReceiversOf = Callable[[Effective, Branch], Sequence[str]]
"""Names the receivers that an alert's branch may reach."""

RUNBOOKS = "docs/alerts.md"


def compile_rules(
    catalogue: Catalogue, alerts: Sequence[Effective], user: UserFile, receivers: ReceiversOf
) -> list[RuleGroup]:
    """Give the groups of alerts.yml: signals, the alert table, and the alerts of each group."""
    by_name = {alert.name: alert for alert in alerts}
    signals = [
        {"record": record, "expr": _compiled_signal(signal, by_name[signal.of])}
        for record, signal in catalogue.compiled.items()
    ]
    rows = chain.from_iterable(_table_rows(alert, receivers) for alert in alerts)
    table = [_links_info(user), *rows]
    groups = [("signals", signals), ("alert_table", table)]
    for name in (*GROUPS, OWN_GROUP):
        own = (alert for alert in alerts if alert.group == name)
        groups.append((name, list(chain.from_iterable(_alert_rules(alert, user.links) for alert in own))))
    return [{"name": name, "rules": rules} for name, rules in groups if rules]


def selection(alert: Effective, branch: Branch, metric: str | None = None) -> Selection:
    """Select the series that a branch judges, of the alert's own signal or of another one with its labels."""
    matches = [override.match for override in alert.overrides if override.match is not None]
    metric = metric or alert.metric.value
    if branch.is_base:
        return base_selection(metric, matches)
    return override_selection(metric, matches, branch.index)


def comparison(alert: Effective, branch: Branch) -> str:
    """Give the PromQL by which a branch fires."""
    return selection(alert, branch).compared(alert.operator.value, number(branch.threshold.value))


# --- signals that embed a number ----------------------------------------------------------------------------


def _compiled_signal(signal: CompiledSignal, alert: Effective) -> str:
    template = Template(signal.expr)
    used = set(template.get_identifiers()) - {"over"}
    values = [_numbers(branch, used) for branch in alert.branches]
    if all(value == values[0] for value in values):
        return template.substitute(values[0], over=signal.over)
    selections = (selection(alert, branch, signal.over) for branch in alert.branches)
    pieces = (
        template.substitute(value, over=selected.operand)
        for value, selected in zip(values, selections, strict=True)
    )
    return "\nor\n".join(f"(\n{piece}\n)" for piece in pieces)


def _numbers(branch: Branch, used: Iterable[str]) -> dict[str, str]:
    numbers = {"threshold": branch.threshold.value, "floor": branch.floor.value}
    return {name: number(value) for name, value in numbers.items() if name in used and value is not None}


# --- the alert table ----------------------------------------------------------------------------------------


def _links_info(user: UserFile) -> Rule:
    """Say where the links of dashboards lead."""
    labels = {"alertmanager": public_address(user.links.alertmanager or user.alertmanager.urls[0])}
    if user.links.runbooks:
        labels["runbooks"] = user.links.runbooks
    return {"record": "plimsoll:links_info", "expr": "vector(1)", "labels": labels}


def _table_rows(alert: Effective, receivers: ReceiversOf) -> Iterator[Rule]:
    for branch in alert.branches:
        if branch.enabled.value:
            yield {
                "record": "plimsoll:alert_threshold",
                "expr": f"vector({number(branch.threshold.value)})",
                "labels": {"alertname": alert.name, "override": branch.name},
            }
        yield {
            "record": "plimsoll:alert_info",
            "expr": "vector(1)",
            "labels": {
                "alertname": alert.name,
                "override": branch.name,
                "signal": alert.metric.value,
                "operator": alert.operator.value,
                "for": duration(branch.for_.value),
                "severity": branch.severity.value,
                "category": alert.category,
                "webhook": ",".join(receivers(alert, branch)),
                "enabled": str(branch.enabled.value).lower(),
            },
        }


# --- alerts -------------------------------------------------------------------------------------------------


def _alert_rules(alert: Effective, links: LinkSettings) -> Iterator[Rule]:
    for branch in alert.branches:
        if branch.enabled.value:
            yield {
                "alert": alert.name,
                "expr": comparison(alert, branch),
                "for": duration(branch.for_.value),
                "labels": _labels(alert, branch),
                "annotations": _annotations(alert, branch, links),
            }


def _labels(alert: Effective, branch: Branch) -> dict[str, str]:
    """Give the labels of a rule.

    Those of overrides are told apart by one more. Prometheus carries the state of alerts over a reload by the
    name and labels of their rule, and would take one override for another when a third is added.
    """
    labels = {"severity": branch.severity.value, "category": alert.category}
    return labels if branch.is_base else {**labels, "override": branch.name}


def _annotations(alert: Effective, branch: Branch, links: LinkSettings) -> Mapping[str, str]:
    threshold = alert.told(branch)
    texts = {
        "summary": alert.summary.value,
        "description": alert.description,
        "threshold": threshold,
        "value": alert.value,
        **alert.annotations,
    }
    annotations = {name: _with_threshold(text, threshold) for name, text in texts.items()}
    if runbook := runbook_url(alert, links):
        annotations["runbook_url"] = runbook
    if dashboard := _dashboard_url(alert, links):
        annotations["dashboard_url"] = dashboard
    return annotations


def _with_threshold(template: str, threshold: str) -> str:
    """Define the variable $threshold where a template uses it."""
    if "$threshold" not in template:
        return template
    quoted = threshold.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    definition = f'{{{{- $threshold := "{quoted}" -}}}}'
    return Lines(f"{definition}\n{template}") if isinstance(template, Lines) else f"{definition}{template}"


def runbook_url(alert: Effective, links: LinkSettings) -> str | None:
    """Give where an alert is explained."""
    if alert.runbook_url or not alert.preset:
        return alert.runbook_url
    return f"{links.runbooks or RUNBOOKS}#{alert.preset.lower()}"


def _dashboard_url(alert: Effective, links: LinkSettings) -> str | None:
    if alert.dashboard_url or not alert.dashboard:
        return alert.dashboard_url
    dashboard = alert.dashboard.group.dashboard
    known = [label for label in dashboard.variables if alert.labels is None or label in alert.labels]
    variables = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in known)
    return f"{links.dashboards.rstrip('/')}/d/{dashboard.uid}{'?' if variables else ''}{variables}"
