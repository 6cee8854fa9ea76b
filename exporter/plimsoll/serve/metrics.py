"""Metric families, strict labels, and the two text formats.

Sources:
    https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeVar

from isal import isal_zlib

Row = TypeVar("Row")
Sample = tuple[str, float]
"""Rendered labels (`LabelTemplate`) and a value."""

_AS_PROMETHEUS = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf", "True": "1", "False": "0"}
"""How both formats write what Python writes otherwise."""
_AT_ONCE = 1000
"""Lines that are made in one go, which no other thread can interrupt: a fraction of a millisecond."""
_PARTS = 4
"""Strings that a line is joined of."""
_LEVEL = 1
"""Level 0 of ISA-L takes as long and gives half as much again."""
_GZIP = 31
"""What zlib calls window bits: the largest window, and the header of gzip."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, type, help line, and the names of its labels.

    `unknown` names a counter without `_total`, which OpenMetrics does not allow as a counter: it is
    `counter` in the text format and `unknown` in OpenMetrics.
    """

    name: str
    kind: Literal["gauge", "counter", "unknown"]
    help: str
    labels: tuple[str, ...] = ()

    def head(self, *, openmetrics: bool) -> str:
        """Give the HELP and TYPE lines."""
        if openmetrics:
            name = self.name.removesuffix("_total") if self.kind == "counter" else self.name
            return f"# HELP {name} {_quotable(self.help)}\n# TYPE {name} {self.kind}\n"
        kind = "counter" if self.kind == "unknown" else self.kind
        return f"# HELP {self.name} {_escaped(self.help)}\n# TYPE {self.name} {kind}\n"


class LabelTemplate:
    """Renders label sets of one shape; what a target's series have in common is rendered once.

    Raises:
        ValueError: a name stands twice here, or a call gives another number of values than names.
    """

    def __init__(self, constant: Mapping[str, str], names: Iterable[str] = ()) -> None:
        self._names = tuple(names)
        if twice := constant.keys() & set(self._names):
            raise ValueError(f"label {', '.join(sorted(twice))} stands twice")
        fixed = [_label(name, value).replace("%", "%%") for name, value in constant.items()]
        self._format = ",".join([*fixed, *(f'{name}="%s"' for name in self._names)])

    def __call__(self, *values: str) -> str:
        """Render the labels as they stand between braces."""
        if len(values) != len(self._names):
            raise ValueError(f"{len(values)} values for the labels {', '.join(self._names)}")
        return self._format % tuple(map(_quotable, values))


def with_label(labels: str, name: str, value: str) -> str:
    """Add a label to rendered ones, which must not have it yet."""
    return f"{labels},{_label(name, value)}"


def present(samples: Iterable[tuple[str, float | None]]) -> Iterator[Sample]:
    """Leave out what is unknown: a missing sample, never 0."""
    return ((labels, value) for labels, value in samples if value is not None)


@dataclass(slots=True)
class _Few:
    """Samples of one family, a few of each database: a pair of lists for each would be a heap of garbage."""

    labels: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stretches: list[tuple[int, str]] = field(default_factory=list)
    """Where each ends, and the labels that all samples in it have before their own."""

    def end_stretch(self, common: str) -> None:
        """Say what is common to the samples that were appended since the last stretch ended."""
        if self.stretches and self.stretches[-1][1] == common:
            self.stretches.pop()
        self.stretches.append((len(self.labels), common))

    def lines(self, name: str) -> Iterator[list[str]]:
        """Give the parts of the lines, so many at once as take no time worth mentioning."""
        start = 0
        for end, common in self.stretches:
            for some in _steps(start, end):
                yield _lines(name, self.labels[some], self.values[some], common)
            start = end


class _Many(NamedTuple):
    """Samples whose values are made when they are written: the lists can be those of several families."""

    labels: Sequence[str]
    rows: Sequence[Any]
    value_of: Callable[[Any], float]
    common: str

    def lines(self, name: str) -> Iterator[list[str]]:
        """Give the parts of the lines, so many at once as take no time worth mentioning."""
        for some in _steps(0, len(self.labels)):
            yield _lines(name, self.labels[some], list(map(self.value_of, self.rows[some])), self.common)


class Page:
    """Everything that one scrape gets: families with their samples, in the order of their first use."""

    def __init__(self) -> None:
        self._columns: dict[Family, list[_Few | _Many]] = {}

    def add(self, family: Family, samples: Iterable[Sample]) -> None:
        """Append samples; several targets may add to the same family."""
        few = self._few(family)
        for labels, value in samples:
            few.labels.append(labels)
            few.values.append(value)
        few.end_stretch("")

    def add_rows(
        self,
        family: Family,
        labels: Sequence[str],
        rows: Sequence[Row],
        value_of: Callable[[Row], float],
        common: str = "",
    ) -> None:
        """Append many samples at little cost: label sets, all empty or none, and what has the value of each.

        `common` are rendered labels that all of the label sets, none of them empty, have before their own.
        Neither of the sequences may change before the page is written.

        Raises:
            ValueError: there are more of one than of the other.
        """
        if len(labels) != len(rows):
            raise ValueError(f"{family.name}: {len(labels)} label sets and {len(rows)} values")
        if len(labels) > _AT_ONCE:
            self._columns.setdefault(family, []).append(_Many(labels, rows, value_of, common))
            return
        few = self._few(family)
        few.labels += labels
        few.values += map(value_of, rows)
        few.end_stretch(common)

    def _few(self, family: Family) -> _Few:
        """Give what the next samples may join."""
        column = self._columns.setdefault(family, [])
        last = column[-1] if column else None
        if not isinstance(last, _Few):
            last = _Few()
            column.append(last)
        return last

    def encode(self, *, openmetrics: bool) -> Iterator[bytes]:
        """Write the families in the text format, or in OpenMetrics without its closing `# EOF`.

        The text comes in pieces: none takes long, and nobody has to hold it as a whole. What is written is no
        longer on the page, for to free it all at once would keep all threads waiting.
        """
        parts: list[str] = []
        for family in list(self._columns):
            column = self._columns.pop(family)
            if any(block.labels for block in column):
                parts.append(family.head(openmetrics=openmetrics))
            for lines in chain.from_iterable(block.lines(family.name) for block in column):
                parts += lines
                if len(parts) > _PARTS * _AT_ONCE:
                    yield "".join(parts).encode()
                    parts.clear()
        if parts:
            yield "".join(parts).encode()


def compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress pieces of a page with gzip; other threads can run meanwhile."""
    compressor = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
    yield from filter(None, map(compressor.compress, pieces))
    yield compressor.flush()


def _steps(start: int, end: int) -> Iterator[slice]:
    return (slice(at, min(at + _AT_ONCE, end)) for at in range(start, end, _AT_ONCE))


def _lines(name: str, labels: Sequence[str], values: Sequence[float], common: str) -> list[str]:
    """Give the parts of lines, which are joined only once."""
    before, after = (f"{name}{{{common and common + ','}", "} ") if labels[0] else (name, " ")
    # Whole columns are laid into the list at once: no Python code runs for a single line.
    parts = [f"\n{before}", "", after, ""] * len(labels)
    parts[0] = before
    parts[1::_PARTS] = labels
    parts[3::_PARTS] = _texts(values)
    parts.append("\n")
    return parts


def _texts(values: Sequence[float]) -> Iterable[str]:
    texts = list(map(repr, values))
    return texts if set(map(type, values)) == {int} else map(_AS_PROMETHEUS.get, texts, texts)


def _label(name: str, value: str) -> str:
    return f'{name}="{_quotable(value)}"'


def _quotable(value: str) -> str:
    return _escaped(value).replace('"', r"\"")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n")
