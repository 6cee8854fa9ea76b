"""Dashboards hold where series have labels that Plimsoll does not give them, come twice, or bear odd names.

Prometheus refuses to join what is not unique, and then a panel shows an error instead of what it should show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asking import Labels, Prometheus
from boards import Board, Data
from dashboards import files
from programs import run_prometheus
from support import said_by

pytestmark = pytest.mark.long

ODD = " $1 (the user's) {x} \\w|é"
MEASURED = ("server", "engine", "agent")
SUPPRESSED = "alert:plimsoll_alert_suppressed:max"
OTHER_STATE = {"acknowledged": "suppressed", "suppressed": "acknowledged"}

Changed = Callable[[Labels], list[Labels]]


def is_alert(labels: Labels) -> bool:
    return labels["__name__"].startswith("ALERTS")


def of_two_replicas(labels: Labels) -> list[Labels]:
    """Two Prometheus write into one store, which tells them apart by a label."""
    return [{**labels, "replica": name} for name in ("a", "b")]


def of_two_exporters(labels: Labels) -> list[Labels]:
    """Two exporters measure the same, and Prometheus gives what they measure a label for each of them."""
    if labels["__name__"].startswith("plimsoll:") or labels["__name__"] == SUPPRESSED:
        return [labels]
    is_theirs = labels.get("job") == "plimsoll" or any(name in labels for name in MEASURED)
    return [{**labels, "site": name} for name in ("x", "y")] if is_theirs else [labels]


def at_two_severities(labels: Labels) -> list[Labels]:
    """Two rules of an alert fire for one thing: that of an override, and the other."""
    other = {**labels, "severity": "low", "override": '{a="b"}'}
    return [labels, other] if is_alert(labels) else [labels]


def of_two_relays(labels: Labels) -> list[Labels]:
    """Two relays do not agree on why nobody is told of an alert."""
    if labels["__name__"] == SUPPRESSED:
        return [labels, {**labels, "state": OTHER_STATE[labels["state"]]}]
    is_theirs = labels.get("job") == "plimsoll-relay"
    return [labels, {**labels, "instance": "relay2:9746"}] if is_theirs else [labels]


def of_two_jobs(labels: Labels) -> list[Labels]:
    """Hosts and services are scraped by two jobs, of which one declares a label."""
    if not labels.get("instance") or labels.get("job", "").startswith("plimsoll"):
        return [labels]
    job = {"job": f"{labels['job']}-2"} if "job" in labels else {}
    return [labels, {**labels, **job, "environment": "production"}]


def on_two_engines(labels: Labels) -> list[Labels]:
    """Containers of the same names run on another engine."""
    return [labels, {**labels, "engine": "other"}] if "engine" in labels else [labels]


def with_odd_names(labels: Labels) -> list[Labels]:
    odd = {name: labels[name] + ODD for name in ("datname", "relname", "name") if labels.get(name)}
    return [{**labels, **odd}]


CHANGES = (
    *(of_two_replicas, of_two_exporters, at_two_severities),
    *(of_two_relays, of_two_jobs, on_two_engines, with_odd_names),
)


@pytest.fixture(scope="module", params=CHANGES, ids=lambda change: change.__name__)
def change(request: pytest.FixtureRequest) -> Changed:
    given: Changed = request.param
    return given


@pytest.fixture(scope="module")
def changed(change: Changed, world: Data, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """Give what the world was in the end, with other labels."""
    folder = tmp_path_factory.mktemp("changed")
    write(folder / "samples", world, change)
    said_by(*("promtool", "tsdb", "create-blocks-from", "openmetrics"), folder / "samples", folder / "data")
    flags = (f"--storage.tsdb.path={folder / 'data'}", "--storage.tsdb.retention.time=100y")
    with run_prometheus(folder / "run", {}, *flags) as prometheus:
        yield Data(Prometheus(prometheus.url, world.now), world.history)


def write(file: Path, world: Data, change: Changed) -> None:
    """Write samples of the last minutes, each series only once."""
    found = world.prometheus.instant('{__name__=~".+"}').samples
    values = {written(labels): each.value for each in found for labels in change(each.labels)}
    times = [world.now - seconds for seconds in range(240, -1, -60)]
    lines = [f"{series} {value!r} {time:.3f}" for series, value in sorted(values.items()) for time in times]
    file.write_text("\n".join([*lines, "# EOF", ""]), "utf-8")


def written(labels: Labels) -> str:
    own = sorted((name, value) for name, value in labels.items() if name != "__name__" and value)
    pairs = (f'{name}="{escaped(value)}"' for name, value in own)
    return f"{labels['__name__']}{{{','.join(pairs)}}}"


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def test_every_query_runs(changed: Data) -> None:
    """Asked for all of everything, and for one of each."""
    for file in files():
        board = Board(Board.open(file.stem, changed).dashboard, changed)
        for chosen in (board, board.pick_first()):
            for panel in board.dashboard.panels:
                for query in panel.queries:
                    if query.kind == "prometheus":
                        chosen.ask(query, panel)


@pytest.mark.parametrize("title", ["Total size", "Time until critical", "Tables not measured"])
def test_databases_are_counted_once(changed: Data, world: Data, title: str) -> None:
    assert Board.open("storage", changed).value(title) == Board.open("storage", world).value(title)
