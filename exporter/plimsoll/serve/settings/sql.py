"""The section `sql` of the configuration file: which collector files run on which servers and databases."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo, field_validator, model_validator

from plimsoll.config import ConfigError, PlacedError, Problem, Section
from plimsoll.config.fields import Pattern, WholeNumber
from plimsoll.config.section import ElsewhereError, kind
from plimsoll.serve.settings.collector_files import CollectorFile, MetricSettings, read_collector_file
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.settings.shared import Selection

SHIPPED = Path(__file__).parents[1] / "collector_files"
"""Where the collector files are that a bare word names."""

ROW_LIMIT = 1000
"""What is allowed where an entry does not say."""
MOST_ROWS = 10_000
"""What an entry may allow at most; shipped files, which are known to be cheap, are allowed it anyway."""

_BARE_WORD = re.compile(r"[A-Za-z0-9_-]+")


def _found(value: Any, info: ValidationInfo) -> tuple[CollectorFile, ...]:
    """Read the collector files that a pattern, or the name of a shipped one, stands for."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a pattern for paths, such as collectors/*.yml, is {kind(value or None)}")
    files: list[CollectorFile] = []
    problems: list[Problem] = []
    for path in _shipped(value) if _BARE_WORD.fullmatch(value) else _matching(value, info):
        try:
            files.append(read_collector_file(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ElsewhereError(problems)
    return tuple(files)


def _shipped(name: str) -> list[Path]:
    path = SHIPPED / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yml")))
        raise ValueError(
            f"no collector file of that name is shipped, only {known}; a file of yours is named by a path "
            f"with a dot or a slash, such as ./{name}"
        )
    return [path]


def _matching(pattern: str, info: ValidationInfo) -> list[Path]:
    directory = Path((info.context or {}).get("directory", "."))
    whole = pattern if Path(pattern).is_absolute() else f"{glob.escape(str(directory))}/{pattern}"
    found = sorted(Path(path) for path in glob.glob(whole, recursive=True))  # noqa: PTH207 - may be absolute
    if not found:
        start = "" if whole == pattern else f" (the path is relative to {directory.absolute()})"
        raise ValueError(f"finds no file{start}")
    return found


Files = Annotated[tuple[InstanceOf[CollectorFile], ...], BeforeValidator(_found)]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a collector file, and what is made of its rows. Times are in seconds."""

    collector: str
    name: str
    text: str
    interval: float
    row_limit: int
    metrics: tuple[MetricSettings, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other queries that run in the same database."""
        return self.collector, self.name

    def gives_what(self, other: Query) -> bool:
        """Say whether its rows become the same series as those of another query of its name."""
        shapes = [[metric.shape for metric in query.metrics] for query in (self, other)]
        return self.text == other.text and shapes[0] == shapes[1]


class SqlEntry(Section):
    """Collector files, and where they run: in the database that a DSN names, or in all of a selection."""

    files: tuple[Files, ...] = Field(exclude=True)
    servers: tuple[Pattern, ...] = Field(default=(".*",), validate_default=True)
    databases: Selection | None = None
    row_limit: WholeNumber | None = Field(default=None, ge=1, le=MOST_ROWS)

    @model_validator(mode="wrap")
    @classmethod
    def _short(cls, value: Any, handler: Any, info: ValidationInfo) -> SqlEntry:
        """Read a mere pattern as an entry with nothing else."""
        if isinstance(value, str):
            return cls.model_construct(files=(_found(value, info),), servers=(re.compile(".*"),))
        entry: SqlEntry = handler(value)
        return entry

    @field_validator("files", mode="wrap")
    @classmethod
    def _one_or_many(cls, value: Any, handler: Any, info: ValidationInfo) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (_found(value, info),)
        if not value:
            raise ValueError("must have at least one entry")
        files: tuple[Any, ...] = handler(value)
        return files

    @field_validator("databases", mode="before")
    @classmethod
    def _is_there(cls, databases: Any) -> Any:
        if databases is None:
            raise ValueError("must be a mapping, is empty")
        return databases

    @property
    def collectors(self) -> Iterator[CollectorFile]:
        """The collector files."""
        return (file for files in self.files for file in files)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the collector files."""
        return tuple(file.settings.collector_name for file in self.collectors)

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """What is run."""
        return tuple(query for file in self.collectors for query in _queries(file, self.row_limit))

    def runs_on(self, server: str) -> bool:
        """Say whether it is meant for a server."""
        return any(pattern.fullmatch(server) for pattern in self.servers)


def _queries(file: CollectorFile, row_limit: int | None) -> Iterator[Query]:
    settings = file.settings
    if row_limit is None:
        row_limit = MOST_ROWS if file.document.path.parent == SHIPPED else ROW_LIMIT
    for name, text in settings.texts.items():
        metrics = tuple(metric for metric in settings.metrics if metric.query_name == name)
        yield Query(settings.collector_name, name, text, settings.min_interval, row_limit, metrics)


def agreeing(entries: Sequence[SqlEntry]) -> Sequence[SqlEntry]:
    """Refuse an empty list, and collector files that contradict each other."""
    if not entries:
        raise ValueError("must have at least one entry")
    files = {file.document.path: file for entry in entries for file in entry.collectors}
    if problems := [*_named_alike(files.values()), *_defined_differently(files.values())]:
        raise ElsewhereError(problems)
    return entries


def _named_alike(files: Iterable[CollectorFile]) -> Iterator[Problem]:
    first: dict[str, CollectorFile] = {}
    for file in files:
        if (other := first.setdefault(file.settings.collector_name, file)) is not file:
            yield file.document.problem(("collector_name",), f"is the name of {other.document.path} already")


def _defined_differently(files: Iterable[CollectorFile]) -> Iterator[Problem]:
    """Tell of metrics that stand twice, and not with the same type, help and labels."""
    first: dict[str, tuple[MetricSettings, str]] = {}
    for file in files:
        for index, metric in enumerate(file.settings.metrics):
            place = ("metrics", index, "metric_name")
            where = f"{file.document.path}:{file.document.line(place)}"
            others = [first.setdefault(name, (metric, where)) for name in _taken_names(metric)]
            told = ((_difference(metric, other), there) for other, there in others)
            for difference, there in list(dict.fromkeys(each for each in told if each[0]))[:1]:
                yield file.document.problem(place, f"stands at {there} already, with another {difference}")


def _taken_names(metric: MetricSettings) -> Iterator[str]:
    """Give what nobody else may be called: a counter of OpenMetrics has a family, _total and _created."""
    name = metric.metric_name.removesuffix("_total")
    yield name
    if metric.kind == "counter" and name != metric.metric_name:
        yield f"{name}_created"


def _difference(metric: MetricSettings, other: MetricSettings) -> str | None:
    if metric.metric_name != other.metric_name:
        return "name that OpenMetrics does not tell from this one (_total, _created)"
    if metric.kind != other.kind:
        return "type"
    if metric.help.strip() != other.help.strip():
        return "help"
    if metric.labels != other.labels:
        return f"set of labels ({', '.join(other.labels) or 'none'})"
    return None


def suited(entries: Sequence[SqlEntry], servers: Sequence[ServerSettings]) -> None:
    """Refuse entries that no server fits, or that do not fit their servers."""
    problems: dict[Problem, None] = {}
    for index, entry in enumerate(entries):
        matched = [server for server in servers if entry.runs_on(server.name)]
        if not matched:
            known = ", ".join(server.name for server in servers) or "none"
            raise PlacedError(f"is for no server; there are: {known}", "sql", index, "servers")
        for file in entry.collectors:
            problems |= dict.fromkeys(_unsuited(file, matched))
    if problems:
        raise ElsewhereError(list(problems))


def _unsuited(file: CollectorFile, servers: Iterable[ServerSettings]) -> Iterator[Problem]:
    settings, problem = file.settings, file.document.problem
    for server in servers:
        if settings.min_interval > server.max_age:
            message = f"must not be longer than max_age of the server {server.name} ({server.max_age:g} s)"
            yield problem(("min_interval",), message)
        for index, metric in enumerate(settings.metrics):
            for label in sorted(server.labels.keys() & set(metric.labels)):
                message = f"the label {label} is declared for the server {server.name} already"
                yield problem(("metrics", index, _key_of(metric, label)), message)


def _key_of(metric: MetricSettings, label: str) -> str:
    if label == metric.value_label:
        return "value_label"
    return "key_labels" if label in metric.key_labels else "static_labels"
