"""One matcher: what fits it, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

import re2

Operator: TypeAlias = Literal["=", "!=", "=~", "!~"]

INVERSES: Mapping[Operator, Operator] = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
OPERATORS = f"allowed: {', '.join(get_args(Operator))}"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NAME_RULE = "letters, digits and _ are allowed, no digit first"

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd]")
"""Characters that are shown escaped: nobody could see them, and PromQL refuses a newline and U+FFFD."""


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One condition on one label. An absent label and an empty one are the same.

    Raises:
        ValueError: the label's name or the regular expression is bad.
    """

    label: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        if problem := problem_of_label(self.label) or problem_of_value(self.operator, self.value):
            raise ValueError(problem)

    def matches(self, value: str) -> bool:
        """Say whether a label's value fits, as Prometheus 3 reads regular expressions."""
        return self._matches(value, dot_is_newline=True)

    def surely(self, value: str) -> bool | None:
        """Say whether a value fits, or None where versions of Prometheus disagree."""
        answer = self._matches(value, dot_is_newline=True)
        if "\n" in value and answer != self._matches(value, dot_is_newline=False):
            return None
        return answer

    def _matches(self, value: str, *, dot_is_newline: bool) -> bool:
        negated = self.operator[0] == "!"
        if self.operator[-1] != "~":
            return (value == self.value) != negated
        found = _compiled(self.value, dot_is_newline).fullmatch(value.encode())
        return (found is not None) != negated

    @property
    def inverse(self) -> Matcher:
        """The matcher that fits exactly what this one does not."""
        return Matcher(self.label, INVERSES[self.operator], self.value)

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{_UNSEEN.sub(_escaped, value)}"'

    def for_alertmanager(self) -> str:
        """Write it for Alertmanager, which knows three escapes only."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{value}"'


@lru_cache(maxsize=4096)
def _compiled(expression: str, dot_is_newline: bool) -> Any:
    options = re2.Options()
    options.dot_nl = dot_is_newline
    options.never_capture = True
    options.log_errors = False
    return re2.compile(expression, options)


def _escaped(found: re.Match[str]) -> str:
    """Write a character as PromQL's strings do."""
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def problem_of_label(name: str) -> str:
    """Say why something is no label that may be matched, or nothing."""
    if name == "__name__":
        return "__name__ is not allowed: the metric is fixed"
    return "" if _LABEL.fullmatch(name) else f"{name!r} is no label name: {_NAME_RULE}"


def problem_of_value(operator: str, value: str) -> str:
    """Say why a value does not go with an operator, or nothing."""
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"{value!r} is no text"
    if operator[-1] != "~":
        return ""
    try:
        _compiled(value, dot_is_newline=True)
    except re2.error as error:
        return f"{value!r} is no regular expression of RE2: {error.args[0].decode()}"
    return ""
