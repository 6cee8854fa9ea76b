"""A dashboard as a whole: its settings, rows of panels, and the JSON text that Grafana provisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, Dashboard, Row
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import TimeZoneBrowser

from plimsoll_dashboards.links import TAG, to_the_others
from plimsoll_dashboards.queries import PROMETHEUS
from plimsoll_dashboards.variables import datasource

_SCHEMA = 39
"""Grafana 10.4's: what is older does not mind, and what is newer brings it up to date in memory."""

_PANELS = "10.0.0"
"""The version that panels are written for; without one, Grafana would take them for those of version 6."""

Variable = Builder[models.VariableModel]
Annotation = Builder[models.AnnotationQuery]


@dataclass(frozen=True)
class Section:
    """Panels below a heading; the first section of a dashboard needs none."""

    heading: str
    panels: Sequence[Builder[models.Panel]]


def board(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Iterable[Variable],
    sections: Iterable[Section],
    annotations: Iterable[Annotation] = (),
    since: str = "now-24h",
) -> models.Dashboard:
    """Build a dashboard.

    Args:
        uid: its lasting name, which links hold on to.
        title: what it is called in lists.
        description: what it is for.
        variables: beside the data source, which all have.
        sections: its panels in reading order; each row of them fills the width.
        annotations: what is marked in its graphs.
        since: where its time begins.
    """
    builder = (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone(TimeZoneBrowser)
        .time(since, "now")
        .refresh("1m")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(to_the_others())
        .with_variable(datasource())
    )
    for variable in variables:
        builder.with_variable(variable)
    for annotation in annotations:
        builder.annotation(annotation)
    for section in sections:
        if section.heading:
            builder.with_row(Row(section.heading))
        for panel in section.panels:
            builder.with_panel(panel)
    built = builder.build()
    built.schema_version = _SCHEMA
    for number, part in enumerate(built.panels or (), 1):
        part.id_val = number
        if isinstance(part, models.Panel):
            part.plugin_version = _PANELS
    return built


def alerts_over_time(selector: str) -> AnnotationQuery:
    """Mark from when to when alerts fired.

    Args:
        selector: which, as between the braces of ALERTS.
    """
    return (
        _marks("Alerts", "orange")
        .expr(f'ALERTS{{alertstate="firing",{selector}}}')
        .title_format("{{alertname}}")
        .text_format(
            "{{severity}} {{server}}{{engine}}{{instance}} {{datname}}{{name}} {{schemaname}} {{relname}}"
        )
        .step("60s")
    )


def deployments(selector: str) -> AnnotationQuery:
    """Mark when containers were made.

    Args:
        selector: which, as between the braces of container_creation_time_seconds.
    """
    return (
        _marks("Deployments", "blue")
        .expr(f"1000 * max by (engine, name, image) (container_creation_time_seconds{{{selector}}})")
        .use_value_for_time(True)
        .title_format("{{name}} deployed")
        .text_format("{{image}} on {{engine}}")
        .step("60s")
    )


def _marks(name: str, colour: str) -> AnnotationQuery:
    return AnnotationQuery().name(name).datasource(PROMETHEUS).enable(True).hide(False).icon_color(colour)


def as_text(dashboard: models.Dashboard) -> str:
    """Give the JSON, with `id` null so that Grafana finds the dashboard by its uid."""
    values = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    for control in (*values["links"], *values["annotations"].get("list", ())):
        del control["placement"]  # Grafana 12 would hide it in a menu
    for variable in values["templating"]["list"]:
        variable["skipUrlSync"] = "hide" in variable  # it follows from others, of which an address tells
    return json.dumps({"id": None, **values}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
