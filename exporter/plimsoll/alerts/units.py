"""Units of thresholds: what users may write, and how a threshold is told."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from plimsoll.config.fields import parse_duration
from plimsoll.config.section import shown

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_QUANTITY = re.compile(rf"(?P<number>{_NUMBER.pattern})\s*(?P<unit>[A-Za-z%$]*)")
_BINARY = {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTPE", 1)}
_DECIMAL = {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTPE", 1)}
_BYTES = {"B": 1, **_BINARY, **_DECIMAL}
_TIMES = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Unit:
    """How the numbers of a signal are read and told."""

    name: str
    examples: str
    read: Callable[[str], float | None]
    """Gives the number that a text with a unit says, or None."""
    show: Callable[[float], str]
    """Tells a number, with its unit."""

    def parse(self, value: Any) -> float:
        """Read a threshold: a plain number, or a text with the unit.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(self._refusal(value))  # noqa: TRY004 - it is a mistake in a file
        text = str(value).strip()
        number = float(text) if _NUMBER.fullmatch(text) else self.read(text)
        if number is None or not math.isfinite(number):
            raise ValueError(self._refusal(value))
        return number

    def _refusal(self, value: Any) -> str:
        return f"must be {self.examples}, is {shown(value)}"


def number(value: float) -> str:
    """Write a number as PromQL reads it: whole ones without a point, none in scientific notation."""
    text = f"{Decimal(repr(value)):f}"
    return text.removesuffix(".0")


def duration(seconds: float) -> str:
    """Write seconds as Prometheus writes durations: 10m, 1h30m, 0s."""
    milliseconds = round(seconds * 1000)
    parts = []
    for name, size in _TIMES.items():
        count, milliseconds = divmod(milliseconds, size * 1000)
        parts.append(f"{count}{name}" if count else "")
    parts.append(f"{milliseconds}ms" if milliseconds else "")
    return "".join(parts) or "0s"


def _in(factors: dict[str, float]) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        match = _QUANTITY.fullmatch(text)
        if not match or match["unit"] not in factors:
            return None
        return float(match["number"]) * factors[match["unit"]]

    return read


def _seconds(text: str) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _hours(text: str) -> float | None:
    seconds = _seconds(text)
    return _in({"hours": 1, "hour": 1})(text) if seconds is None else seconds / 3600


def _dollars(text: str) -> float | None:
    return _in({"$": 1, "USD": 1})(text.removeprefix("$") + ("$" if text.startswith("$") else ""))


def _show_bytes(value: float) -> str:
    """Take the largest unit in which it is whole."""
    for name, size in (*reversed(_BINARY.items()), *reversed(_DECIMAL.items())):
        if value and value % size == 0:
            return f"{number(value / size)}{name}"
    return f"{number(value)}B"


def _show_seconds(value: float) -> str:
    return duration(value) if value >= 0 else f"-{duration(-value)}"


UNITS = {
    unit.name: unit
    for unit in (
        Unit("percent", "a percentage such as 30 or 30 %", _in({"%": 1}), lambda value: f"{number(value)} %"),
        Unit("bytes", "bytes such as 60GiB, 500MB or 1073741824", _in(_BYTES), _show_bytes),
        Unit("seconds", "a time such as 90s, 2h or a number of seconds", _seconds, _show_seconds),
        Unit(
            "hours",
            "a time such as 36h, 2d or a number of hours",
            _hours,
            lambda value: f"{number(round(value, 2))} hours",
        ),
        Unit("dollars", "dollars such as 5 or $5", _dollars, lambda value: f"${number(value)}"),
        Unit("count", "a number", lambda _: None, number),
    )
}
"""By name."""
