"""Fills in the variables and macros of a query as Grafana does before it sends it.

For Prometheus see Grafana's `interpolateQueryExpr` and `prometheusSpecialRegexEscape`, for PostgreSQL its
`macros.go`, for formats its `formatRegistry`. What Grafana would leave in a query, because it does not know
it, is refused here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from dashboards import Kind

_VARIABLE = re.compile(
    r"\$(?P<plain>\w+)|\[\[(?P<old>\w+?)(?::\w+)?\]\]|\$\{(?P<braced>\w+)(?:\.[^:^}]+)?(?::(?P<format>[^}]+))?\}"
)
_MACRO = re.compile(r"\$(\w+)\(([^)]*)\)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwMy])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}

# Of Grafana's roundInterval: what is less than the first is rounded to the second, in milliseconds.
_ROUND = (
    *((10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1500, 1000), (3500, 2000)),
    *((7500, 5000), (12500, 10000), (17500, 15000), (25000, 20000), (45000, 30000), (90000, 60000)),
    *((210000, 120000), (450000, 300000), (750000, 600000), (1050000, 900000), (1500000, 1200000)),
    *((2700000, 1800000), (5400000, 3600000), (9000000, 7200000), (16200000, 10800000)),
    *((32400000, 21600000), (86400000, 43200000), (604800000, 86400000), (1814400000, 604800000)),
)
_LONGEST = 2592000000


class LeftInQueryError(AssertionError):
    """Something that Grafana does not know would stay in a query."""


@dataclass(frozen=True)
class Choice:
    """What is chosen of a variable."""

    values: tuple[str, ...]
    multi: bool = False
    """Whether several values, or All, can be chosen: then values are written differently."""
    raw: str | None = None
    """What stands for All, as it is, if All is chosen and the variable has a text for that."""


@dataclass(frozen=True)
class Period:
    """The time that a panel shows; seconds since the epoch, and seconds."""

    start: float
    end: float
    step: float = 15
    scrape: float = 15
    """How often Prometheus scrapes, as the datasource says."""

    @classmethod
    def of_panel(cls, start: float, end: float, *, points: int = 1000, least: float = 15) -> Period:
        """Give the step that Grafana takes for a number of points, and not less than `least` seconds."""
        return cls(start, end, max(round_interval((end - start) / points), least), max(least, 15))

    @property
    def builtin(self) -> dict[str, str]:
        """Give the variables that are always there."""
        rate, span = max(self.step + self.scrape, 4 * self.scrape), round(self.end - self.start)
        return {
            "__interval": f"{self.step:g}s",
            "__interval_ms": f"{self.step * 1000:.0f}",
            "__rate_interval": f"{rate:g}s",
            "__rate_interval_ms": f"{rate * 1000:.0f}",
            "__range": f"{span}s",
            "__range_s": f"{span}",
            "__range_ms": f"{span * 1000}",
            "__from": f"{self.start * 1000:.0f}",
            "__to": f"{self.end * 1000:.0f}",
        }


def round_interval(seconds: float) -> float:
    """Round to what Grafana takes for a step."""
    milliseconds = seconds * 1000
    return next((to for below, to in _ROUND if milliseconds < below), _LONGEST) / 1000


def seconds_of(duration: str) -> float:
    """Read a duration such as 5m, also as `>5m`."""
    found = _DURATION.fullmatch(duration.strip().lstrip(">").strip("'"))
    assert found, f"{duration!r} is no duration"
    return float(found[1]) * _SECONDS[found[2]]


def moment(text: str, now: float) -> float:
    """Read a moment such as `now-24h`, in seconds since the epoch."""
    found = re.fullmatch(r"now(?:-(\w+))?", text)
    assert found, f"{text!r} is not relative to now"
    return now - (seconds_of(found[1]) if found[1] else 0)


def fill(text: str, kind: Kind, choices: Mapping[str, Choice], period: Period) -> str:
    """Fill in everything.

    Raises:
        LeftInQueryError: a variable or macro is not known.
    """
    macros = set(_MACRO_OF) if kind == "sql" else set()

    def replaced(found: re.Match[str]) -> str:
        name = found["plain"] or found["old"] or found["braced"]
        if name in macros and found["plain"]:
            return found[0]
        if name in ("__from", "__to"):
            return _bound(period.start if name == "__from" else period.end, found["format"])
        if name in period.builtin:
            return period.builtin[name]
        if found["plain"] and name.isdigit():
            return found[0]  # a group of label_replace: Grafana leaves what is no variable
        if name not in choices:
            raise LeftInQueryError(f"{found[0]} is not known, in: {text}")
        return written(choices[name], kind, found["format"])

    filled = _VARIABLE.sub(replaced, text)
    return _expanded(filled, period) if kind == "sql" else filled


def written(choice: Choice, kind: Kind, format_: str | None) -> str:
    """Write what is chosen of a variable into a query, or a URL."""
    if choice.raw is not None and format_ not in ("text", "percentencode"):
        return choice.raw  # as it stands, whatever the format
    if format_:
        if format_ not in _FORMATS:
            raise LeftInQueryError(f"there is no format {format_!r}")
        return _FORMATS[format_](choice.values)
    if kind == "prometheus":
        return _in_prometheus(choice)
    if kind == "sql":
        return _in_sql(choice)
    return _FORMATS["glob"](choice.values)


def _in_prometheus(choice: Choice) -> str:
    if not choice.multi:
        return choice.values[0].replace("\\", r"\\").replace("'", r"\\'")
    escaped = [_escaped_twice(value) for value in choice.values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _escaped_twice(value: str) -> str:
    """Escape for a regular expression, and that again for a string in double quotes."""
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", r"\\\\"))


def _in_sql(choice: Choice) -> str:
    """Quote as most versions do; what differs between them, one value without a format, is refused."""
    if len(choice.values) == 1:
        raise LeftInQueryError(
            "versions differ in how they write one value: use :sqlstring or another format"
        )
    return _FORMATS["sqlstring"](choice.values)


def _regex(values: tuple[str, ...]) -> str:
    escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _glob(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else "{" + ",".join(values) + "}"


def _quoted(mark: str, escaped: str) -> Callable[[tuple[str, ...]], str]:
    return lambda values: ",".join(mark + value.replace(mark, escaped) + mark for value in values)


_FORMATS: dict[str, Callable[[tuple[str, ...]], str]] = {
    "raw": ",".join,
    "csv": ",".join,
    "pipe": "|".join,
    "text": " + ".join,
    "glob": _glob,
    "regex": _regex,
    "json": lambda values: json.dumps(values[0] if len(values) == 1 else values),
    "sqlstring": _quoted("'", "''"),
    "singlequote": _quoted("'", r"\'"),
    "doublequote": _quoted('"', r"\""),
    "percentencode": lambda values: quote(_glob(values), safe=""),
}


def _bound(at: float, format_: str | None) -> str:
    if format_ in (None, "raw"):
        return f"{at * 1000:.0f}"
    if format_ in ("date", "date:iso"):
        return _iso(at)
    if format_ == "date:seconds":
        return f"{at:.0f}"
    raise LeftInQueryError(f"there is no format {format_!r} of a time here")


# --- macros of PostgreSQL ---------------------------------------------------------------------------------


def _expanded(sql: str, period: Period) -> str:
    def replaced(found: re.Match[str]) -> str:
        name, arguments = found[1], [each.strip(" ") for each in found[2].split(",")]
        if name == "__timeGroup" and f"{found[0]}," in sql:
            name = "__timeGroupAlias"  # as it was written before Grafana 5.3
        if name not in _MACRO_OF:
            raise LeftInQueryError(f"the macro {found[0]} is not known, in: {sql}")
        return _MACRO_OF[name](period, *arguments)

    expanded = _MACRO.sub(replaced, sql)
    if left := re.search(r"\$__\w+", expanded):
        raise LeftInQueryError(f"{left[0]} would be left in: {expanded}")
    return expanded


def _iso(at: float) -> str:
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _grouped(column: str, interval: str) -> str:
    seconds = f"{seconds_of(interval):g}"
    return f"floor(extract(epoch from {column})/{seconds})*{seconds}"


def _epoch_grouped(column: str, interval: str) -> str:
    seconds = f"{seconds_of(interval):g}"
    return f"floor(({column})/{seconds})*{seconds}"


_MACRO_OF: dict[str, Callable[..., str]] = {
    "__time": lambda _, column: f'{column} AS "time"',
    "__timeEpoch": lambda _, column: f'extract(epoch from {column}) as "time"',
    "__timeFilter": lambda p, column: f"{column} BETWEEN '{_iso(p.start)}' AND '{_iso(p.end)}'",
    "__timeFrom": lambda p, *_: f"'{_iso(p.start)}'",
    "__timeTo": lambda p, *_: f"'{_iso(p.end)}'",
    "__timeGroup": lambda _, column, interval, *fill: _grouped(column, interval),
    "__timeGroupAlias": lambda _, column, interval, *fill: f'{_grouped(column, interval)} AS "time"',
    "__unixEpochFilter": lambda p, column: f"{column} >= {p.start:.0f} AND {column} <= {p.end:.0f}",
    "__unixEpochFrom": lambda p, *_: f"{p.start:.0f}",
    "__unixEpochTo": lambda p, *_: f"{p.end:.0f}",
    "__unixEpochGroup": lambda _, column, interval, *fill: _epoch_grouped(column, interval),
    "__unixEpochGroupAlias": lambda _, column, interval, *fill: (
        f'{_epoch_grouped(column, interval)} AS "time"'
    ),
}
