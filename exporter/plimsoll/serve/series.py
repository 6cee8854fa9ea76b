"""Turns the rows of somebody else's query into series, or refuses them whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Literal

from plimsoll.serve.metrics import Family
from plimsoll.serve.settings.collector_files import MetricSettings
from plimsoll.serve.settings.sql import Query
from plimsoll.serve.sources.rows import MOST_BYTES, Answer
from plimsoll.serve.state.sql import Labels, Series

Reason = Literal["rows", "size", "column", "label", "value", "duplicate"]

_LONGEST_LABEL = 1024
"""Bytes."""
_LONGEST_NUMBER = 400
"""Characters: a little more than the largest float has."""
_NUMBER = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_TRUTH = {"t": "true", "f": "false"}
_TIMES = ("timestamptz", "timestamp", "date", "interval", "time", "timetz")


class RowsRefusedError(Exception):
    """No series can be made of these rows. The message names no values, which change from time to time."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


def series_of(query: Query, answer: Answer) -> Series:
    """Make the series of all metrics of a query.

    Raises:
        RowsRefusedError: there are too many rows or bytes, a column is missing, a label is too long, a value
            is no number, or a series would stand twice.
    """
    if len(answer.rows) > query.row_limit:
        raise RowsRefusedError("rows", f"more than {query.row_limit} rows (row_limit)")
    if answer.size > MOST_BYTES:
        raise RowsRefusedError("size", f"more than {MOST_BYTES // 2**20} MiB")
    series: dict[str, dict[Labels, float]] = {}
    for metric in query.metrics:
        known = series.setdefault(metric.metric_name, {})
        for labels, value in _samples(metric, answer):
            if labels in known:
                raise RowsRefusedError("duplicate", f"a series of {_shown(metric)} stands twice")
            known[labels] = value
    return series


def refuse_taken(query: Query, series: Series, others: Sequence[Series]) -> None:
    """Refuse series that another query of the same database has already.

    Raises:
        RowsRefusedError: there is one.
    """
    for metric in query.metrics:
        for other in others:
            if other.get(metric.metric_name, {}).keys() & series[metric.metric_name].keys():
                told = f"a series of {_shown(metric)} is what another query gives already"
                raise RowsRefusedError("duplicate", told)


def family_of(metric: MetricSettings) -> Family:
    """Give the family that a metric is published as. A counter without _total is none in OpenMetrics."""
    kind: Literal["gauge", "counter", "unknown"] = metric.kind
    if kind == "counter" and not metric.metric_name.endswith("_total"):
        kind = "unknown"
    return Family(metric.metric_name, kind, metric.help.strip(), ("server", "datname", *metric.labels))


def _samples(metric: MetricSettings, answer: Answer) -> Iterator[tuple[Labels, float]]:
    keys = {name: _column(answer, name) for name in metric.key_labels}
    columns = {name: _column(answer, name) for name in metric.values}
    for row in answer.rows:
        labels = {**metric.static_labels, **{name: _label(answer, row, at) for name, at in keys.items()}}
        if metric.static_value is not None:
            yield _labels(labels), metric.static_value
        for name, at in columns.items():
            if row[at] is not None:
                apart = {metric.value_label: name} if metric.value_label else {}
                yield _labels(labels | apart), _value(metric, answer, row, at)


def _column(answer: Answer, name: str) -> int:
    match answer.columns.count(name):
        case 1:
            return answer.columns.index(name)
        case 0:
            there = ", ".join(answer.columns)
            raise RowsRefusedError("column", f"there is no column {name}; there are: {there}")
        case _:
            raise RowsRefusedError("column", f"the column {name} stands twice")


def _label(answer: Answer, row: Sequence[str | None], column: int) -> str:
    """Give a label's value; NULL is the empty one, which to Prometheus is as good as none."""
    text = row[column] or ""
    if len(text.encode()) > _LONGEST_LABEL:
        message = f"column {answer.columns[column]}: a label is longer than {_LONGEST_LABEL} bytes"
        raise RowsRefusedError("label", message)
    return _TRUTH.get(text, text) if answer.types[column] == "bool" else text


def _labels(labels: dict[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _value(metric: MetricSettings, answer: Answer, row: Sequence[str | None], column: int) -> float:
    text = row[column]
    assert text is not None  # noqa: S101 - that is no sample
    if answer.types[column] == "bool":
        return float(text == "t")
    if len(text) > _LONGEST_NUMBER:
        told = f"column {answer.columns[column]}: a value is longer than {_LONGEST_NUMBER} characters"
        raise RowsRefusedError("value", told)
    if not _NUMBER.fullmatch(text) and text not in _NOT_FINITE:
        raise RowsRefusedError(
            "value", f"column {answer.columns[column]}: {_no_number(answer.types[column])}"
        )
    value = float(text)
    if metric.kind == "counter" and not (isfinite(value) and value >= 0):
        raise RowsRefusedError("value", f"column {answer.columns[column]}: no value of a counter")
    return value


def _no_number(kind: str) -> str:
    hint = "; extract(epoch FROM …) makes one of it" if kind in _TIMES else ""
    return f"a value is no number, but {kind or 'of a type of its own'}{hint}"


def _shown(metric: MetricSettings) -> str:
    """Show a metric with the names of its labels; their values are rows, which no log needs."""
    return f"{metric.metric_name}{{{', '.join(metric.labels)}}}"
