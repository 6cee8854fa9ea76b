"""From when to when alerts fired, as samples tell it, and what Alertmanager calls them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from plimsoll.relay.lives.runs import Run, Span, chunks, join, split
from plimsoll.relay.sources.sent import Sent

START = 1_900_000_000.0
"""Late enough for milliseconds to be lost by the wrong arithmetic."""


def at(seconds: float) -> datetime:
    return datetime(2030, 3, 17, 17, 46, 40, tzinfo=UTC) + timedelta(seconds=seconds)


def run(first: float, last: float, **labels: str) -> Run:
    return Run(labels or {"alertname": "A"}, at(first), at(last))


def spans(*seconds: float, tolerance: float = 60) -> list[Span]:
    return split((START + each for each in seconds), tolerance)


def test_samples_make_a_run_until_one_is_late() -> None:
    assert spans(0, 30, 90, 151, 180, 400) == [(at(0), at(90)), (at(151), at(180)), (at(400), at(400))]


def test_milliseconds_are_kept() -> None:
    assert spans(0.123, 30.123, 90.124) == [(at(0.123), at(30.123)), (at(90.124), at(90.124))]
    assert spans(0.123, 60.123) == [(at(0.123), at(60.123))]


def test_no_samples_are_no_run() -> None:
    assert spans() == []


def test_runs_that_touch_are_one_whatever_their_order() -> None:
    runs = [run(3600, 7200), run(0, 3570), run(7201, 7300), run(8000, 8000)]
    assert join(runs, 30) == [run(0, 7300), run(8000, 8000)]
    assert join(runs, 29.9) == [run(0, 3570), run(3600, 7300), run(8000, 8000)]


def test_a_run_within_another_does_not_shorten_it() -> None:
    assert join([run(0, 500), run(100, 200), run(510, 600)], 10) == [run(0, 600)]


def test_runs_of_other_labels_stay_apart() -> None:
    runs = [run(0, 10, alertname="A"), run(5, 20, alertname="B"), run(11, 20, alertname="A", more="x")]
    assert join(runs, 60) == [runs[0], runs[1], runs[2]]


def test_the_order_of_labels_does_not_matter() -> None:
    assert len(join([run(0, 1, a="1", b="2"), run(1, 2, b="2", a="1")], 0)) == 1


@pytest.mark.parametrize(
    ("hours", "lengths"), [(2.5, [3600, 3600, 1800]), (2, [3600, 3600]), (0.001, [3.6]), (0, []), (-1, [])]
)
def test_a_long_time_is_cut(hours: float, lengths: list[float]) -> None:
    pieces = list(chunks(at(0), at(hours * 3600), timedelta(hours=1)))
    assert [(piece.last - piece.first).total_seconds() for piece in pieces] == lengths
    assert [piece.first for piece in pieces[1:]] == [piece.last for piece in pieces[:-1]]
    assert not pieces or Span(pieces[0].first, pieces[-1].last) == Span(at(0), at(hours * 3600))


def sent(*relabelling: dict[str, str], external: dict[str, str] | None = None) -> Sent:
    sections = {
        "global": {"scrape_interval": "15s", "external_labels": external or {}},
        "alerting": {"alert_relabel_configs": list(relabelling), "alertmanagers": []},
        "scrape_configs": [{"job_name": "global:", "external_labels": {"not": "this"}}],
    }
    return Sent.read(yaml.safe_dump(sections, sort_keys=False))


SERIES = {"__name__": "ALERTS", "alertstate": "firing", "alertname": "A", "replica": "own", "pod": "p"}


def test_what_the_series_has_of_its_own_is_no_label_of_the_alert() -> None:
    assert sent().seen(SERIES) == {"alertname": "A", "replica": "own", "pod": "p"}


def test_external_labels_are_added_where_there_is_none() -> None:
    external = {"replica": "a", "region": "eu"}
    assert sent(external=external).seen(SERIES) == {
        "alertname": "A",
        "replica": "own",
        "pod": "p",
        "region": "eu",
    }


def test_texts_stay_texts_and_empty_ones_are_none() -> None:
    seen = sent(external={"n": "0123", "y": "yes", "d": "2030-01-01", "lines": "a\n\nb\n", "e": ""}).seen({})
    assert seen == {"n": "0123", "y": "yes", "d": "2030-01-01", "lines": "a\n\nb\n"}


def test_go_writes_texts_without_quotes() -> None:
    assert Sent.read("global:\n  external_labels:\n    zone: 1_0\n").seen({}) == {"zone": "1_0"}


def test_labels_are_dropped_by_whole_names_external_ones_too() -> None:
    dropping = sent({"action": "labeldrop", "regex": "re.*|po"}, external={"region": "eu"})
    assert dropping.seen(SERIES) == {"alertname": "A", "pod": "p"}
    assert dropping.ignored == ()


def test_labels_are_kept_by_whole_names() -> None:
    assert sent({"action": "labelkeep", "regex": "alertname|p"}).seen(SERIES) == {"alertname": "A"}


def test_expressions_are_gos() -> None:
    dropping = sent({"action": "labeldrop", "regex": r"\Qpod\E|[[:alpha:]]{7}"})
    assert dropping.seen(SERIES) == {"alertname": "A"}


def test_what_is_not_followed_is_named() -> None:
    relabelling = [
        {"source_labels": "[alertname]", "target_label": "x", "replacement": "y"},
        {"action": "drop", "regex": "x"},
        {"action": "labeldrop", "regex": "pod"},
    ]
    found = sent(*relabelling)
    assert found.ignored == ("replace", "drop")
    assert found.seen(SERIES) == {"alertname": "A", "replica": "own"}


def test_what_goes_for_one_alertmanager_is_named() -> None:
    text = (
        "alerting:\n  alertmanagers:\n  - alert_relabel_configs:\n    - action: labeldrop\n      regex: a\n"
    )
    assert Sent.read(text).ignored == ("labeldrop for a single Alertmanager",)


@pytest.mark.parametrize("text", ["", "global: {}\n", "global:\nalerting:\n", "rule_files: []\n"])
def test_nothing_said_changes_nothing(text: str) -> None:
    assert Sent.read(text) == Sent({})


@pytest.mark.parametrize(
    "text",
    [
        "global: [",
        "global: 3\n",
        "global: {external_labels: [a]}\n",
        "alerting: {alert_relabel_configs: [{action: labeldrop}]}\n",
    ],
)
def test_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is no configuration of Prometheus: "):
        Sent.read(text)
