"""What a table shows of answers that are hard to put together, in the oldest and the newest Grafana."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from asking import Answer, Labels, Sample, Series
from dashboards import Panel
from plimsoll_dashboards.columns import Column, label, table, trend, value
from plimsoll_dashboards.links import page
from transforming import GRAFANAS, Filled, Outcome, frames_of, shown

SHOP: Labels = {"server": "main", "datname": "shop"}
BILLING: Labels = {"server": "main", "datname": "billing"}
NUMBER: Labels = {"server": "", "datname": "2024"}
ODD: Labels = {"server": 'a&b=c#d+e/"f"%', "datname": "ü, {x}"}

EMPTY = "Nothing is measured."
LINK = page("other", ["server", "datname"])
LABELS = [label("Server", "server"), label("Database", "datname").linked("Open", LINK)]
VALUES = [value("Size", "bytes", "size"), value("Rows", "none", "rows"), value("Share", "percent", "share")]
TREND = trend("Over time", "bytes", "size", at_least="15m")
TITLES = ["Server", "Database", "Size", "Rows", "Share"]


def panel_of(*columns: Column) -> Panel:
    built = table("Databases", "", columns, empty=EMPTY).build()
    return Panel(json.loads(json.dumps(built, cls=JSONEncoder)))


PLAIN = panel_of(*LABELS, *VALUES)
WITH_TREND = panel_of(*LABELS, *VALUES, TREND)
WITH_ONE_VALUE = panel_of(*LABELS, VALUES[0])
WITH_ONE_VALUE_AND_TREND = panel_of(*LABELS, VALUES[0], TREND)


def samples(*measured: Labels, value: float = 1000, **more: str) -> Answer:
    return Answer(samples=[Sample({**labels, **more}, value) for labels in measured])


def series(*measured: Labels, points: int = 3) -> Answer:
    return Answer(series=[Series(labels, [(at, at) for at in range(points)]) for labels in measured])


NONE = Answer()


def filled(panel: Panel, *answers: Answer) -> Filled:
    by_ref = {query.ref: answer for query, answer in zip(panel.queries, answers, strict=True)}
    variables = {"datasource": ["prom"], "__url_time_range": "from=1&to=2"}
    return Filled(panel.json, frames_of(panel, by_ref, 1e9), variables)


CASES: Mapping[str, tuple[Filled, list[str], list[list[str]]]] = {
    "every query has every row": (
        filled(PLAIN, samples(SHOP, BILLING), samples(SHOP, BILLING), samples(BILLING, SHOP)),
        TITLES,
        [["main", "shop", "1000 B", "1000", "1000%"], ["main", "billing", "1000 B", "1000", "1000%"]],
    ),
    "a query lacks a row": (
        filled(PLAIN, samples(SHOP, BILLING), samples(BILLING), samples(SHOP, BILLING)),
        TITLES,
        [["main", "shop", "1000 B", "", "1000%"], ["main", "billing", "1000 B", "1000", "1000%"]],
    ),
    "a query has no rows": (
        filled(PLAIN, samples(SHOP), NONE, samples(SHOP)),
        TITLES,
        [["main", "shop", "1000 B", "", "1000%"]],
    ),
    "only the first query has rows": (
        filled(PLAIN, samples(SHOP, BILLING), NONE, NONE),
        TITLES,
        [["main", "shop", "1000 B", "", ""], ["main", "billing", "1000 B", "", ""]],
    ),
    "the first query has no rows": (
        filled(PLAIN, NONE, samples(SHOP), NONE),
        TITLES,
        [["main", "shop", "", "1000", ""]],
    ),
    "metrics have names": (
        filled(PLAIN, samples(SHOP, __name__="a"), samples(SHOP, __name__="b"), samples(SHOP)),
        TITLES,
        [["main", "shop", "1000 B", "1000", "1000%"]],
    ),
    "there are labels that no column shows": (
        filled(PLAIN, samples(SHOP, organization="acme"), samples(SHOP), samples(SHOP, job="x")),
        TITLES,
        [["main", "shop", "1000 B", "1000", "1000%"]],
    ),
    "names look like numbers, or are empty": (
        filled(PLAIN, samples(NUMBER, SHOP), samples(NUMBER), NONE),
        TITLES,
        [["", "2024", "1000 B", "1000", ""], ["main", "shop", "1000 B", "", ""]],
    ),
    "there is one query": (
        filled(WITH_ONE_VALUE, samples(SHOP, NUMBER, __name__="a")),
        TITLES[:3],
        [["main", "shop", "1000 B"], ["", "2024", "1000 B"]],
    ),
    "trends are there": (
        filled(WITH_TREND, samples(SHOP, BILLING), samples(SHOP), NONE, series(SHOP, BILLING)),
        [*TITLES, "Over time"],
        [["main", "shop", "1000 B", "1000", "", ""], ["main", "billing", "1000 B", "", "", ""]],
    ),
    "one row has a trend": (
        filled(WITH_TREND, samples(SHOP), NONE, samples(SHOP), series(SHOP)),
        [*TITLES, "Over time"],
        [["main", "shop", "1000 B", "", "1000%", ""]],
    ),
    "no row has a trend": (
        filled(WITH_TREND, samples(SHOP, BILLING), samples(SHOP), NONE, NONE),
        TITLES,
        [["main", "shop", "1000 B", "1000", ""], ["main", "billing", "1000 B", "", ""]],
    ),
    "one value and one trend": (
        filled(WITH_ONE_VALUE_AND_TREND, samples(SHOP, __name__="a"), series(SHOP | {"__name__": "a"})),
        [*TITLES[:3], "Over time"],
        [["main", "shop", "1000 B", ""]],
    ),
}


def changed(name: str, steps: list[Mapping[str, Any]]) -> Filled:
    given, *_ = CASES[name]
    return Filled({**given.panel, "transformations": steps}, given.frames, given.variables)


def steps_of(name: str) -> list[Mapping[str, Any]]:
    given, *_ = CASES[name]
    return list(given.panel["transformations"])


NAME, MERGE, CHOOSE, ARRANGE = steps_of("a query has no rows")
MISTAKES = {
    "the time is left out first": changed("a query has no rows", [NAME, CHOOSE, MERGE, ARRANGE]),
    "the metric's name is left in": changed("metrics have names", [MERGE, CHOOSE, ARRANGE]),
    "tables are taken for series": changed(
        "one row has a trend",
        [{"id": "timeSeriesTable", "options": {}}, *steps_of("one row has a trend")[1:]],
    ),
    "a transformation is unknown": changed("there is one query", [{"id": "mergeAll", "options": {}}]),
}
OTHERS = {
    "nothing is measured": filled(PLAIN, NONE, NONE, NONE),
    "nothing is measured, nor its trend": filled(WITH_TREND, NONE, NONE, NONE, NONE),
    "the only query has nothing": filled(WITH_ONE_VALUE, NONE),
    "names are odd": filled(PLAIN, samples(ODD, NUMBER), NONE, NONE),
    "no row has a server": filled(PLAIN, samples({"datname": "shop"}), NONE, NONE),
}

Outcomes = Callable[[str], Outcome]


@pytest.fixture(scope="module", params=GRAFANAS, ids=lambda grafana: f"grafana-{grafana}")
def outcome_of(request: pytest.FixtureRequest) -> Outcomes:
    """Give what becomes of each case: all at once, since Grafana's code takes long to load."""
    given = {name: case for name, (case, *_) in CASES.items()} | OTHERS | MISTAKES
    outcomes = dict(zip(given, shown(request.param, given.values()), strict=True))
    return outcomes.__getitem__


@pytest.mark.parametrize("name", CASES)
def test_answers_become_one_table(name: str, outcome_of: Outcomes) -> None:
    _, titles, texts = CASES[name]
    found = outcome_of(name).table
    assert found.columns == titles
    assert found.texts() == texts


@pytest.mark.parametrize(
    "name", ["nothing is measured", "nothing is measured, nor its trend", "the only query has nothing"]
)
def test_nothing_at_all_is_no_row(name: str, outcome_of: Outcomes) -> None:
    outcome = outcome_of(name)
    assert outcome.error is None
    assert not [row for frame in outcome.frames for row in frame.rows]


def test_links_name_what_the_row_is_about(outcome_of: Outcomes) -> None:
    start = "/d/other?from=1&to=2&var-datasource=prom"
    assert [cell.links for cell in outcome_of("names are odd").table.column("Database")] == [
        [f"{start}&var-server=a%26b%3Dc%23d%2Be%2F%22f%22%25&var-datname=%C3%BC%2C%20%7Bx%7D"],
        [f"{start}&var-server=&var-datname=2024"],
    ]


def test_a_link_names_nothing_where_no_row_has_that_label(outcome_of: Outcomes) -> None:
    found = outcome_of("no row has a server").table
    assert found.columns == TITLES[1:]
    (cell,) = found.column("Database")
    assert cell.links == ["/d/other?from=1&to=2&var-datasource=prom&var-server=&var-datname=shop"]


def test_mistakes_would_be_seen(outcome_of: Outcomes) -> None:
    assert len(outcome_of("the time is left out first").frames) > 1
    assert len(outcome_of("the metric's name is left in").table.rows) > 1
    assert outcome_of("a transformation is unknown").error == "no transformation is called mergeAll"


@pytest.mark.parametrize("outcome_of", GRAFANAS[-1:], indirect=True)
def test_a_table_of_one_row_that_is_taken_for_a_series_would_be_seen(outcome_of: Outcomes) -> None:
    """Only newer Grafana does that."""
    assert "Size" in outcome_of("tables are taken for series").missed
