"""Tells what holds for an alert and given labels, and where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.compiler import comparison, runbook_url
from plimsoll.alerts.effective import Branch, Effective
from plimsoll.alerts.labels import ALERT_LABELS
from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.alerts.mistakes import hint, labels_of
from plimsoll.alerts.rendering import Plan
from plimsoll.alerts.units import UNITS, duration, number


def branch_for(alert: Effective, labels: Mapping[str, str]) -> Branch:
    """Give what holds for a series: the first override that matches, or the base."""
    matching = (override for override in alert.overrides if override.match and override.match.matches(labels))
    return next(matching, alert.base)


def explain(plan: Plan, name: str, labels: Mapping[str, str]) -> str:
    """Explain an alert.

    Args:
        plan: the alerts as they will be.
        name: which of them.
        labels: those of a series; a label that is not given counts as absent.

    Raises:
        ValueError: there is no such alert, or its signal has no such label.
    """
    alert = plan.named(name)
    if alert is None:
        names = [alert.name for alert in plan.alerts]
        meant = hint(name, names) or "; docs/alerts.md lists those that there are"
        raise ValueError(f"there is no alert {name!r}{meant}")
    labels = {label: value for label, value in labels.items() if label not in ALERT_LABELS}
    _check_labels(plan, alert, labels)
    branch = branch_for(alert, labels)
    parts = (
        _title(alert, labels),
        _table(_values(plan, alert, branch, labels)),
        *_notes(plan, alert, branch, labels),
        *_promql(alert, branch, labels),
        *([f"Runbook: {url}"] if (url := runbook_url(alert, plan.user.links)) else []),
    )
    return "\n\n".join(parts)


def _check_labels(plan: Plan, alert: Effective, labels: Mapping[str, str]) -> None:
    known = labels_of(alert.metric.value, load_catalogue(), plan.user)
    if known is None:
        return
    if lacking := [label for label in labels if label not in known]:
        raise ValueError(f"{alert.metric.value} has no label {lacking[0]!r}; it has {', '.join(known)}")


def _title(alert: Effective, labels: Mapping[str, str]) -> str:
    return f"{alert.name}{_matchers(labels)}\n{alert.summary.value}"


def _values(
    plan: Plan, alert: Effective, branch: Branch, labels: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Give each value by its name, and where it comes from."""
    document = plan.user.document
    if branch.match is not None:
        line = document.line((*branch.place, "match"))
        yield "taken by", f"override {branch.name}", f"{document.path}:{line}"
    yield "signal", alert.metric.value, str(alert.metric.origin)
    yield "operator", alert.operator.value, str(alert.operator.origin)
    yield "threshold", alert.told(branch), str(branch.threshold.origin)
    if branch.floor.value is not None:
        yield "floor", UNITS["bytes"].show(branch.floor.value), str(branch.floor.origin)
    yield "for", duration(branch.for_.value), str(branch.for_.origin)
    yield "severity", branch.severity.value, str(branch.severity.origin)
    yield "category", alert.category, ""
    yield "enabled", "yes" if branch.enabled.value else "no", str(branch.enabled.origin)
    if branch.enabled.value:
        receivers = plan.routing.receivers_of(alert, branch, labels)
        yield "told to", ", ".join(receivers) or "nobody", _told_by(branch)


def _told_by(branch: Branch) -> str:
    return str(branch.webhook.origin) if branch.webhook.value is not None else "by the webhooks' match"


def _table(rows: Iterator[tuple[str, str, str]]) -> str:
    known = list(rows)
    width = max(len(value) for _, value, _ in known)
    return "\n".join(f"  {name:<10} {value:<{width}}  {origin}".rstrip() for name, value, origin in known)


def _notes(plan: Plan, alert: Effective, branch: Branch, labels: Mapping[str, str]) -> Iterator[str]:
    """Say on which labels it would also depend."""
    matches = (override.match for override in alert.overrides if override.match)
    asked = {"Overrides": {matcher.label for match in matches for matcher in match.matchers}}
    if branch.enabled.value and branch.webhook.value is None:
        known = labels_of(alert.metric.value, load_catalogue(), plan.user)
        asked["Webhooks"] = {label for label in plan.routing.asked_labels if known is None or label in known}
    for who, names in asked.items():
        if missing := sorted(names - labels.keys()):
            yield f"{who} also look at {', '.join(missing)}: what was not given counts as absent."


def _promql(alert: Effective, branch: Branch, labels: Mapping[str, str]) -> Iterator[str]:
    yield f"What it judges, to paste into Prometheus:\n\n{_indented(_narrowed(alert, labels))}"
    if branch.enabled.value:
        yield f"When it fires:\n\n{_indented(_firing(alert, branch, labels))}"
        yield f"The rule:\n\n{_indented(comparison(alert, branch))}"


def _narrowed(alert: Effective, labels: Mapping[str, str]) -> str:
    return f"{alert.metric.value}{_matchers(labels)}"


def _firing(alert: Effective, branch: Branch, labels: Mapping[str, str]) -> str:
    return f"{_narrowed(alert, labels)} {alert.operator.value} {number(branch.threshold.value)}"


def _matchers(labels: Mapping[str, str]) -> str:
    return str(Matchers(tuple(Matcher(label, "=", value) for label, value in labels.items())))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
