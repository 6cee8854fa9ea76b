"""Kinds of value that several sections share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def parse_duration(value: Any) -> float:
    """Read a duration as Prometheus writes it (`90s`, `1h30m`, `0`) and give seconds.

    Raises:
        ValueError: it is not one.
    """
    text = str(value).strip()
    if text == "0":
        return 0.0
    if isinstance(value, bool) or not _DURATION.fullmatch(text):
        raise ValueError(f"must be a duration such as 30s, 5m or 1h30m, is {value!r}")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _compile(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except (re.error, TypeError) as error:
        raise ValueError(f"must be a regular expression: {error}; is {value!r}") from None


def _label_name(value: str) -> str:
    if not _LABEL.fullmatch(value) or value.startswith("__"):
        raise ValueError(
            "is no label name: letters, digits and _ are allowed, no digit first, no __ in front"
        )
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _contents(value: Any, info: ValidationInfo) -> str:
    """Replace a path, which is relative to the configuration file, by what the file holds."""
    path = Path((info.context or {}).get("directory", ".")) / str(value)
    try:
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"the file {path} is empty")
    return text


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written with a unit."""

Pattern = Annotated[re.Pattern[str], BeforeValidator(_compile)]
"""A regular expression, to be matched against the whole of a name."""

LabelName = Annotated[str, AfterValidator(_label_name)]
"""A label's name in Prometheus' classic alphabet."""

Name = Annotated[str, AfterValidator(_filled)]
"""Text that is not blank."""

SecretFile = Annotated[SecretStr, BeforeValidator(_contents)]
"""The secret in a file, written as the file's path."""
