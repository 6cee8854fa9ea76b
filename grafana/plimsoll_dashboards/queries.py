"""Queries in the forms that panels take: over time, now, and as rows of a table; and SQL of the history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""Whatever the viewer chose."""

HISTORY = DataSourceRef(type_val="postgres", uid="plimsoll-history")
"""Where the relay writes. Grafana before 10.2.3 knows this type only; later ones take it for their own."""

Query = Builder[Dataquery]


def over_time(expression: str, legend: str = "", *, at_least: str = "") -> PrometheusQuery:
    """Ask for series over the dashboard's time.

    Args:
        expression: PromQL.
        legend: what each series is called, with labels as `{{label}}`.
        at_least: the shortest step, where a coarser one shows the same and costs less.
    """
    query = _prometheus(expression).range().legend_format(legend or "__auto")
    return query.interval(at_least) if at_least else query


def now(expression: str, legend: str = "") -> PrometheusQuery:
    """Ask for the values at the end of the dashboard's time."""
    return _prometheus(expression).instant().legend_format(legend or "__auto")


def rows(expression: str) -> PrometheusQuery:
    """Ask for the values at the end of the dashboard's time as a table: a column for each label."""
    return _prometheus(expression).instant().format(PromQueryFormat.TABLE)


def numbered(label: str, values: Iterable[str]) -> str:
    """Give one series for each value that a label may have: its place among them, from 0.

    With these, a join by the label turns its words into numbers.
    """
    return "\nor\n".join(
        f'label_replace(vector({place}), "{label}", "{value}", "", "")' for place, value in enumerate(values)
    )


def _prometheus(expression: str) -> PrometheusQuery:
    return PrometheusQuery().expr(expression).editor_mode(QueryEditorMode.CODE)


class Sql(Builder[Dataquery], Dataquery):
    """A query of the history; `form` is `time_series` where a column `time` makes it one."""

    def __init__(self, text: str, form: Literal["table", "time_series"] = "table") -> None:
        self._text = text
        self._form = form
        self._ref_id = ""

    def ref_id(self, ref_id: str) -> Sql:
        """Name it, as the SDK's own queries are named."""
        self._ref_id = ref_id
        return self

    def build(self) -> Dataquery:
        """Give itself: there is nothing to make of it."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Give what Grafana's PostgreSQL data source reads."""
        return {
            "refId": self._ref_id,
            "datasource": HISTORY,
            "format": self._form,
            "rawQuery": True,
            "rawSql": self._text,
            "editorMode": "code",
        }
