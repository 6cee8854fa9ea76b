"""Panels in the house style. What a panel leaves out of its arguments is chained on: `.span(8).height(6)`."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import statetimeline as timelines
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import text as texts
from grafana_foundation_sdk.builders import timeseries as graphs
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import Panel
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
from grafana_foundation_sdk.models.text import TextMode

from plimsoll_dashboards.colours import GOOD, QUIET, by_thresholds, from_values, nothing_known
from plimsoll_dashboards.queries import HISTORY, PROMETHEUS, Query, Sql

WIDTH = 24
"""Of a row of panels, in the units of `span`."""

_Panel = TypeVar("_Panel", stats.Panel, graphs.Panel, timelines.Panel)
_Asking = Panel | tables.Panel | stats.Panel | graphs.Panel | timelines.Panel


def stat(title: str, description: str, unit: str, *queries: Query) -> stats.Panel:
    """Show one number, without a colour until thresholds give it one."""
    panel = (
        stats.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(from_values(QUIET))
        .color_scheme(by_thresholds())
        .span(4)
        .height(4)
    )
    return _completed(panel, title, description, unit, queries)


def count_of_bad(title: str, description: str, colour: str, query: Query) -> stats.Panel:
    """Show how many of something bad there are: green at zero, grey where the query gives nothing."""
    return (
        stat(title, description, "none", query)
        .thresholds(from_values(GOOD, (1, colour)))
        .color_mode(BigValueColorMode.BACKGROUND)
        .mappings([nothing_known()])
        .no_value("unknown")
    )


def graph(title: str, description: str, unit: str, *queries: Query) -> graphs.Panel:
    """Draw lines over time, with a legend that tells the last and the highest value."""
    panel = (
        graphs.Panel()
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .span(12)
        .height(8)
    )
    return _completed(panel, title, description, unit, queries)


def stacked(panel: graphs.Panel) -> graphs.Panel:
    """Stack the lines of a graph, whose sum then means something."""
    return panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A")).fill_opacity(60)


def dashed(panel: graphs.Panel, series: str, colour: str) -> graphs.Panel:
    """Draw what `series`, a regular expression, matches as a dashed line that is not stacked with others."""
    return panel.override_by_regexp(
        series,
        [
            DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]}),
            DynamicConfigValue(id_val="custom.lineWidth", value=2),
            DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "limit"}),
            DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour}),
        ],
    )


def timeline(title: str, description: str, *queries: Query) -> timelines.Panel:
    """Draw states over time, a row for each series; its values need mappings."""
    panel = (
        timelines.Panel()
        .merge_values(True)
        .show_value(VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .span(WIDTH)
        .height(8)
    )
    return _completed(panel, title, description, "none", queries)


def text(title: str, description: str, markdown: str) -> texts.Panel:
    """Show words."""
    return (
        texts.Panel()
        .title(title)
        .description(description)
        .mode(TextMode.MARKDOWN)
        .content(markdown)
        .span(WIDTH)
        .height(4)
    )


def asking(panel: _Asking, *queries: Query) -> None:
    """Give a panel its queries, named A, B, C…, and the data source that all of them ask."""
    panel.datasource(HISTORY if isinstance(queries[0], Sql) else PROMETHEUS)
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(query.ref_id(letter))  # type: ignore[attr-defined]  # every builder of a query has it


def _completed(panel: _Panel, title: str, description: str, unit: str, queries: tuple[Query, ...]) -> _Panel:
    asking(panel, *queries)
    return panel.title(title).description(description).unit(unit)
