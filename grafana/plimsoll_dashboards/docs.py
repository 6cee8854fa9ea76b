"""What docs/dashboards.md says of each dashboard, taken from them so that it stays true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLACE = re.compile(r"(<!-- (\w+), by `make generate` -->\n).*?(<!-- end -->)", re.DOTALL)
"""What a place in the text looks like: `all`, or the name of a file."""

_KINDS = {"stat": "number", "timeseries": "graph", "state-timeline": "timeline", "barchart": "bars"}
"""What panels are called, where Grafana's word is not plain."""

_OF_RELAY = re.compile(
    r"plimsoll_(?:alerts?|silences|acknowledgement|webhook|source|history)_|plimsoll_(?:alerts|silences)\b"
    r"|\brelay:up:|\b(?:relay|source|receiver|acknowledgement):plimsoll_"
)
_WITHOUT_RELAY = re.compile(r"\bALERTS|\bvector\(|\bexporter:")
"""What a query falls back on."""

_HIDDEN = 2

Json = Mapping[str, Any]


def described(text: str, dashboards: Mapping[str, str]) -> str:
    """Write what the dashboards have into its places in a text.

    Args:
        text: of the page.
        dashboards: their JSON by the names of their files.
    """
    known = {file.removesuffix(".json"): json.loads(content) for file, content in dashboards.items()}

    def written(place: re.Match[str]) -> str:
        head, name, end = place.groups()
        lines = _overview(known) if name == "all" else _page(known[name]) if name in known else ()
        return "".join([head, *(f"{line}\n" for line in lines), end])

    return _PLACE.sub(written, text)


def places(text: str) -> list[str]:
    """List what a text has places for."""
    return [found[2] for found in _PLACE.finditer(text)]


def _overview(dashboards: Mapping[str, Json]) -> Iterator[str]:
    yield "| Dashboard | File | uid | What it is for |"
    yield "|---|---|---|---|"
    for name, dashboard in dashboards.items():
        heading = dashboard["title"].removeprefix("Plimsoll / ")
        link = f"[{heading}](#{heading.lower().replace(' ', '-')})"
        yield f"| {link} | `{name}.json` | `{dashboard['uid']}` | {dashboard['description']} |"


def _page(dashboard: Json) -> Iterator[str]:
    yield ""
    yield from _variables(dashboard["templating"]["list"])
    yield "| Panel | Kind | Needs | What it shows, and what to do about it |"
    yield "|---|---|---|---|"
    for panel in _all_panels(dashboard):
        yield _heading(panel) if panel["type"] == "row" else _panel(panel)
    yield ""
    if marks := [mark["name"] for mark in dashboard["annotations"].get("list", ())]:
        yield f"Marked in its graphs: {', '.join(marks)}."
        yield ""


def _variables(variables: list[Json]) -> Iterator[str]:
    for variable in variables:
        if variable["type"] != "datasource" and variable.get("hide") != _HIDDEN:
            yield f"- {variable['label']} (`{variable['name']}`): {variable.get('description', '')}"
    yield ""


def _all_panels(dashboard: Json) -> Iterator[Json]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels") or ()


def _heading(row: Json) -> str:
    return f"| **{row['title']}** | | | |"


def _panel(panel: Json) -> str:
    kind = _KINDS.get(panel["type"], str(panel["type"]))
    told = " ".join([panel["description"], *_columns(panel), *_repeated(panel)])
    cells: tuple[str, ...] = (panel["title"], kind, _needs(panel), told)
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _columns(panel: Json) -> Iterator[str]:
    """Name the columns of a table, in their order."""
    for step in panel.get("transformations") or ():
        if step["id"] == "organize":
            names = step["options"]["renameByName"]
            order = sorted(names, key=lambda source: step["options"]["indexByName"][source])
            yield f"Columns: {', '.join(dict.fromkeys(names[source] for source in order))}."


def _repeated(panel: Json) -> Iterator[str]:
    if panel.get("repeat"):
        yield f"One for each `{panel['repeat']}`."


def _needs(panel: Json) -> str:
    """Say what that is optional a panel cannot do without."""
    queries = panel.get("targets") or ()
    if any("rawSql" in query for query in queries):
        return "history"
    asked = [query["expr"] for query in queries]
    of_relay = [_OF_RELAY.search(query) and not _WITHOUT_RELAY.search(query) for query in asked]
    return "relay" if of_relay and all(of_relay) else ""


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
