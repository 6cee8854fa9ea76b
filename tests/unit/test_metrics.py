"""Whatever is put on a page is read back from it unchanged, by the parsers of Prometheus' own client."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from plimsoll.serve.metrics import Family, LabelTemplate, Page, present, with_label
from plimsoll.serve.self_metrics import ProcessMetrics

Sample = tuple[tuple[str, str], float]
"""Two label values, and a value."""

TABLE = Family("test_size_bytes", "gauge", 'Bytes; a "quoted" word, a \\ and a\nsecond line.', ("a", "b"))
COUNTER = Family("test_bytes_total", "counter", "Bytes that were moved.", ("a", "b"))
UNNAMED = Family("test_seq_scan", "unknown", "A counter of postgres_exporter's.", ("a",))
PLAIN = Family("test_plain", "gauge", "Nothing but a value.")

odd_text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        '"',
        "\\",
        "\n",
        '\\"',
        "\\n",
        "\\\\n",
        'a="b",c="d"',
        "{}",
        "# EOF",
        "🚢⚓",
        "\r\n",
        "\u2028",
        "\x85",
        " ",
    ]
)
values = st.floats() | st.integers(-(2**70), 2**70)


def some_samples(of_values: st.SearchStrategy[float]) -> st.SearchStrategy[list[Sample]]:
    return st.lists(st.tuples(st.tuples(odd_text, odd_text), of_values), unique_by=lambda sample: sample[0])


samples = some_samples(values)


def parse(text: str, *, openmetrics: bool) -> list[Metric]:
    if openmetrics:
        return list(parse_openmetrics(f"{text}# EOF\n"))  # type: ignore[no-untyped-call]
    return list(parse_text(text))


def comparable(labels: Iterable[tuple[str, str]], value: float) -> tuple[dict[str, str], str]:
    """Give what can be compared although a value may be NaN, which equals nothing."""
    return dict(labels), repr(float(value))


def read(families: Iterable[Metric]) -> list[tuple[dict[str, str], str]]:
    return [comparable(s.labels.items(), s.value) for family in families for s in family.samples]


def page_of(family: Family, given: Iterable[Sample]) -> Page:
    template = LabelTemplate({}, family.labels)
    page = Page()
    page.add(family, [(template(*labels), value) for labels, value in given])
    return page


class Reference(Collector):
    """The same samples, written by prometheus_client."""

    def __init__(self, family: Family, given: list[Sample]) -> None:
        self.family = family
        self.given = given

    def collect(self) -> Iterator[Metric]:
        kind = CounterMetricFamily if self.family.kind == "counter" else GaugeMetricFamily
        family = kind(self.family.name, self.family.help, labels=self.family.labels)
        for labels, value in self.given:
            family.add_metric(labels, value)
        yield family


@pytest.mark.parametrize("openmetrics", [False, True])
@settings(deadline=None)
@given(given_samples=samples)
def test_samples_are_read_back_unchanged(openmetrics: bool, given_samples: list[Sample]) -> None:
    text = page_of(TABLE, given_samples).encode(openmetrics=openmetrics)

    expected = [comparable(zip(TABLE.labels, labels, strict=True), value) for labels, value in given_samples]
    assert read(parse(text, openmetrics=openmetrics)) == expected


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize(("family", "values_of_it"), [(TABLE, values), (COUNTER, st.integers(0, 2**70))])
@settings(deadline=None)
@given(data=st.data())
def test_a_page_says_what_the_client_library_says(
    openmetrics: bool, family: Family, values_of_it: st.SearchStrategy[float], data: st.DataObject
) -> None:
    given_samples = data.draw(some_samples(values_of_it).filter(bool))
    registry = CollectorRegistry()
    registry.register(Reference(family, given_samples))
    if openmetrics:
        reference = generate_openmetrics(registry).decode().removesuffix("# EOF\n")  # type: ignore[no-untyped-call]
    else:
        reference = generate_latest(registry).decode()

    (ours,) = parse(page_of(family, given_samples).encode(openmetrics=openmetrics), openmetrics=openmetrics)
    (theirs,) = parse(reference, openmetrics=openmetrics)

    assert (ours.name, ours.type, ours.documentation) == (theirs.name, theirs.type, theirs.documentation)
    assert read([ours]) == read([theirs])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-7, "-7"),
        (2**63, "9223372036854775808"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (1750000000.25, "1750000000.25"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
@pytest.mark.parametrize("openmetrics", [False, True])
def test_values_are_written_as_prometheus_writes_them(value: float, text: str, openmetrics: bool) -> None:
    page = Page()
    page.add(PLAIN, [("", value)])

    assert page.encode(openmetrics=openmetrics).splitlines()[-1] == f"test_plain {text}"


def test_a_page_as_text() -> None:
    page = page_of(UNNAMED, [])
    page.add(UNNAMED, [('a="x"', 3)])
    page.add(TABLE, [('a="x",b="y"', 5)])

    assert page.encode(openmetrics=False) == (
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

    assert page.encode(openmetrics=True) == (
        "# HELP test_seq_scan A counter of postgres_exporter's.\n"
        "# TYPE test_seq_scan unknown\n"
        'test_seq_scan{a="x"} 3\n'
        '# HELP test_size_bytes Bytes; a \\"quoted\\" word, a \\\\ and a\\nsecond line.\n'
        "# TYPE test_size_bytes gauge\n"
        'test_size_bytes{a="x",b="y"} 5\n'
    )


def test_a_counter_is_named_without_total_in_openmetrics_only() -> None:
    page = page_of(COUNTER, [(("x", "y"), 3)])

    assert page.encode(openmetrics=False) == (
        "# HELP test_bytes_total Bytes that were moved.\n"
        "# TYPE test_bytes_total counter\n"
        'test_bytes_total{a="x",b="y"} 3\n'
    )
    assert page.encode(openmetrics=True) == (
        "# HELP test_bytes Bytes that were moved.\n"
        "# TYPE test_bytes counter\n"
        'test_bytes_total{a="x",b="y"} 3\n'
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert page_of(TABLE, []).encode(openmetrics=False) == ""


def test_targets_share_the_head_of_a_family() -> None:
    page = Page()
    for server in ("one", "two"):
        template = LabelTemplate({"server": server}, ("datname",))
        page.add(TABLE, [(template("app"), 1)])
        page.add(PLAIN, [("", 1)])

    text = page.encode(openmetrics=False)

    assert text.count("# HELP test_size_bytes") == text.count("# TYPE test_size_bytes") == 1
    family, _ = parse(text, openmetrics=False)
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


@given(first=odd_text, second=odd_text)
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
    text = page_of(TABLE, [(("x", "y"), 1)]).encode(openmetrics=openmetrics)

    text += ProcessMetrics().encode(openmetrics=openmetrics)

    names = {family.name for family in parse(text, openmetrics=openmetrics)}
    assert {"test_size_bytes", "process_resident_memory_bytes", "process_open_fds"} <= names
