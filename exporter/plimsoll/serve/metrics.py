"""Metric families, strict labels, and the two text formats.

Sources:
    https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal

Sample = tuple[str, float]
"""Rendered labels (`LabelTemplate`) and a value."""

_NOT_FINITE = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
"""How both formats write what Python writes otherwise."""


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
        text = self.help.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            name = self.name.removesuffix("_total") if self.kind == "counter" else self.name
            return f"# HELP {name} {_quotable(text)}\n# TYPE {name} {self.kind}\n"
        kind = "counter" if self.kind == "unknown" else self.kind
        return f"# HELP {self.name} {text}\n# TYPE {self.name} {kind}\n"


class LabelTemplate:
    """Renders label sets of one shape; what a target's series have in common is rendered once.

    Raises:
        ValueError: a name stands twice here, or a call gives another number of values than names.
    """

    def __init__(self, constant: Mapping[str, str], names: Iterable[str] = ()) -> None:
        self._names = tuple(names)
        if twice := constant.keys() & set(self._names):
            raise ValueError(f"label {', '.join(sorted(twice))} stands twice")
        self._start = ",".join(f'{name}="{_quotable(_escaped(value))}"' for name, value in constant.items())

    def __call__(self, *values: str) -> str:
        """Render the labels as they stand between braces."""
        own = ",".join(
            f'{name}="{_quotable(_escaped(value))}"' for name, value in zip(self._names, values, strict=True)
        )
        return f"{self._start},{own}" if self._start and own else self._start or own


def with_label(labels: str, name: str, value: str) -> str:
    """Add a label to rendered ones, which must not have it yet."""
    return f'{labels},{name}="{_quotable(_escaped(value))}"'


def present(samples: Iterable[tuple[str, float | None]]) -> Iterator[Sample]:
    """Leave out what is unknown: a missing sample, never 0."""
    return ((labels, value) for labels, value in samples if value is not None)


class Page:
    """Everything that one scrape gets: families with their samples, in the order of their first use."""

    def __init__(self) -> None:
        self._samples: dict[Family, list[Sample]] = {}

    def add(self, family: Family, samples: Iterable[Sample]) -> None:
        """Append samples; several targets may add to the same family."""
        self._samples.setdefault(family, []).extend(samples)

    def encode(self, *, openmetrics: bool) -> str:
        """Write the families in the text format, or in OpenMetrics without its closing `# EOF`."""
        return "".join(
            family.head(openmetrics=openmetrics) + "".join(_lines(family.name, samples))
            for family, samples in self._samples.items()
            if samples
        )


def _lines(name: str, samples: list[Sample]) -> Iterator[str]:
    for labels, value in samples:
        text = repr(value) if isfinite(value) else _NOT_FINITE[repr(value)]
        yield f"{name}{{{labels}}} {text}\n" if labels else f"{name} {text}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n")


def _quotable(value: str) -> str:
    return value.replace('"', r"\"")
