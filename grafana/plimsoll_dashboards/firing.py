"""Alerts that fire, as rows that have the same labels in every query and so come together in one table.

Only Prometheus is asked, so that alerts are seen without the relay; only who has taken them comes from there.
"""

from __future__ import annotations

from plimsoll_dashboards.colours import GOOD, QUIET, SEVERITIES, TAKEN, severity_ranks, words
from plimsoll_dashboards.columns import Column, since, value
from plimsoll_dashboards.links import silence

TOLD = {
    "-1": ("? no relay to ask", QUIET),
    "0": ("no", GOOD),
    "1": ("✓ acknowledged", TAKEN),
    "2": ("✓ silenced", TAKEN),
}


def firing(selector: str) -> str:
    """Give since when alerts fire that `selector` fits, in seconds since the epoch, by their labels."""
    return (
        f'(ALERTS_FOR_STATE{{{selector}}} and ignoring (alertstate) ALERTS{{alertstate="firing",{selector}}})'
    )


def severity(selector: str) -> Column:
    """Show the severity, as a number so that a table can be sorted by it; the first column of its table.

    Its rows get the label `dismiss`, for a link to hang on.
    """
    column = value("Severity", "none", graded(selector))
    shown = {"type": "color-background", "mode": "basic"}
    return column.mapped(severity_ranks()).with_(custom_cellOptions=shown).wide(110)


def graded(selector: str) -> str:
    """Give alerts the places of their severities in the order; `dismiss` is a label for a link to hang on."""
    ranks = "\nor\n".join(
        f'label_replace(vector({rank}), "severity", "{name}", "", "")' for rank, name in enumerate(SEVERITIES)
    )
    alerts = firing(selector)
    unknown = len(SEVERITIES) - 1
    known = f"0 * {alerts} + on (severity) group_left () (\n{ranks}\n)"
    return f'label_replace(\n{known}\nor\n0 * {alerts} + {unknown}\n, "dismiss", "Dismiss", "", "")'


def fires_since(selector: str) -> Column:
    """Show how long an alert has been active."""
    return since("Since", firing(selector))


def measured(title: str, unit: str, *choices: tuple[str, str, str]) -> Column:
    """Show a measurement beside each alert.

    Args:
        title: of the column.
        unit: of the measurement.
        choices: which alerts, the labels by which a series belongs to one of them, and the series.
    """
    parts = (
        f"0 * {firing(selector)} + on ({labels}) group_left () {series}"
        for selector, labels, series in choices
    )
    return value(title, unit, "\nor\n".join(parts))


def silenced(selector: str, labels: str) -> Column:
    """Show whether anybody is told of an alert.

    Args:
        selector: which alerts.
        labels: what tells one alert of a name from another.
    """
    return value("Silenced", "none", told(selector, labels)).mapped(words(TOLD)).wide(140)


def told(selector: str, labels: str) -> str:
    """Give whether anybody is told of alerts, as a key of TOLD; see `silenced`."""
    alerts = firing(selector)
    states = "\nor\n".join(
        f"0 * {alerts} + on (alertname, {labels}) group_left () "
        f'({number} * max by (alertname, {labels}) (alert:plimsoll_alert_suppressed:max{{state="{state}"}}))'
        for number, state in ((1, "acknowledged"), (2, "suppressed"))
    )
    return f"{states}\nor\n0 * {alerts} and on () plimsoll_alerts_unacknowledged\nor\n0 * {alerts} - 1"


def dismiss(fields: tuple[str, ...]) -> Column:
    """Show a link to the form of Alertmanager that silences this alert.

    Args:
        fields: the labels that the silence names, each a column of the table.
    """
    column = Column("Dismiss", "dismiss").wide(90)
    return column.linked("Silence it in Alertmanager", silence(fields), elsewhere=True)
