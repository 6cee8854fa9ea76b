"""Asks Prometheus and PostgreSQL what a dashboard's queries ask, at the moment when a world stopped."""

from __future__ import annotations

import json
import math
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode

import psycopg
from psycopg.rows import dict_row

from interpolation import Period

Labels = dict[str, str]


class QueryFailedError(AssertionError):
    """A query was refused, or its answer warns."""


class Sample(NamedTuple):
    """A value at one moment."""

    labels: Labels
    value: float


class Series(NamedTuple):
    """Values over time."""

    labels: Labels
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass
class Answer:
    """What a query gives: samples, series or rows."""

    samples: list[Sample] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    """Of rows, and of a table made of samples or series."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be shown."""
        values = [sample.value for sample in self.samples]
        values += [value for series in self.series for _, value in series.points]
        return not self.rows and all(map(math.isnan, values))

    def value(self, **labels: str) -> float:
        """Give the value of the only sample, or the last of the only series, with at least these labels."""
        values = self.samples + [Sample(series.labels, series.last) for series in self.series]
        found = [each.value for each in values if labels.items() <= each.labels.items()]
        assert len(found) == 1, f"{len(found)} of {[each.labels for each in values]}"
        return found[0]

    def by(self, *names: str) -> dict[tuple[str, ...], float]:
        """Give the values, of series the last ones, by some of their labels."""
        values = self.samples + [Sample(series.labels, series.last) for series in self.series]
        found = {tuple(each.labels.get(name, "") for name in names): each.value for each in values}
        assert len(found) == len(values), f"{names} do not tell apart {[each.labels for each in values]}"
        return found


class Prometheus(NamedTuple):
    """A Prometheus, asked as of one moment."""

    url: str
    at: float

    def instant(self, expression: str, at: float | None = None) -> Answer:
        """Ask for the values at a moment; a scalar counts as a sample without labels."""
        data = self._ask("query", query=expression, time=f"{at or self.at:.3f}")
        if data["resultType"] == "scalar":
            return _of_samples([Sample({}, float(data["result"][1]))])
        assert data["resultType"] == "vector", f"{expression} gives a {data['resultType']}"
        return _of_samples([Sample(each["metric"], float(each["value"][1])) for each in data["result"]])

    def stored(self, span: str) -> list[Series]:
        """Give all that was stored within a time such as 90s; the label __name__ has the name."""
        data = self._ask("query", query=f'{{__name__=~".+"}}[{span}]', time=f"{self.at:.3f}")
        return _series(data)

    def range(self, expression: str, period: Period) -> Answer:
        """Ask for the values over a time. Its last step is its end, where Grafana would round that down."""
        steps = math.floor((period.end - period.start) / period.step)
        start = period.end - steps * period.step
        data = self._ask(
            "query_range",
            query=expression,
            start=f"{start:.3f}",
            end=f"{period.end:.3f}",
            step=f"{period.step:.3f}",
        )
        found = _series(data)
        return Answer(series=found, columns=_columns([each.labels for each in found]))

    def options(self, query: str, period: Period) -> list[str]:
        """Give what a variable's query offers: label_values, query_result or label_names."""
        during = {"start": f"{period.start:.3f}", "end": f"{period.end:.3f}"}
        if found := re.fullmatch(r"label_values\(\s*(?:(.+),)?\s*(\w+)\s*\)", query.strip(), re.DOTALL):
            only = {"match[]": found[1].strip()} if found[1] else {}
            return [str(value) for value in self._ask(f"label/{found[2]}/values", **during, **only)]
        if found := re.fullmatch(r"query_result\((.+)\)", query.strip(), re.DOTALL):
            samples = self.instant(found[1], period.end).samples
            return [f"{_written(each.labels)} {each.value:g} {period.end * 1000:.0f}" for each in samples]
        raise QueryFailedError(f"a variable asks for {query!r}")

    def names(self) -> set[str]:
        """Give the names of all metrics that there ever were."""
        return {str(name) for name in self._ask("label/__name__/values")}

    def _ask(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                answer = json.load(response)
        except HTTPError as error:
            with error:
                refusal = json.load(error)
            raise QueryFailedError(f"{refusal['error']}, in: {parameters}") from None
        said = [*(answer.get("warnings") or ()), *(answer.get("infos") or ())]
        if answer["status"] != "success" or said:
            raise QueryFailedError(f"{said or answer}, in: {parameters}")
        return answer["data"]


class History(NamedTuple):
    """The database of the history, as somebody sees it who may read it and no more."""

    dsn: str

    def ask(self, statement: str) -> Answer:
        """Run a statement; a name that Grafana gives twice, or not at all, is an error, too."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as session:
            session.read_only = True
            try:
                cursor = session.execute(statement.encode())
            except psycopg.Error as error:
                raise QueryFailedError(f"{str(error).strip()}, in: {statement}") from None
            columns = [column.name for column in cursor.description or ()]
            rows = cursor.fetchall()
        if len(set(columns)) < len(columns) or "?column?" in columns:
            raise QueryFailedError(f"columns are called {columns}, in: {statement}")
        return Answer(rows=rows, columns=columns)

    def options(self, statement: str) -> list[str]:
        """Give what a variable's statement offers: `__value` or the only column."""
        answer = self.ask(statement)
        column = "__value" if "__value" in answer.columns else answer.columns[0]
        return [str(row[column]) for row in answer.rows if row[column] is not None]


def _series(data: Any) -> list[Series]:
    return [
        Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]])
        for each in data["result"]
    ]


def _of_samples(samples: list[Sample]) -> Answer:
    return Answer(samples=samples, columns=_columns([each.labels for each in samples]))


def _columns(labels: list[Labels]) -> list[str]:
    return ["Time", *sorted({name for each in labels for name in each}), "Value"]


def _written(labels: Mapping[str, str]) -> str:
    """Write labels as query_result gives them."""
    own = ",".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    return f"{labels.get('__name__', '')}{{{own}}}"
