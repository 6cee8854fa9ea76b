"""Every query of every dashboard runs, and gives something, in a world that has something for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asking import Answer
from boards import Board, Data
from dashboards import Dashboard, Panel, Query, files
from interpolation import LeftInQueryError
from metric_names import metric_names

pytestmark = pytest.mark.long

FIELD = re.compile(r"""\$\{__data\.fields(?:\.|\[["'])([^"'\]:}]+)""")
"""A column that a link names."""

Place = tuple[str, str, str]
"""A dashboard's file without its suffix; a panel's title, `variable` or `annotation`; a refId or name."""

EMPTY_BY_RIGHT: dict[Place, str] = {
    ("container", "What it is made from", "C"): "it runs, so it has no exit code",
    ("hosts", "Probes", "D"): "what is probed here has no certificate",
}
"""What gives nothing, and why that is right. An entry that gives something is a mistake, too."""

UNKNOWN_BY_RIGHT: dict[str, str] = {
    "probe_ssl_earliest_cert_expiry": "by blackbox_exporter; what is probed here has no certificate",
}
"""Metrics that this world does not have, and why."""


def each_query(board: Board) -> Iterator[tuple[str, str, Query, Panel | None]]:
    """Give every query that can be asked: panel or kind of place, name, and the query."""
    for panel in board.dashboard.panels:
        for query in panel.queries:
            yield panel.title, query.ref, query, panel
    for annotation in board.dashboard.annotations:
        yield "annotation", annotation.ref, annotation, None


def asked(board: Board, query: Query, panel: Panel | None) -> Answer | str:
    """Give what a query gives, or why it gives nothing at all."""
    try:
        return board.ask(query, panel)
    except AssertionError as error:
        return str(error)


@pytest.fixture(params=files(), ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    given: Path = request.param
    return given


@pytest.fixture
def board(file: Path, world: Data) -> Board:
    return Board.open(file.stem, world)


def test_every_query_gives_something(file: Path, board: Board) -> None:
    wrong = [f"the variable {name} offers nothing" for name in empty_variables(file, board)]
    for title, ref, query, panel in each_query(board):
        reason = EMPTY_BY_RIGHT.get((file.stem, title, ref))
        answer = asked(board, query, panel)
        if isinstance(answer, str):
            wrong.append(f"{title}, {ref}: {answer}")
        elif answer.is_empty and reason is None:
            wrong.append(f"{title}, {ref} is empty: {board.fill(query, panel)}")
        elif not answer.is_empty and reason is not None:
            wrong.append(f"{title}, {ref} is not empty any more: {reason}")
    assert not wrong, "\n".join(wrong)


def empty_variables(file: Path, board: Board) -> list[str]:
    """Give the variables that offer nothing."""
    return [
        name
        for name, options in board.options.items()
        if not options and (file.stem, "variable", name) not in EMPTY_BY_RIGHT
    ]


def test_every_query_runs_with_one_value_of_each_variable(board: Board) -> None:
    """What one value of each gives may be nothing: not all of them are about the same."""
    one_of_each = board.pick_first()
    asks = [asked(one_of_each, query, panel) for *_, query, panel in each_query(one_of_each)]
    assert not [answer for answer in asks if isinstance(answer, str)]


def test_every_metric_exists(file: Path, board: Board, world: Data) -> None:
    known = world.prometheus.names() | UNKNOWN_BY_RIGHT.keys()
    queries = [query for *_, query, _ in each_query(board)]
    filled = [board.fill(query) for query in queries if query.kind == "prometheus"]
    assert {name for expression in filled for name in metric_names(expression)} <= known


def test_links_of_values_name_what_is_there(board: Board) -> None:
    wrong = []
    for panel in board.dashboard.panels:
        named = {name for link in panel.data_links for name in FIELD.findall(link.url)}
        if named and (lacking := named - fields(board, panel)):
            wrong.append(f"{panel.title} has no {sorted(lacking)}")
    assert not wrong


def fields(board: Board, panel: Panel) -> set[str]:
    """Give what columns and what Grafana makes of them may be called."""
    found = set(panel.names)
    for query in panel.queries:
        found |= {*board.ask(query, panel).columns, f"Value #{query.ref}", f"Trend #{query.ref}"}
    return found


def test_what_is_empty_by_right_is_on_a_dashboard(world: Data) -> None:
    there = {
        (file.stem, title, ref)
        for file in files()
        for title, ref, *_ in each_query(Board(Dashboard.read(file), world))
    }
    there |= {(file.stem, "variable", name) for file in files() for name in Dashboard.read(file).variables}
    assert EMPTY_BY_RIGHT.keys() <= there


def test_a_broken_query_is_refused(world: Data) -> None:
    panel = {"type": "stat", "title": "Broken"}
    source = {"type": "prometheus", "uid": "${datasource}"}

    def answer_to(expression: str) -> Answer:
        targets = [{"refId": "A", "datasource": source, "expr": expression, "instant": True}]
        json = {"panels": [{**panel, "targets": targets}]}
        return Board(Dashboard(json), world).answer("Broken")

    assert not answer_to("up").is_empty
    assert answer_to("upp").is_empty
    with pytest.raises(AssertionError, match="parse error"):
        answer_to("sum(up")
    with pytest.raises(LeftInQueryError, match="server"):
        answer_to('up{server="$server"}')
