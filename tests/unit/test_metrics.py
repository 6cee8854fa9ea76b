"""Families, labels and pages in both formats; test_encoding.py holds them against Prometheus' own client."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages import parsed, written
from plimsoll.serve.metrics import Family, LabelTemplate, Page, present, with_label
from plimsoll.serve.self_metrics import ProcessMetrics

Sample = tuple[tuple[str, str], float]
"""Two label values, and a value."""

TABLE = Family("test_size_bytes", "gauge", 'Bytes; a "quoted" word, a \\ and a\nsecond line.', ("a", "b"))
COUNTER = Family("test_bytes_total", "counter", "Bytes that were moved.", ("a", "b"))
UNNAMED = Family("test_seq_scan", "unknown", "A counter of postgres_exporter's.", ("a",))
PLAIN = Family("test_plain", "gauge", "Nothing but a value.")


def page_of(family: Family, given: Iterable[Sample]) -> Page:
    template = LabelTemplate({}, family.labels)
    page = Page()
    page.add(family, [(template(*labels), value) for labels, value in given])
    return page


def test_a_page_as_text() -> None:
    page = page_of(UNNAMED, [])
    page.add(UNNAMED, [('a="x"', 3)])
    page.add(TABLE, [('a="x",b="y"', 5)])

    assert written(page) == (
        "# HELP test_seq_scan A counter of postgres_exporter's.\n"
        "# TYPE test_seq_scan counter\n"
        'test_seq_scan{a="x"} 3\n'
        '# HELP test_size_bytes Bytes; a "quoted" word, a \\\\ and a\\nsecond line.\n'
        "# TYPE test_size_bytes gauge\n"
        'test_size_bytes{a="x",b="y"} 5\n'
    )


def test_a_page_as_openmetrics() -> None:
    page = page_of(UNNAMED, [])
    page.add(UNNAMED, [('a="x"', 3)])
    page.add(TABLE, [('a="x",b="y"', 5)])

    assert written(page, openmetrics=True) == (
        "# HELP test_seq_scan A counter of postgres_exporter's.\n"
        "# TYPE test_seq_scan unknown\n"
        'test_seq_scan{a="x"} 3\n'
        '# HELP test_size_bytes Bytes; a \\"quoted\\" word, a \\\\ and a\\nsecond line.\n'
        "# TYPE test_size_bytes gauge\n"
        'test_size_bytes{a="x",b="y"} 5\n'
    )


def test_a_counter_is_named_without_total_in_openmetrics_only() -> None:
    samples = [(("x", "y"), 3)]

    assert written(page_of(COUNTER, samples)) == (
        "# HELP test_bytes_total Bytes that were moved.\n"
        "# TYPE test_bytes_total counter\n"
        'test_bytes_total{a="x",b="y"} 3\n'
    )
    assert written(page_of(COUNTER, samples), openmetrics=True) == (
        "# HELP test_bytes Bytes that were moved.\n"
        "# TYPE test_bytes counter\n"
        'test_bytes_total{a="x",b="y"} 3\n'
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert written(page_of(TABLE, [])) == ""


def test_targets_share_the_head_of_a_family() -> None:
    page = Page()
    for server in ("one", "two"):
        template = LabelTemplate({"server": server}, ("datname",))
        page.add(TABLE, [(template("app"), 1)])
        page.add(PLAIN, [("", 1)])

    text = written(page)

    assert text.count("# HELP test_size_bytes") == text.count("# TYPE test_size_bytes") == 1
    family, _ = parsed(text)
    assert [sample.labels["server"] for sample in family.samples] == ["one", "two"]


def test_a_template_puts_constant_labels_first() -> None:
    template = LabelTemplate({"server": 'a"b'}, ("datname", "relname"))

    assert template("c\\d", "e\nf") == r'server="a\"b",datname="c\\d",relname="e\nf"'
    assert LabelTemplate({"server": "a"})() == 'server="a"'
    assert LabelTemplate({}, ("datname",))("b") == 'datname="b"'
    assert LabelTemplate({})() == ""


@pytest.mark.parametrize("labels", [(), ("one",), ("one", "two", "three")])
def test_a_template_wants_every_value(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        LabelTemplate({"server": "a"}, ("datname", "relname"))(*labels)


def test_a_label_may_not_have_two_sources() -> None:
    with pytest.raises(ValueError, match="label datname stands twice"):
        LabelTemplate({"datname": "a"}, ("datname",))


@given(first=st.text(), second=st.text())
def test_a_label_that_is_added_is_like_the_others(first: str, second: str) -> None:
    labels = LabelTemplate({"a": first})()

    assert with_label(labels, "b", second) == LabelTemplate({"a": first}, ("b",))(second)


def test_what_is_unknown_is_no_sample() -> None:
    assert list(present([("a", 0), ("b", None), ("c", 0.0), ("d", math.inf)])) == [
        ("a", 0),
        ("c", 0.0),
        ("d", math.inf),
    ]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_process_metrics_follow_a_page(openmetrics: bool) -> None:
    text = written(page_of(TABLE, [(("x", "y"), 1)]), openmetrics=openmetrics)

    text += ProcessMetrics().encode(openmetrics=openmetrics)

    names = {family.name for family in parsed(text, openmetrics=openmetrics)}
    assert {"test_size_bytes", "process_resident_memory_bytes", "process_open_fds"} <= names
