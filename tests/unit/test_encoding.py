"""A page says what Prometheus' own client would have said, however many samples there are and however odd."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UnknownMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from pages import parsed, written
from plimsoll.serve import metrics
from plimsoll.serve.metrics import Family, LabelTemplate, Page

Samples = Sequence[tuple[tuple[str, ...], float]]
"""Label values, and a value."""

Kind = Literal["gauge", "counter", "unknown"]

FORMATS = pytest.mark.parametrize("openmetrics", [False, True])
MANY = Family("test_size_bytes", "gauge", "Bytes.", ("relname",))
PLAIN = Family("test_plain", "gauge", "Nothing but a value.")

odd_text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "",
        '"',
        "\\",
        "\n",
        '\\"',
        "\\n",
        "\\\\n",
        'a="b",c="d"',
        "{}",
        "} 1",
        "%s",
        "100 %",
        "# EOF",
        "🚢⚓",
        "\r\n",
        "\u2028",
        "\x85",
        "\x00",
        " ",
    ]
)
odd_ints = st.integers(-(2**70), 2**70) | st.integers(-(10**300), 10**300)
odd_floats = st.floats() | st.sampled_from(
    [0.0, -0.0, 5e-324, -2.2250738585072e-308, 1e16, 1e300, math.inf, -math.inf, math.nan, 2.0**53 + 2]
)
odd_numbers = st.sampled_from([odd_ints, odd_floats, odd_ints | odd_floats | st.booleans()])
counts = st.sampled_from([st.integers(0, 2**70), st.integers(0) | st.floats(0, 1e300) | st.booleans()])


@dataclass(frozen=True)
class Given:
    """A family with the samples of two targets, and how they are put on the page."""

    family: Family
    shared: Mapping[str, str]
    """Labels that all samples have; the rest of the family's labels are their own."""
    targets: tuple[Samples, Samples]
    as_columns: bool

    def samples(self) -> Iterator[tuple[dict[str, str], float]]:
        for labels, value in chain(*self.targets):
            yield dict(zip(self.family.labels, (*self.shared.values(), *labels), strict=True)), value

    def put_on(self, page: Page) -> None:
        own = self.family.labels[len(self.shared) :]
        apart, whole = LabelTemplate({}, own), LabelTemplate(self.shared, own)
        for samples in self.targets:
            if self.as_columns:
                labels = [apart(*each) for each, _ in samples]
                page.add_rows(self.family, labels, samples, itemgetter(1), LabelTemplate(self.shared)())
            else:
                page.add(self.family, ((whole(*each), value) for each, value in samples))


@st.composite
def families(draw: st.DrawFn, number: int) -> Given:
    """Give a family; its labels are in the order in which the client writes them."""
    kind: Kind = draw(st.sampled_from(["gauge", "counter", "unknown"]))
    own = ("b", "c", "d")[: draw(st.integers(0, 3))]
    shared = draw(st.fixed_dictionaries({"a": odd_text}) | st.just({})) if own else {}
    name = f"test_{number}_total" if kind == "counter" else f"test_{number}"
    numbers = draw(counts if kind == "counter" else odd_numbers)
    labels = st.tuples(*(odd_text for _ in own))
    samples = draw(st.lists(st.tuples(labels, numbers), unique_by=lambda sample: sample[0], max_size=8))
    cut = draw(st.integers(0, len(samples)))
    family = Family(name, kind, draw(odd_text), (*shared, *own))
    return Given(family, shared, (samples[:cut], samples[cut:]), draw(st.booleans()))


pages = st.integers(1, 3).flatmap(lambda count: st.tuples(*(families(number) for number in range(count))))


class Reference(Collector):
    """The same samples, written by prometheus_client."""

    def __init__(self, page: Iterable[Given]) -> None:
        self._page = page

    def collect(self) -> Iterator[Metric]:
        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "unknown": UnknownMetricFamily}
        for each in self._page:
            family = kinds[each.family.kind](each.family.name, each.family.help, labels=each.family.labels)
            for labels, value in each.samples():
                family.add_metric(list(labels.values()), value)
            if family.samples:
                yield family

    def written(self, *, openmetrics: bool) -> str:
        registry = CollectorRegistry()
        registry.register(self)
        if openmetrics:
            return str(generate_openmetrics(registry).decode()).removesuffix("# EOF\n")  # type: ignore[no-untyped-call]
        return generate_latest(registry).decode()


def read(
    text: str, *, openmetrics: bool
) -> list[tuple[str, str, str, list[tuple[str, dict[str, str], str]]]]:
    """Give what can be compared although a value may be NaN, which equals nothing."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [(sample.name, sample.labels, repr(float(sample.value))) for sample in family.samples],
        )
        for family in parsed(text, openmetrics=openmetrics)
    ]


def without_values(text: str) -> list[str]:
    lines = text.split("\n")
    return [line if line.startswith("# ") else line.rpartition(" ")[0] for line in lines]


@FORMATS
@settings(deadline=None)
@given(page=pages, at_once=st.integers(1, 5))
def test_a_page_says_what_the_client_library_says(
    openmetrics: bool, page: tuple[Given, ...], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_AT_ONCE", at_once)
        ours = Page()
        for each in page:
            each.put_on(ours)
        text = written(ours, openmetrics=openmetrics)

    reference = Reference(page).written(openmetrics=openmetrics)
    if not openmetrics:  # a counter without _total, which the client cannot write
        reference = re.sub("^(# TYPE .*) untyped$", r"\1 counter", reference, flags=re.MULTILINE)
    found = read(text, openmetrics=openmetrics)
    assert [sample[1:] for *_, samples in found for sample in samples] == [
        (labels, repr(float(value))) for each in page for labels, value in each.samples()
    ]
    assert found == read(reference, openmetrics=openmetrics)
    assert without_values(text) == without_values(reference)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-7, "-7"),
        (2**63, "9223372036854775808"),
        (True, "1"),
        (False, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (1750000000.25, "1750000000.25"),
        (5e-324, "5e-324"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
@FORMATS
def test_values_are_written_as_prometheus_reads_them(value: float, text: str, openmetrics: bool) -> None:
    page = Page()
    page.add(PLAIN, [("", value)])

    assert written(page, openmetrics=openmetrics).splitlines()[-1] == f"test_plain {text}"


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2000, 5500])
def test_a_long_column_comes_in_pieces(count: int) -> None:
    labels = [f'relname="table_{number}"' for number in range(count)]
    values = [number * 8192 for number in range(count)]
    page = Page()
    page.add(PLAIN, [("", 1)])
    page.add_rows(MANY, labels, values, int)
    page.add(MANY, [('relname="another"', 0.5)])

    pieces = list(page.encode(openmetrics=False))

    samples = [f"test_size_bytes{{{name}}} {value}" for name, value in zip(labels, values, strict=True)]
    assert b"".join(pieces).decode().splitlines() == [
        *("# HELP test_plain Nothing but a value.", "# TYPE test_plain gauge", "test_plain 1"),
        *("# HELP test_size_bytes Bytes.", "# TYPE test_size_bytes gauge"),
        *samples,
        'test_size_bytes{relname="another"} 0.5',
    ]
    assert all(piece and piece.count(b"\n") <= 2000 for piece in pieces)


def test_columns_are_of_one_length() -> None:
    page = Page()

    with pytest.raises(ValueError, match="test_size_bytes: 2 label sets and 1 values"):
        page.add_rows(MANY, ['relname="a"', 'relname="b"'], [1], float)
