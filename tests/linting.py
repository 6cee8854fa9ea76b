"""What every dashboard has to keep to: the rules of Grafana's dashboard-linter that fit, and our own.

Each rule gives what is wrong with a dashboard, in words. What Grafana 10 lacks or 13 has removed is not on
the lists of what may be used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from dashboards import Dashboard, Json, Panel

PANELS = frozenset(
    {
        *("barchart", "bargauge", "dashlist", "gauge", "heatmap", "histogram", "piechart", "row", "stat"),
        *("state-timeline", "status-history", "table", "text", "timeseries"),
    }
)
TRANSFORMATIONS = frozenset(
    {
        *("calculateField", "convertFieldType", "filterByRefId", "filterByValue", "filterFieldsByName"),
        *(
            "groupBy",
            "joinByField",
            "labelsToFields",
            "limit",
            "merge",
            "organize",
            "reduce",
            "renameByRegex",
        ),
        *("sortBy", "timeSeriesTable"),  # the latter without a switch since 10.2
    }
)
WINDOWS = {"5m": "5 minutes", "15m": "15 minutes", "1h": "hour", "24h": "24 hours", "1d": "day"}
"""How a panel tells of a window that is always the same."""
WITHOUT_UNIT = frozenset({"dashlist", "row", "text"})
SOURCES = frozenset({"${datasource}", "plimsoll-history", "-- Grafana --", "-- Mixed --", "-- Dashboard --"})
SCHEMA = 39
"""The newest shape that Grafana 10 reads; later ones bring it up to date themselves."""

_RANGE = re.compile(r"\b(?:rate|irate|increase)\s*\((?:[^()\[\]]|\{[^}]*\})*\[([^\]]+)\]")
_ADDRESS = re.compile(r"localhost|\b\d{1,3}(?:\.\d{1,3}){3}\b|[\w-]:\d{4,5}\b")
_BEYOND_VIEWER = re.compile(r"/explore|/alerting|/admin|/connections|/datasources|editPanel|/edit\b")
_ABSOLUTE = re.compile(r"https?://(?!\$)")
_OF_DASHBOARD = re.compile(r"^/d/([\w-]+)")
_VARIABLE_OF_LINK = re.compile(r"[?&]var-(\w+)=|\$\{(\w+):queryparam\}")


def marks(dashboard: Dashboard) -> Iterator[str]:
    """Check what a file that is provisioned has to say of itself."""
    wanted = {"id": None, "editable": False, "schemaVersion": SCHEMA}
    for key, value in wanted.items():
        if dashboard.json.get(key, "absent") != value:
            yield f"{key} is {dashboard.json.get(key, 'absent')}, not {value}"
    if not dashboard.title or not dashboard.uid.startswith("plimsoll-"):
        yield "it has no title, or no uid of ours"
    for text in ("${DS_", '"__inputs"', '"__requires"'):
        if text in json.dumps(dashboard.json):
            yield f"it has {text}, which is for importing by hand"


def sources(dashboard: Dashboard) -> Iterator[str]:
    """Check that data sources are those that are provisioned, Prometheus by the variable."""
    variable = dashboard.variables.get("datasource")
    if variable is None or variable.type != "datasource" or variable.json.get("query") != "prometheus":
        yield "it has no variable `datasource` for Prometheus"
    for where, found in _sources(dashboard.json, "dashboard"):
        if found.get("uid") not in SOURCES:
            yield f"{where} has the data source {found}"


def texts(dashboard: Dashboard) -> Iterator[str]:
    """Check that each panel says what it shows, what to do about it, and in which unit."""
    for panel in dashboard.panels:
        if not panel.title or not panel.json.get("description"):
            yield f"{panel.title or panel.json.get('id')} lacks its title or description"
        if panel.type not in WITHOUT_UNIT and not _has_unit(panel):
            yield f"{panel.title} has no unit"


def kinds(dashboard: Dashboard) -> Iterator[str]:
    """Check that only what all versions have is used."""
    for panel in dashboard.everything:
        if panel["type"] not in PANELS:
            yield f"{panel.get('title')} is a {panel['type']}"
        for change in panel.get("transformations") or ():
            if change["id"] not in TRANSFORMATIONS:
                yield f"{panel.get('title')} has the transformation {change['id']}"


def windows(dashboard: Dashboard) -> Iterator[str]:
    """Check that rates are over what step and scrapes need, over all that is shown, or over what they say."""
    for panel in dashboard.panels:
        said = f"{panel.title} {panel.json.get('description')}"
        for query in panel.queries:
            for window in _RANGE.findall(query.text):
                is_told = window in WINDOWS and WINDOWS[window] in said
                if window not in ("$__rate_interval", "$__range") and not is_told:
                    yield f"{panel.title}, {query.ref}: a rate over [{window}]"


def addresses(dashboard: Dashboard) -> Iterator[str]:
    """Check that no host of anybody's is named."""
    queries = [query for panel in dashboard.panels for query in panel.queries]
    for query in [*queries, *dashboard.annotations]:
        if found := _ADDRESS.search(query.text):
            yield f"{query.ref} names {found[0]}"
    for link in dashboard.links:
        if _ABSOLUTE.search(link.url):
            yield f"{link.place} leads to {link.url}"


def rights(dashboard: Dashboard) -> Iterator[str]:
    """Check that no link leads where a Viewer may not go."""
    for link in dashboard.links:
        if _BEYOND_VIEWER.search(link.url):
            yield f"{link.place} leads to {link.url}"


def places(dashboard: Dashboard) -> Iterator[str]:
    """Check that panels have ids and places of their own, and leave no gap beside them."""
    ids = [panel.get("id") for panel in dashboard.everything]
    if None in ids or len(set(ids)) < len(ids):
        yield f"panels have the ids {ids}"
    shown: Sequence[Json] = dashboard.json.get("panels") or ()
    for together in (shown, *(panel.get("panels") or () for panel in shown)):
        yield from _places(together)


def _places(panels: Sequence[Json]) -> Iterator[str]:
    for one, other in combinations(panels, 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"{one.get('title')} and {other.get('title')} overlap"
    for line in {panel["gridPos"]["y"] for panel in panels}:
        beside = [each["gridPos"] for each in panels if _is_on(each["gridPos"], line)]
        if sum(each["w"] for each in beside) != 24:
            yield f"at {line}, panels are {[each['w'] for each in beside]} wide, which is not 24"


def _is_on(place: Mapping[str, int], line: int) -> bool:
    return place["y"] <= line < place["y"] + place["h"]


def _overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def _has_unit(panel: Panel) -> bool:
    config = panel.json.get("fieldConfig") or {}
    defaults = config.get("defaults") or {}
    changed = {each["id"] for override in config.get("overrides") or () for each in override["properties"]}
    return bool(defaults.get("unit") or defaults.get("mappings") or changed & {"unit", "mappings"})


def _sources(json: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Find the data sources that something names, however deep."""
    if isinstance(json, Mapping):
        where = str(json.get("title") or json.get("name") or where)
        if isinstance(found := json.get("datasource"), Mapping):
            yield where, found
        for value in json.values():
            yield from _sources(value, where)
    elif isinstance(json, list):
        for value in json:
            yield from _sources(value, where)


def links(dashboard: Dashboard, all_of_them: Mapping[str, Dashboard]) -> Iterator[str]:
    """Check that links to dashboards lead to one of ours, by variables that it has."""
    for link in dashboard.links:
        if found := _OF_DASHBOARD.match(link.url):
            target = all_of_them.get(found[1])
            names = {one or other for one, other in _VARIABLE_OF_LINK.findall(link.url)}
            if target is None:
                yield f"{link.place} leads to {link.url}, which is no dashboard"
            elif lacking := names - target.variables.keys():
                yield f"{link.place} leads to {found[1]}, which has no variables {sorted(lacking)}"


RULES: tuple[Callable[[Dashboard], Iterator[str]], ...] = (
    *(marks, sources, texts, kinds, windows, addresses, rights, places),
)
