"""Tables: each column is a label of the first query, or the value of a query of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any, Self

from grafana_foundation_sdk.builders.common import TableSortByFieldState
from grafana_foundation_sdk.builders.table import Panel
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    MatcherConfig,
    ValueMapping,
)

from plimsoll_dashboards.panels import WIDTH, asking
from plimsoll_dashboards.queries import Query, over_time, rows

_SPARKLINE = {"type": "sparkline", "lineWidth": 1, "fillOpacity": 20, "hideValue": True}


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        title: what stands above it.
        source: the label whose values it shows; empty for the value of `query`.
        query: where the value comes from.
        is_trend: whether that is a series for each row, drawn small.
        properties: how it looks, as Grafana's overrides name it.
    """

    title: str
    source: str = ""
    query: Query | None = None
    is_trend: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)

    def with_(self, **properties: Any) -> Self:
        """Look otherwise; `custom_width` stands for `custom.width`."""
        named = {name.replace("custom_", "custom."): value for name, value in properties.items()}
        return replace(self, properties={**self.properties, **named})

    def wide(self, pixels: int) -> Self:
        """Have this width."""
        return self.with_(custom_width=pixels)

    def linked(self, title: str, url: str, *, elsewhere: bool = False) -> Self:
        """Lead somewhere; `elsewhere` is in a new tab."""
        link = {"title": title, "url": url, "targetBlank": elsewhere}
        return self.with_(links=[*self.properties.get("links", ()), link])

    def mapped(self, mappings: Iterable[ValueMapping]) -> Self:
        """Show words for values, in their colours."""
        return self.with_(mappings=list(mappings), custom_cellOptions={"type": "color-text"})


def label(title: str, source: str) -> Column:
    """Show a label."""
    return Column(title, source).with_(unit="string", noValue="")


def value(title: str, unit: str, expression: str, **properties: Any) -> Column:
    """Show the value of a query, in which every row has the labels that it has in the others.

    Where a row has none, the cell is empty, unless `noValue` says otherwise: the table's own is for no rows.
    """
    column = Column(title, query=rows(expression))
    return column.with_(**{"unit": unit, "noValue": "", **properties})


def since(title: str, expression: str) -> Column:
    """Show how long ago a time was that is given in seconds since the epoch."""
    return value(title, "dateTimeFromNow", f"1000 * ({expression})").wide(130)


def trend(title: str, unit: str, expression: str, *, at_least: str) -> Column:
    """Show how a value came about over the dashboard's time.

    Grafana 10.0 and 10.1 do this with the feature toggle `timeSeriesTable` only.
    """
    column = Column(title, query=over_time(expression, at_least=at_least), is_trend=True)
    return column.with_(unit=unit, custom_cellOptions=_SPARKLINE, noValue="").wide(160)


def table(
    title: str,
    description: str,
    columns: Iterable[Column],
    *,
    empty: str,
    sorted_by: str = "",
    descending: bool = True,
) -> Panel:
    """Show rows: one for each set of labels that the columns name.

    Args:
        title: above it.
        description: what to do about what it shows.
        columns: from left to right; the first with a query decides which rows there are.
        empty: what it says where there are none.
        sorted_by: the title of a column.
        descending: whether the largest comes first.
    """
    columns = tuple(columns)
    panel = Panel().title(title).description(description).no_value(empty).span(WIDTH).height(9).unit("short")
    asking(panel, *(column.query for column in columns if column.query))
    sources = dict(_sources(columns))
    for step in (*_merged(columns), _chosen(sources), _arranged(sources)):
        panel.with_transformation(step)
    for column in columns:
        if column.properties:
            panel.override_by_name(column.title, _properties(column))
    if sorted_by:
        panel.sort_by([TableSortByFieldState().display_name(sorted_by).desc(descending)])
    return panel


def _merged(columns: tuple[Column, ...]) -> Iterable[DataTransformerConfig]:
    """Make one table of all answers, by the labels that they share.

    An answer without rows has no labels, only the time, and a trend has no time: they would share nothing,
    and nothing would be merged. So what has the time is merged first. A table with one row or none looks like
    a series to newer Grafana, so only trends are made into tables. The metric's name is a label as well: rows
    that differ in it would never become one.
    """
    kinds = [column.is_trend for column in columns if column.query]
    if any(kinds):
        yield DataTransformerConfig("timeSeriesTable", filter_val=_asked(kinds, True), options={})
    yield DataTransformerConfig("filterFieldsByName", options={"exclude": {"names": ["__name__"]}})
    if any(kinds):
        yield DataTransformerConfig("merge", filter_val=_asked(kinds, False), options={})
    yield DataTransformerConfig("merge", options={})


def _asked(kinds: list[bool], is_trend: bool) -> MatcherConfig:
    """Match the answers to queries of a kind."""
    letters = "|".join(
        letter for letter, kind in zip(ascii_uppercase, kinds, strict=False) if kind is is_trend
    )
    return MatcherConfig("byRefId", options=f"/^(?:{letters})$/")


def _chosen(sources: Mapping[str, Column]) -> DataTransformerConfig:
    """Leave out the time, and labels that no column shows."""
    return DataTransformerConfig("filterFieldsByName", options={"include": {"names": [*sources]}})


def _sources(columns: tuple[Column, ...]) -> Iterable[tuple[str, Column]]:
    """Give the names that each column may arrive by: the only query that has an answer gets no letter."""
    letters = iter(ascii_uppercase)
    has_first = False
    for column in columns:
        if column.query is None:
            yield column.source, column
            continue
        kind = "Trend" if column.is_trend else "Value"
        yield f"{kind} #{next(letters)}", column
        if column.is_trend or not has_first:
            yield kind, column
        has_first = has_first or not column.is_trend


def _arranged(sources: Mapping[str, Column]) -> DataTransformerConfig:
    """Put columns into order, by their titles."""
    options = {
        "excludeByName": {},
        "indexByName": {source: position for position, source in enumerate(sources)},
        "renameByName": {source: column.title for source, column in sources.items()},
    }
    return DataTransformerConfig("organize", options=options)


def _properties(column: Column) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val=name, value=value) for name, value in column.properties.items()]
