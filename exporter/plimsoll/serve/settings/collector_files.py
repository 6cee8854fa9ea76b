"""Collector files: queries, and the metrics that are made of their rows, as sql_exporter has them.

The format is that of https://github.com/burningalchemist/sql_exporter, so a file serves either program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, ValidationInfo, field_validator

from plimsoll.alerts.labels import ACCIDENTAL_LABELS, ALERT_LABELS
from plimsoll.config import Document, PlacedError, Section
from plimsoll.config.document import Review
from plimsoll.config.fields import Duration, LabelName, Name
from plimsoll.config.problem import Place
from plimsoll.config.section import shown

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = re.compile(
    r"plimsoll_.*|process_.*|container_.*|machine_.*|pg_up|pg_databases_left_out|pg_database_size_bytes"
    r"|pg_stat_user_tables_.*|pg_partition_root_.*|pg_other_tables(_.*)?|pg_unattributed_size_bytes"
    r"|pg_tables_(un)?measured|pg_(database_)?sizes_oldest_timestamp_seconds"
)
_OF_PROMETHEUS = re.compile(r"up|scrape_.*|ALERTS|ALERTS_FOR_STATE")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_EVERY_SERIES_HAS = ("server", "datname")


def _metric_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("is no metric name: letters, digits and _ are allowed, no digit first")
    if _OURS.fullmatch(name):
        raise ValueError("is a name that the exporter publishes, or may one day; choose another one")
    if _OF_PROMETHEUS.fullmatch(name):
        raise ValueError("is a name that Prometheus sets; choose another one")
    return name


def _column_label(name: str) -> str:
    if name in _EVERY_SERIES_HAS:
        raise ValueError(f"the label {name} is set by the exporter; give the column another name (AS …)")
    if name in ACCIDENTAL_LABELS or name in ALERT_LABELS:
        raise ValueError(f"the label {name} is set by an alert or by service discovery; choose another name")
    return name


def _kind(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, is {shown(value)}")  # noqa: TRY004 - pydantic's rule
    return float(value)


def _text(value: Any) -> Any:
    """Take a number for its text, as sql_exporter does."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _no_timestamps(_: Any) -> None:
    raise ValueError(
        "is not supported: Prometheus takes samples for those of its scrape; publish the time as a metric"
    )


MetricName = Annotated[str, AfterValidator(_metric_name)]
ColumnLabel = Annotated[LabelName, AfterValidator(_column_label)]
"""The name of a label that a metric of a collector file has."""


class MetricSettings(Section):
    """A metric, and which columns of a query's rows make its labels and values."""

    metric_name: MetricName
    kind: Annotated[Literal["gauge", "counter"], BeforeValidator(_kind)] = Field(alias="type")
    help: Name
    key_labels: tuple[ColumnLabel, ...] = ()
    static_labels: dict[ColumnLabel, Annotated[str, BeforeValidator(_text)]] = Field(default_factory=dict)
    values: tuple[Name, ...] = ()
    value_label: ColumnLabel | None = Field(default=None, validate_default=True)
    static_value: Annotated[float, BeforeValidator(_number)] | None = Field(
        default=None, validate_default=True
    )
    query: Name | None = None
    query_ref: Name | None = Field(default=None, validate_default=True)
    no_prepared_statement: StrictBool = False
    timestamp_value: Annotated[None, BeforeValidator(_no_timestamps)] = Field(
        default=None, deprecated="samples carry no timestamps"
    )

    @field_validator("key_labels", "values")
    @classmethod
    def _once_each(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if name in names[:index]:
                raise PlacedError(f"{name} stands twice", index)
        return names

    @field_validator("static_labels")
    @classmethod
    def _no_column(cls, labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for name in labels:
            if name in info.data.get("key_labels", ()):
                raise PlacedError("is one of key_labels already", name)
        return labels

    @field_validator("value_label")
    @classmethod
    def _tells_values_apart(cls, label: str | None, info: ValidationInfo) -> str | None:
        columns = info.data.get("values", ())
        if label is None and len(columns) > 1:
            raise ValueError("is required where there are several values, to tell them apart")
        if label is not None and not columns:
            raise ValueError("names the columns of values, and there are none")
        if label in (*info.data.get("key_labels", ()), *info.data.get("static_labels", ())):
            raise ValueError("is one of key_labels or static_labels already")
        return label

    @field_validator("static_value")
    @classmethod
    def _one_kind_of_value(cls, value: float | None, info: ValidationInfo) -> float | None:
        if "values" not in info.data:  # they are there, and bad
            return value
        if value is None and not info.data["values"]:
            raise ValueError("is required where there are no values")
        if value is not None and info.data["values"]:
            raise ValueError("must not stand beside values")
        return value

    @field_validator("query_ref")
    @classmethod
    def _one_query(cls, reference: str | None, info: ValidationInfo) -> str | None:
        if "query" not in info.data:
            return reference
        if reference is None and info.data["query"] is None:
            raise ValueError("is required where there is no query")
        if reference is not None and info.data["query"] is not None:
            raise ValueError("must not stand beside query: only one of them can be meant")
        return reference

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels, in alphabetical order, but for those that every series has."""
        return tuple(sorted((*self.key_labels, *self.static_labels, *filter(None, (self.value_label,)))))

    @property
    def shape(self) -> tuple[Any, ...]:
        """What makes its series of a query's rows."""
        return (
            *(self.metric_name, self.kind, self.key_labels, self.static_labels),
            *(self.values, self.value_label, self.static_value),
        )

    @property
    def query_name(self) -> str:
        """The name of its query: its own name, if the query is its own."""
        return self.query_ref or self.metric_name


class QuerySettings(Section):
    """A query with a name. Nothing is ever prepared, so `no_prepared_statement` changes nothing."""

    query_name: Name
    query: Name
    no_prepared_statement: StrictBool = False


class CollectorSettings(Section):
    """What a collector file holds. Times are in seconds."""

    collector_name: Name
    min_interval: Duration = 0.0
    queries: tuple[QuerySettings, ...] = ()
    metrics: tuple[MetricSettings, ...]

    @field_validator("metrics")
    @classmethod
    def _has_metrics(cls, metrics: tuple[MetricSettings, ...]) -> tuple[MetricSettings, ...]:
        if not metrics:
            raise ValueError("must have at least one entry")
        return metrics

    @property
    def texts(self) -> dict[str, str]:
        """The queries that metrics are made of, by name."""
        named = {query.query_name: query.query for query in self.queries}
        return {each.query_name: each.query or named[each.query_name] for each in self.metrics}


@dataclass(frozen=True)
class CollectorFile:
    """A collector file that was read, and can say where in it something stands."""

    settings: CollectorSettings
    document: Document = field(compare=False, repr=False)


def read_collector_file(path: Path) -> CollectorFile:
    """Read a file.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    document = Document.read(path, tuple(CollectorSettings.model_fields))
    review = Review(document)
    data = {key: document.unresolved(key) for key in CollectorSettings.model_fields if key in document}
    for place in _unspeakable(data, ()):
        review.blame(place, "holds a NUL or half of a surrogate pair, which no text may")
    if settings := review.validate(CollectorSettings, data, ()):
        for place, message in _mistakes(settings):
            review.blame(place, message)
    review.conclude()
    assert settings  # noqa: S101 - or there was something wrong
    return CollectorFile(settings, document)


def _unspeakable(value: Any, place: Place) -> Iterator[Place]:
    items: Iterable[tuple[Any, Any]] = ()
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case str() if _NO_TEXT.search(value):
            yield place
    for key, inner in items:
        yield from _unspeakable(inner, (*place, key))


def _mistakes(settings: CollectorSettings) -> Iterator[tuple[Place, str]]:
    """Tell what does not fit together."""
    names = Counter(query.query_name for query in settings.queries)
    own: set[str] = set()
    for index, query in enumerate(settings.queries):
        if query.query_name in {earlier.query_name for earlier in settings.queries[:index]}:
            yield ("queries", index, "query_name"), f"{query.query_name} stands twice"
    for index, metric in enumerate(settings.metrics):
        if metric.query_ref and metric.query_ref not in names:
            known = ", ".join(names) or "none"
            yield ("metrics", index, "query_ref"), f"is no query_name: {metric.query_ref}; there are: {known}"
        if metric.query and (metric.metric_name in names or metric.metric_name in own):
            message = (
                f"another query is called {metric.metric_name} already; give it a name of its own in queries"
            )
            yield ("metrics", index, "query"), message
        if metric.query:
            own.add(metric.metric_name)
