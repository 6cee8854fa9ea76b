"""Kinds of value that several sections share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from plimsoll.config.section import kind, shown

_UNITS = {
    "y": 31536000.0,
    "w": 604800.0,
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS))
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST_TIMEOUT = 86400.0


def parse_duration(value: Any) -> float:
    """Read a duration as Prometheus writes it (`90s`, `1h30m`, `0`) and give seconds.

    Raises:
        ValueError: it is not one.
    """
    text = str(value).strip()
    if text == "0":
        return 0.0
    parts = _DURATION.fullmatch(text)
    if not text or not parts:
        raise ValueError(f"must be a duration such as 30s, 5m or 1h30m, is {shown(value)}")
    numbers = (float(number or 0) for number in parts.groups())
    return sum(number * unit for number, unit in zip(numbers, _UNITS.values(), strict=True))


def parse_timeout(value: Any) -> float:
    """Read a duration that is an end to something, and give seconds.

    Raises:
        ValueError: it is no duration, or none that ends within a day.
    """
    seconds = parse_duration(value)
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise ValueError("must be more than 0 and at most 1d")
    return seconds


def _whole_number(value: Any) -> Any:
    if isinstance(value, bool) or not _WHOLE_NUMBER.fullmatch(str(value)):
        raise ValueError(f"must be a whole number, is {shown(value)}")
    return value


def _compile(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str):
        raise ValueError(f"must be a regular expression, is {kind(value)}")  # noqa: TRY004 - pydantic's rule
    try:
        return re.compile(value, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression, is {value!r}: {error}") from None


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


def secret_in(value: Any, info: ValidationInfo) -> str:
    """Replace a path, which is relative to the configuration file, by what the file holds.

    The path is not shown: whoever takes `dsn_file` for `dsn` writes a password there.

    Raises:
        ValueError: it is no path, or the file cannot be read or is empty.
    """
    try:
        text = _located(value, info).read_text("utf-8").strip()
    except OSError as error:
        raise _unreadable(value, info, error) from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    if not text:
        raise ValueError("the file is empty")
    return text


def _file(value: Any, info: ValidationInfo) -> Path:
    """Make a path, which is relative to the configuration file, that of a file which can be read."""
    path = _located(value, info)
    try:
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(value, info, error) from None
    return path


def _located(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not value:
        raise ValueError(f"must be the path of a file, is {kind(None if value == '' else value)}")
    return _directory(info) / value


def _directory(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("directory", "."))


def _unreadable(value: str | Path, info: ValidationInfo, error: OSError) -> ValueError:
    start = "" if Path(value).is_absolute() else f" (the path is relative to {_directory(info).absolute()})"
    return ValueError(f"the file cannot be read: {error.strerror}{start}")


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written with a unit."""

Timeout = Annotated[float, BeforeValidator(parse_timeout)]
"""Seconds after which something is given up: without an end, what hangs would never be left."""

WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
"""An integer; `true` and 2.5 are none."""

Pattern = Annotated[re.Pattern[str], BeforeValidator(_compile)]
"""A regular expression, to be matched against the whole of a name."""

LabelName = Annotated[str, AfterValidator(_label_name)]
"""A label's name in Prometheus' classic alphabet."""

Name = Annotated[str, AfterValidator(_filled)]
"""Text that is not blank."""

SecretFile = Annotated[SecretStr, BeforeValidator(secret_in)]
"""The secret in a file, written as the file's path."""

FilePath = Annotated[Path, BeforeValidator(_file)]
"""The path of a file that can be read, relative to the configuration file."""
