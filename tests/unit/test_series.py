"""What is made of the rows of a query."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest

from plimsoll.serve.metrics import Family
from plimsoll.serve.series import RowsRefusedError, family_of, refuse_taken, series_of
from plimsoll.serve.settings.collector_files import MetricSettings
from plimsoll.serve.settings.sql import Query
from plimsoll.serve.sources.rows import MOST_BYTES, Answer
from plimsoll.serve.state.sql import Series


def metric(**keys: Any) -> MetricSettings:
    """Give a metric `app` of the column v, by the column k."""
    whole = {"metric_name": "app", "type": "gauge", "help": "Of a test.", "query_ref": "q", **keys}
    if "static_value" not in whole:
        whole.setdefault("values", ["v"])
    whole.setdefault("key_labels", ["k"])
    return MetricSettings.model_validate(whole)


def query(*metrics: MetricSettings, row_limit: int = 3) -> Query:
    return Query("app", "q", "SELECT", 0, row_limit, metrics or (metric(),))


def answer(*rows: tuple[str | None, ...], columns: str = "k v", types: str = "text int8") -> Answer:
    return Answer(tuple(columns.split()), tuple(types.split()), rows)


def refusal(what: Query, rows: Answer) -> tuple[str, str]:
    with pytest.raises(RowsRefusedError) as refused:
        series_of(what, rows)
    return refused.value.reason, str(refused.value)


def test_each_row_is_a_series() -> None:
    series = series_of(query(), answer(("a", "1"), ("b", "2.5")))

    assert series == {"app": {(("k", "a"),): 1.0, (("k", "b"),): 2.5}}


def test_null_is_no_sample_and_an_empty_label_none() -> None:
    series = series_of(query(), answer(("a", None), (None, "1")))

    assert series == {"app": {(): 1.0}}


def test_without_rows_there_are_no_series() -> None:
    assert series_of(query(), answer()) == {"app": {}}


def test_several_values_are_told_apart() -> None:
    both = metric(values=["v", "w"], value_label="which", static_labels={"unit": "x", "none": ""})
    series = series_of(
        query(both), answer(("a", "1", "2"), ("b", None, "3"), columns="k v w", types="text int8 int8")
    )

    def labels(key: str, which: str) -> tuple[tuple[str, str], ...]:
        return (("k", key), ("unit", "x"), ("which", which))

    assert series == {"app": {labels("a", "v"): 1, labels("a", "w"): 2, labels("b", "w"): 3}}


def test_one_value_may_be_labelled_too() -> None:
    assert series_of(query(metric(value_label="which")), answer(("a", "1"))) == {
        "app": {(("k", "a"), ("which", "v")): 1}
    }


def test_a_static_value_is_that_of_every_row() -> None:
    assert series_of(query(metric(static_value=7)), answer(("a", None), ("b", "2"))) == {
        "app": {(("k", "a"),): 7, (("k", "b"),): 7}
    }


def test_several_metrics_are_made_of_one_query() -> None:
    other = metric(metric_name="other", key_labels=["v"], values=["v"])

    series = series_of(query(metric(), other), answer(("a", "1")))

    assert series == {"app": {(("k", "a"),): 1}, "other": {(("v", "1"),): 1}}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int8", "9007199254740993", 9007199254740992.0),
        ("float8", "-1.5e-07", -1.5e-07),
        ("float8", "1e+300", 1e300),
        ("float8", "Infinity", math.inf),
        ("float8", "-Infinity", -math.inf),
        ("numeric", "0.10", 0.1),
        ("numeric", "1" * 400, math.inf),
        ("text", " 12 ", 12.0),
        ("text", ".5", 0.5),
        ("bool", "t", 1.0),
        ("bool", "f", 0.0),
    ],
)
def test_values(kind: str, text: str, value: float) -> None:
    assert series_of(query(), answer(("a", text), types=f"text {kind}")) == {"app": {(("k", "a"),): value}}


def test_nan_is_a_value() -> None:
    (value,) = series_of(query(), answer(("a", "NaN")))["app"].values()

    assert math.isnan(value)


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("text", "high", "column v: a value is no number, but text"),
        ("text", "", "column v: a value is no number, but text"),
        ("text", "1_000", "column v: a value is no number, but text"),
        ("text", "0x10", "column v: a value is no number, but text"),
        ("text", "inf", "column v: a value is no number, but text"),
        ("text", "\uff11\uff12", "column v: a value is no number, but text"),
        ("money", "$1.00", "column v: a value is no number, but money"),
        (
            "timestamptz",
            "2026-01-01 00:00:00+00",
            "column v: a value is no number, but timestamptz; extract(epoch FROM …) makes one of it",
        ),
    ],
)
def test_what_is_no_number_is_refused(kind: str, text: str, told: str) -> None:
    rows = answer(("a", "1"), ("b", text), types=f"text {kind}")

    assert refusal(query(), rows) == ("value", told)


def test_a_type_of_its_own_is_called_so() -> None:
    rows = Answer(("k", "v"), ("text", ""), (("a", "(1)"),))

    assert refusal(query(), rows) == ("value", "column v: a value is no number, but of a type of its own")


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "1e999"])
def test_what_no_counter_has_is_refused(text: str) -> None:
    assert refusal(query(metric(type="counter")), answer(("a", text))) == (
        "value",
        "column v: no value of a counter",
    )


def test_labels_are_text() -> None:
    rows = answer(("t", "1"), ("f", "2"), types="bool int8")

    assert series_of(query(), rows) == {"app": {(("k", "true"),): 1, (("k", "false"),): 2}}
    rows = answer(("t", "1"))
    assert series_of(query(), rows) == {"app": {(("k", "t"),): 1}}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("k w", "there is no column v; there are: k, w"),
        ("K v", "there is no column k; there are: K, v"),
        ("k v v", "the column v stands twice"),
    ],
)
def test_columns_must_be_there(columns: str, told: str) -> None:
    assert refusal(query(), answer(columns=columns, types="text int8 int8")) == ("column", told)


def test_rows_over_the_limit_are_refused() -> None:
    rows = [(str(number), "1") for number in range(4)]

    assert len(series_of(query(), answer(*rows[:3]))["app"]) == 3
    assert refusal(query(), answer(*rows)) == ("rows", "more than 3 rows (row_limit)")


@pytest.mark.parametrize("keys", [("a", "a"), (None, "")])
def test_a_series_that_stands_twice_is_refused(keys: tuple[str | None, str]) -> None:
    """Its labels' values are not told: they are rows, and the log is not the place for them."""
    rows = answer((keys[0], "1"), (keys[1], "2"))

    assert refusal(query(metric(static_labels={"unit": "x"})), rows) == (
        "duplicate",
        "a series of app{k, unit} stands twice",
    )


def test_an_answer_that_is_too_big_is_refused() -> None:
    rows = answer(("a", "1"))

    assert series_of(query(), replace(rows, size=MOST_BYTES))
    assert refusal(query(), replace(rows, size=MOST_BYTES + 1)) == ("size", "more than 16 MiB")


def test_a_long_label_is_refused() -> None:
    assert series_of(query(), answer(("ü" * 512, "1")))
    assert refusal(query(), answer(("ü" * 512 + "u", "1"))) == (
        "label",
        "column k: a label is longer than 1024 bytes",
    )


@pytest.mark.parametrize("text", ["1" * 401, "1" * 200_000 + "x", " " * 200_000 + "x", "." + "1" * 200_000])
def test_a_long_number_is_refused_at_once(text: str) -> None:
    started = time.process_time()
    assert refusal(query(), answer(("a", text), types="text numeric")) == (
        "value",
        "column v: a value is longer than 400 characters",
    )
    assert time.process_time() - started < 1


def test_two_definitions_may_share_a_name_but_no_series() -> None:
    first, second = (metric(static_labels={"of": of}) for of in ("first", "second"))

    assert len(series_of(query(first, second), answer(("a", "1")))["app"]) == 2
    assert refusal(query(first, first), answer(("a", "1")))[0] == "duplicate"


def test_what_another_query_gives_is_refused() -> None:
    mine: Series = {"app": {(("k", "a"),): 1.0, (("k", "b"),): 1.0}}
    refuse_taken(query(), mine, [{"app": {(("k", "c"),): 1.0}}, {"other": {(("k", "a"),): 1.0}}])

    with pytest.raises(
        RowsRefusedError, match=r"^a series of app\{k\} is what another query gives already$"
    ) as refused:
        refuse_taken(query(), mine, [{}, {"app": {(("k", "b"),): 1.0}}])
    assert refused.value.reason == "duplicate"


@pytest.mark.parametrize(
    ("name", "kind", "published"),
    [
        ("app", "gauge", "gauge"),
        ("app_total", "counter", "counter"),
        ("app", "counter", "unknown"),
        ("app_total", "gauge", "gauge"),
    ],
)
def test_families(name: str, kind: str, published: Any) -> None:
    made = family_of(metric(metric_name=name, type=kind, help="Of a test.\n", static_labels={"a": "b"}))

    assert made == Family(name, published, "Of a test.", ("server", "datname", "a", "k"))
