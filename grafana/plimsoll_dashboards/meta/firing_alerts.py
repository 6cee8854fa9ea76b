"""Alerts about Plimsoll that fire: a list of them, and their numbers."""

from __future__ import annotations

from dataclasses import replace

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table

from plimsoll_dashboards.columns import Column, label, since, table
from plimsoll_dashboards.firing import critical_alerts, firing, graded, other_alerts, severity, silenced, told
from plimsoll_dashboards.meta.series import ALERTS
from plimsoll_dashboards.queries import rows
from plimsoll_dashboards.subjects import OF_PRESETS, described, silence


def firing_alerts() -> list[Table | Stat]:
    """Build the panels, which fill a row."""
    return [
        _banner().span(18).height(6),
        critical_alerts("Plimsoll's own parts", ALERTS).span(3).height(6),
        other_alerts("Plimsoll's own parts", ALERTS).span(3).height(6),
    ]


def _banner() -> Table:
    return table(
        "Alerts about Plimsoll that fire",
        "While one of these fires, silence of other alerts proves nothing, so deal with it first. What is "
        "not about the server, engine or process chosen above is left out, unless it is about none.",
        [
            _with_about(severity(ALERTS), graded(ALERTS)),
            label("Alert", "alertname").wide(200),
            label("About", "about"),
            since("Since", described(firing(ALERTS))),
            _with_about(silenced(ALERTS, OF_PRESETS), told(ALERTS, OF_PRESETS)),
            Column("Dismiss", "dismiss")
            .linked("Silence it in Alertmanager", silence("silences/new"), elsewhere=True)
            .wide(90),
        ],
        empty="No alert about Plimsoll fires.",
        sorted_by="Severity",
        descending=False,
    )


def _with_about(column: Column, alerts: str) -> Column:
    """Let the rows of a column have the label `about`."""
    return replace(column, query=rows(described(alerts)))
