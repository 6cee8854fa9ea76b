"""Every table of every dashboard, as Grafana's own code shows the answers that it gets, in two releases."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from asking import Answer, Sample
from boards import Board, Data
from dashboards import Dashboard, Panel, Query, files
from transforming import GRAFANAS, Filled, Outcome, Shown, filled, shown

pytestmark = pytest.mark.long

STANDARD = {
    *("color", "decimals", "displayName", "links", "mappings", "max", "min", "noValue", "thresholds", "unit")
}
CUSTOM = {
    "table": {"align", "cellOptions", "filterable", "inspect", "minWidth", "width"},
    "state-timeline": {"fillOpacity", "hideFrom", "lineWidth"},
    "timeseries": {
        *("axisCenteredZero", "axisColorMode", "axisGridShow", "axisLabel", "axisPlacement", "axisSoftMax"),
        *("axisSoftMin", "axisWidth", "barAlignment", "drawStyle", "fillBelowTo", "fillOpacity", "hideFrom"),
        *("gradientMode", "lineInterpolation", "lineStyle", "lineWidth", "pointSize", "scaleDistribution"),
        *("showPoints", "spanNulls", "stacking", "thresholdsStyle", "transform"),
    },
}
"""The properties of fields that Grafana 10.0 knows and 13 still does; both ignore others without a word."""

TAKEN_BY_LINKS = re.compile(r"\$\{__data\.fields(?:\.(\w+)|\[\"([^\"]+)\"\])")


# --- what is promised ---------------------------------------------------------------------------------------


def promised(panel: Panel) -> dict[str, str]:
    """Give the names by which columns may arrive, from left to right, and what they are called then."""
    for step in panel.json.get("transformations") or ():
        if step["id"] == "organize":
            places, titles = step["options"]["indexByName"], step["options"]["renameByName"]
            return {name: titles[name] for name in sorted(places, key=places.__getitem__)}
    return {}


def arriving(given: Filled) -> set[str]:
    """Give the names that are among the answers; series become a column of their own, and labels."""
    names: set[str] = set()
    for frame in given.frames:
        for each in frame["fields"]:
            names |= each.get("labels", {}).keys() | {each["name"]}
            if "labels" in each:
                names |= {"Trend", f"Trend #{frame['refId']}"}
    return names


def expected(panel: Panel, given: Filled) -> list[str]:
    """Give the titles of the columns that have to be there: of rows of SQL, what was selected."""
    titles, there = promised(panel), arriving(given)
    if not titles:
        return [each["name"] for frame in given.frames for each in frame["fields"]]
    return list(dict.fromkeys(title for name, title in titles.items() if name in there))


# --- what is wrong ------------------------------------------------------------------------------------------


def wrongs_of(panel: Panel, answers: Mapping[str, Answer], given: Filled, outcome: Outcome) -> Iterator[str]:
    """Say all that is wrong with what is shown."""
    if outcome.error:
        yield outcome.error
    elif panel.type != "table":
        yield from (f"an override is for {name!r}, which is not there" for name in outcome.missed)
    elif any(frame["fields"] for frame in given.frames):
        yield from wrongs_of_table(panel, answers, given, outcome)


def wrongs_of_table(
    panel: Panel, answers: Mapping[str, Answer], given: Filled, outcome: Outcome
) -> Iterator[str]:
    if len(outcome.frames) != 1:
        yield f"there are {len(outcome.frames)} tables: {[each.columns for each in outcome.frames]}"
        return
    (table,) = outcome.frames
    titles = expected(panel, given)
    if table.columns != titles:
        yield f"columns are {table.columns}, not {titles}"
    absent = set(promised(panel).values()) - set(titles)
    yield from (f"an override is for {name!r}, not there" for name in outcome.missed if name not in absent)
    first = answers[panel.queries[0].ref]
    if len(table.rows) != len(first.samples or first.rows):
        yield f"there are {len(table.rows)} rows, not {len(first.samples or first.rows)}"
    if panel.queries[0].kind == "prometheus":
        yield from wrongs_of_rows(panel, answers, table)
    yield from wrongs_of_texts(panel, table)


def wrongs_of_rows(panel: Panel, answers: Mapping[str, Answer], table: Shown) -> Iterator[str]:
    """Say where a row is not what was measured of its labels, all of that and nothing else."""
    rows = [dict(zip(table.fields, row, strict=True)) for row in table.rows]
    labels = {name for answer in answers.values() for name in names_of(answer)} & {*table.fields}
    told = [{name: row[name].raw or "" for name in labels} for row in rows]
    if len({tuple(each.items()) for each in told}) < len(told):
        yield f"rows cannot be told apart: {told}"
    for query in panel.queries:
        points, own = points_of(answers[query.ref]), names_of(answers[query.ref])
        column = column_of(panel, query, table)
        cells = [row[column].raw if column in row else None for row in rows]
        measured = [values_for({name: each[name] for name in each if name in own}, points) for each in told]
        if [[] if cell is None else [cell] for cell in cells] != measured:
            yield f"{query.ref} is {cells}, where {measured} was measured"
        if sum(map(len, measured)) != len(points):
            yield f"of {query.ref}, {len(points)} were measured, and {cells} are shown"


def names_of(answer: Answer) -> set[str]:
    """Give the names of an answer's labels."""
    labels = [*(each.labels for each in answer.samples), *(each.labels for each in answer.series)]
    return {name for each in labels for name in each}


def points_of(answer: Answer) -> list[Sample]:
    """Give the samples, and of a series how many points it has."""
    measured = [each for each in answer.samples if not math.isnan(each.value)]
    return [*measured, *(Sample(each.labels, len(each.points)) for each in answer.series)]


def values_for(labels: Mapping[str, str], points: list[Sample]) -> list[float]:
    """Give what was measured of a row with these labels."""
    return [
        each.value
        for each in points
        if all(each.labels.get(name, "") == value for name, value in labels.items())
    ]


def column_of(panel: Panel, query: Query, table: Shown) -> str:
    """Give the name of the column that shows a query; the only one of its kind has no letter."""
    formats = {target["refId"]: target.get("format") for target in panel.json["targets"]}
    kind = "Value" if formats[query.ref] == "table" else "Trend"
    return next((name for name in (f"{kind} #{query.ref}", kind) if name in table.fields), "")


def wrongs_of_texts(panel: Panel, table: Shown) -> Iterator[str]:
    """Say where what is meant for an empty table stands in a cell, or a link gets what was reworded."""
    empty = panel.json["fieldConfig"]["defaults"].get("noValue")
    linked = taken_by_links(panel)
    for title, name in zip(table.columns, table.fields, strict=True):
        for cell in table.column(title):
            if empty and cell.text == empty:
                yield f"in a cell of {title} is: {empty}"
            if {title, name} & linked and cell.text != (cell.raw or ""):
                yield f"a link takes {cell.text!r} of {title}, where {cell.raw!r} is meant"


def taken_by_links(panel: Panel) -> set[str]:
    """Give the names of the columns that links take something from."""
    found = [TAKEN_BY_LINKS.findall(link.url) for link in panel.data_links]
    return {plain or quoted for names in found for plain, quoted in names}


# --- as the dashboards are ----------------------------------------------------------------------------------


def test_every_table_shows_what_was_measured(world: Data) -> None:
    boards = [Board.open(file.stem, world) for file in files()]
    wrong = wrongs_in(each for board in boards for each in transformed(board))
    assert not wrong, "\n".join(wrong)


def test_every_table_does_with_one_value_of_each_variable(world: Data) -> None:
    """Then many have a row or none, and what is not a table may be about what there is not."""
    boards = [Board.open(file.stem, world).pick_first() for file in files()]
    asked = (each for board in boards for each in transformed(board))
    wrong = wrongs_in(each for each in asked if each[0].type == "table")
    assert not wrong, "\n".join(wrong)


Given = tuple[Panel, dict[str, Answer], Filled]


def wrongs_in(asked: Iterable[Given]) -> list[str]:
    """Say all that is wrong in any release."""
    panels = [*asked]
    return [
        f"{panel.title}, in Grafana {grafana}: {what}"
        for grafana in GRAFANAS
        for (panel, answers, given), outcome in zip(
            panels, shown(grafana, [given for *_, given in panels]), strict=True
        )
        for what in wrongs_of(panel, answers, given, outcome)
    ]


def test_a_table_that_falls_apart_would_be_seen(world: Data) -> None:
    """Here by the names of metrics, which are labels, too, and differ from column to column."""
    storage = Board.open("storage", world)
    named = re.sub(
        r"max by \(server, datname\) \(([\w:]+\{[^}]*\})\)", r"\1", json.dumps(storage.dashboard.json)
    )
    panels = transformed(Board(Dashboard(json.loads(named)), world))
    panel, answers, given = next(each for each in panels if each[0].title == "Databases")
    name, *others = panel.json["transformations"]
    assert name["options"] == {"exclude": {"names": ["__name__"]}}
    worse = replace(given, panel={**panel.json, "transformations": others})
    good, bad = shown(GRAFANAS[0], [given, worse])
    assert not [*wrongs_of(panel, answers, given, good)]
    assert any("rows, not" in wrong for wrong in wrongs_of(panel, answers, worse, bad))


def transformed(board: Board) -> Iterator[Given]:
    """Give the panels of which more becomes than what they are answered, and what that is."""
    for panel in filter(is_transformed, board.dashboard.panels):
        answers = {query.ref: board.ask(query, panel) for query in panel.queries}
        yield panel, answers, filled(board, panel, answers)


def is_transformed(panel: Panel) -> bool:
    config = panel.json.get("fieldConfig") or {}
    return panel.type == "table" or bool(panel.json.get("transformations") or config.get("overrides"))


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_every_property_is_known_to_both(file: Path) -> None:
    panels = Dashboard.read(file).panels
    assert not {(panel.title, name) for panel in panels for name in unknown_properties(panel)}


def unknown_properties(panel: Panel) -> set[str]:
    """Give the names of what is configured of fields that Grafana would not know."""
    known = STANDARD | {f"custom.{name}" for name in CUSTOM.get(panel.type, set())}
    return set(Filled(panel.json, []).properties) - known


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_every_link_takes_columns_that_there_are(file: Path) -> None:
    for panel in Dashboard.read(file).panels:
        if panel.json.get("transformations"):
            assert taken_by_links(panel) <= promised(panel).keys(), panel.title
