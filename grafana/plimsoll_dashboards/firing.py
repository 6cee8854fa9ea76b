"""Alerts that fire, as rows that have the same labels in every query and so come together in one table.

Only Prometheus is asked, so that alerts are seen without the relay; only who has taken them comes from there.
"""

from __future__ import annotations

from collections.abc import Iterable

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.models.dashboard import DashboardRegexMapOptions, RegexMap, ValueMappingResult

from plimsoll_dashboards.colours import (
    CRITICAL,
    GOOD,
    NOTICE,
    QUIET,
    SEVERITIES,
    TAKEN,
    severity_ranks,
    words,
)
from plimsoll_dashboards.columns import Column, since, table, value
from plimsoll_dashboards.links import at_alertmanager
from plimsoll_dashboards.matchers import extended
from plimsoll_dashboards.panels import count_of_bad
from plimsoll_dashboards.queries import now, numbered

TOLD = {
    "-1": ("? no relay to ask", QUIET),
    "0": ("no", GOOD),
    "1": ("✓ acknowledged", TAKEN),
    "2": ("✓ silenced", TAKEN),
}


RULES = "plimsoll:alert_info"
"""There while Prometheus evaluates the rules."""


def firing(selector: str) -> str:
    """Give since when alerts fire that `selector` fits, in seconds since the epoch, by their labels."""
    return (
        f'(ALERTS_FOR_STATE{{{selector}}} and ignoring (alertstate) ALERTS{{alertstate="firing",{selector}}})'
    )


def critical_alerts(subjects: str, selector: str, judged: str = RULES) -> Stat:
    """Count the critical alerts that fire.

    Args:
        subjects: what they are about, a plural.
        selector: which alerts.
        judged: series without which nothing could fire, so that 0 is said only while there are any.
    """
    return count_of_bad(
        "Critical alerts",
        f"Alerts about {subjects} of severity critical that fire now, silenced or not. Above zero: read the "
        "list of them.",
        CRITICAL,
        firing_count(f'severity="critical",{selector}', judged),
    )


def other_alerts(subjects: str, selector: str, judged: str = RULES) -> Stat:
    """Count the alerts that fire and are not critical; see `critical_alerts`."""
    return count_of_bad(
        "Other alerts",
        f"Alerts about {subjects} of any other severity that fire now, silenced or not. They are in the list "
        "of alerts, after the critical ones.",
        NOTICE,
        firing_count(f'severity!="critical",{selector}', judged),
    )


def firing_count(selector: str, judged: str) -> Dataquery:
    """Ask how many alerts fire; see `critical_alerts`."""
    return now(f'count(ALERTS{{alertstate="firing",{selector}}})\nor\n0 * count({judged})')


def banner(
    title: str,
    description: str,
    selector: str,
    named_by: tuple[str, ...],
    columns: Iterable[Column],
    *,
    empty: str,
) -> Table:
    """List the alerts that fire, the gravest first, with whether anybody is told and a link to silence each.

    Args:
        title: above it.
        description: what to do about them.
        selector: which alerts.
        named_by: the labels that tell one alert of a name from another.
        columns: between the severity and these.
        empty: what it says where nothing fires.
    """
    return table(
        title,
        f"{description} Dismiss opens Alertmanager's form, filled in: the relay prolongs a silence whose "
        "comment begins with ACK! until the alert has resolved.",
        [
            severity(selector, ("alertname", *named_by)),
            *columns,
            silenced(selector, ", ".join(named_by)),
            dismiss(),
        ],
        empty=empty,
        sorted_by="Severity",
        descending=False,
    )


def severity(selector: str, silenced_by: tuple[str, ...] = ()) -> Column:
    """Show the severity, as a number so that a table can be sorted by it; the first column of its table.

    Its rows get the label `dismiss`, for a link to hang on.

    Args:
        selector: which alerts.
        silenced_by: labels by which a silence names an alert. They become the value of `dismiss`, so that the
            link needs no columns: there is none for a label that no alert has at the moment.
    """
    expression = graded(selector)
    column = value("Severity", "none", _matched(expression, silenced_by) if silenced_by else expression)
    shown = {"type": "color-background", "mode": "basic"}
    return column.mapped(severity_ranks()).with_(custom_cellOptions=shown).wide(110)


def _matched(alerts: str, names: tuple[str, ...]) -> str:
    """Let the label `dismiss` have matchers for labels, also for those that an alert lacks."""
    first, *others = names
    expression = f"label_replace({alerts}, 'dismiss', '{first}=\"$1\"', '{first}', '(.*)')"
    for name in others:
        expression = extended(expression, "dismiss", name, f'$1,{name}="$2"')
    return expression


def graded(selector: str) -> str:
    """Give alerts the places of their severities in the order; `dismiss` is a label for a link to hang on."""
    alerts = firing(selector)
    unknown = len(SEVERITIES) - 1
    known = f"0 * {alerts} + on (severity) group_left () (\n{numbered('severity', SEVERITIES)}\n)"
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
        f"0 * {firing(selector)} + on ({labels}) group_left () max by ({labels}) ({series})"
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


def dismiss() -> Column:
    """Show a link to the form of Alertmanager that silences this alert by what `severity` was given."""
    whatever = DashboardRegexMapOptions(".*", ValueMappingResult(text="Dismiss", index=0))
    column = Column("Dismiss", "dismiss").with_(mappings=[RegexMap(whatever)]).wide(90)
    form = at_alertmanager("silences/new", "${__value.raw:percentencode}")
    return column.linked("Silence it in Alertmanager", form, elsewhere=True)
