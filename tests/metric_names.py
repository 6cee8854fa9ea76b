"""Finds the names of metrics in PromQL."""

from __future__ import annotations

import re

_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|#[^\n]*')
_NO_NAMES = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]"  # matchers, of which strings have been taken out, and ranges
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
    r"|\b(?:offset|group_left|group_right|bool)\b\s*(?:-?\d\w*)?"
)
_WORD = re.compile(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()")
_AGGREGATIONS = frozenset({"sum", "min", "max", "avg", "group", "count", "topk", "bottomk", "quantile"})
"""Which may have what they aggregate by before their parentheses."""
_OPERATORS = frozenset({"and", "or", "unless", "atan2", "inf", "nan"})


def metric_names(expression: str) -> set[str]:
    """Give the names that an expression, whose variables are filled in, selects series by."""
    bare = _NO_NAMES.sub(" ", _STRING.sub(" ", expression))
    return {word for word in _WORD.findall(bare) if word.lower() not in _OPERATORS} - _AGGREGATIONS
