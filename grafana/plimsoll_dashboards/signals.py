"""Signals of alerts: which of them were worst, how many are beyond a threshold, and where that is."""

from __future__ import annotations

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as Graph

from plimsoll_dashboards.panels import dashed
from plimsoll_dashboards.queries import over_time

_MANY = 20
"""How many lines are still told from each other."""


def highest(series: str, labels: str) -> str:
    """Give the series that were highest at any time that the dashboard shows.

    Those that are highest now would not tell what happened last night.
    """
    return _chosen(series, labels, f"topk({_MANY}, {_during('max', series)} or {series})")


def highest_now(series: str, labels: str, many: int | str = _MANY) -> str:
    """Give the series that are highest at the end of the dashboard's time, for what only grows or ages.

    What was not measured at the very end is chosen by its last value of the hour before.

    Args:
        series: a selector.
        labels: what tells one of the series from another; they have no others.
        many: how many, at most; may be a variable.
    """
    largest = f"topk({many}, max by ({labels}) (last_over_time({series}[1h] @ end())))"
    return f"max by ({labels}) ({series})\nand on ({labels})\n{largest}"


def lowest(series: str, labels: str) -> str:
    """Give the series that were lowest at any time that the dashboard shows."""
    return _chosen(series, labels, f"bottomk({_MANY}, {_during('min', series)} or {series})")


def ever_bad(series: str, labels: str) -> str:
    """Give the series, of which 1 is good, that were not at some time that the dashboard shows."""
    return _chosen(series, labels, f"bottomk({_MANY}, {_during('min', series)} < 1 or {series} < 1)")


def _during(extreme: str, series: str) -> str:
    # As many steps as the graph has points, and no more: 90 days of all samples would be refused. These steps
    # are whole multiples, so what happened after the last of them is not seen by this alone.
    return f"{extreme}_over_time(({series})[$__range:$__interval] @ end())"


def _chosen(series: str, labels: str, which: str) -> str:
    return f"{series}\nand on ({labels})\n{which}"


def beyond(series: str, alert: str, among: str = "") -> str:
    """Count the series that are above the threshold of an alert; overrides of it do not count.

    It is 0 where there are series, and nothing where there are none, or the alert is switched off.

    Args:
        series: the signal of the alert.
        alert: its name.
        among: series of which not all need to have the signal.
    """
    limit = f'max(plimsoll:alert_threshold{{alertname="{alert}",override=""}})'
    return f"{count_among(f'{series} > on () group_left () {limit}', among or series)}\nand\n{limit}"


def count_among(chosen: str, series: str) -> str:
    """Count those chosen among series: 0 where all are left out, nothing where there are no series."""
    return f"count({chosen})\nor\n0 * count({series})"


def threshold(alert: str, name: str = "threshold") -> Dataquery:
    """Ask for the thresholds of an alert, which overrides have of their own."""
    limits = f'max by (override) (plimsoll:alert_threshold{{alertname="{alert}"}})'
    return over_time(limits, f"{name} {{{{override}}}}")


def limited(panel: Graph, colour: str, name: str = "threshold") -> Graph:
    """Draw the thresholds of that name as dashed lines."""
    return dashed(panel, f"/^{name}/", colour)
