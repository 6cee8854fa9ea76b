"""Lives as rows of the history, and back, without a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plimsoll.relay.alert import Alert
from plimsoll.relay.history.migrations import migrations
from plimsoll.relay.history.rows import as_json, row_of_life, subject_of, turns
from plimsoll.relay.history.sql import query
from plimsoll.relay.lives.life import End, Life

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def life(start: float = 0, ended: float | None = None, labels: Mapping[str, str] | None = None) -> Life:
    """Give a life that began and ended so many seconds after NOW."""
    at = NOW + timedelta(seconds=start)
    end = None if ended is None else End(NOW + timedelta(seconds=ended), told=True)
    return Life(Alert({"alertname": "A", **(labels or {})}, {}, at), at, ended=end)


def texts(annotations: dict[str, str] | None, name: str = "A") -> dict[str, Any]:
    row = row_of_life(Life(Alert({"alertname": name}, annotations, NOW), NOW))
    return {key: row[key] for key in ("title", "message", "threshold", "actual_value", "annotations")}


def test_annotations_have_columns_or_stand_among_the_others() -> None:
    known = {"summary": "S", "description": "D", "threshold": "1", "value": "2", "current": "3"}

    assert texts(known) == {
        "title": "S",
        "message": "D",
        "threshold": "1",
        "actual_value": "2",
        "annotations": {"current": "3"},
    }


def test_unknown_annotations_are_told_from_none() -> None:
    assert texts(None)["annotations"] is None
    assert texts({})["annotations"] == {}


@pytest.mark.parametrize("annotations", [None, {}, {"summary": ""}, {"summary": " \n"}])
def test_without_a_summary_the_name_is_the_title(annotations: dict[str, str] | None) -> None:
    assert texts(annotations, "DatabaseGrowthHigh")["title"] == "DatabaseGrowthHigh"


def test_an_alert_without_a_name_still_has_a_title() -> None:
    row = row_of_life(Life(Alert({"team": "x"}, {}, NOW), NOW))

    assert (row["alertname"], row["title"]) == ("(no name)", "(no name)")


@pytest.mark.parametrize(("length", "is_cut"), [(255, False), (256, True), (10_000, True)])
def test_a_title_is_cut_and_nothing_is_lost(length: int, is_cut: bool) -> None:
    summary = "ä" * length
    told = texts({"summary": summary})

    assert told["title"] == ("ä" * 254 + "…" if is_cut else summary)
    assert told["annotations"] == ({"summary": summary} if is_cut else {})


@pytest.mark.parametrize(
    ("severity", "written"),
    [("critical", "critical"), ("page", "unknown"), ("", "unknown"), (None, "unknown")],
)
def test_a_severity_of_others_is_unknown(severity: str | None, written: str) -> None:
    labels = {} if severity is None else {"severity": severity}

    assert row_of_life(life(labels=labels))["severity"] == written


@pytest.mark.parametrize("label", ["category", "organization"])
def test_a_label_that_is_not_there_is_unknown(label: str) -> None:
    assert row_of_life(life())[label] is None
    assert row_of_life(life(labels={label: ""}))[label] is None
    assert row_of_life(life(labels={label: "x"}))[label] == "x"


@pytest.mark.parametrize(
    ("labels", "kind", "name"),
    [
        ({"server": "main"}, "server", "main"),
        ({"instance": "db:9100"}, "host", "db"),
        ({"instance": ":9100"}, "plimsoll", "plimsoll"),
        ({"engine": "e" * 10_000}, "engine", "e" * 254 + "…"),
    ],
)
def test_every_subject_can_be_written(labels: dict[str, str], kind: str, name: str) -> None:
    assert subject_of(life(labels=labels)) == (kind, name)


def test_what_cannot_be_written_is_replaced_wherever_it_stands() -> None:
    rows = [{"a\0": "b\ud800c", "list": ["\udfff", None, 1.5, True], "deep": {"\0": "\0"}}]

    assert json.loads(as_json(rows)) == [
        {"a\ufffd": "b\ufffdc", "list": ["\ufffd", None, 1.5, True], "deep": {"\ufffd": "\ufffd"}}
    ]


@pytest.mark.parametrize("text", ["\\u0000", "😀", "quote ' \" %s {}", "\\", "\n\t\x01\u2028"])
def test_what_can_be_written_stays(text: str) -> None:
    assert json.loads(as_json([{text: text}])) == [{text: text}]


def test_turns_never_hold_an_alert_twice_and_keep_its_order() -> None:
    first, second, third = life(0, ended=5), life(10, ended=15), life(20)
    other = life(7, labels={"datname": "other"})

    parts = list(turns([third, other, first, second]))

    assert [sorted(part, key=lambda each: each.alert.starts_at) for part in parts] == [
        [first, other],
        [second],
        [third],
    ]


def test_of_two_that_began_at_once_the_one_that_ended_comes_first() -> None:
    ended, goes_on = life(0, ended=5), life(0)

    assert list(turns([goes_on, ended])) == [[ended], [goes_on]]


def test_versions_are_counted_without_a_gap_and_each_says_why() -> None:
    known = migrations()

    assert [each.version for each in known] == list(range(1, len(known) + 1))
    assert len(known) >= 2
    assert all(each.up.startswith("-- ") and each.down for each in known)


@pytest.mark.parametrize(
    "name",
    [
        "write_lives",
        "write_subjects",
        "write_deliveries",
        "write_progress",
        "prune_alerts",
        "prune_deliveries",
    ],
)
def test_statements_name_their_tables_in_full(name: str) -> None:
    """The search_path has no schema but PostgreSQL's."""
    words = query(name).split()
    tables = {words[at + 1] for at, word in enumerate(words) if word in {"INTO", "UPDATE"}} - {"SET"}

    assert all(table.startswith("plimsoll.") for table in tables)
