"""Writes YAML for people: long texts folded, lists of words on one line, blank lines between rules."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

_WIDTH = 110
_LONG = 90
_RULE = re.compile(r"(?<!rules:)\n(?= {6}- (?:alert|record): )")
_GROUP = re.compile(r"(?<!groups:)\n(?=  - name: )")
_FOLDABLE = re.compile(r"(?:\S(?:.*\S)?\n)*\S(?:.*\S)?")


class Lines(str):
    """Text whose line ends are only there for those who read the file: they mean blanks."""

    @property
    def joined(self) -> str:
        """The text as it is meant."""
        return " ".join(self.split("\n"))


class _Folded(str):
    """Text whose lines are joined by blanks when it is read."""


class _Dumper(yaml.SafeDumper):
    _is_folding = False

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists below their key, as everybody does."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write everything out."""
        return True

    def write_folded(self, text: str) -> None:
        """Fold where the lines end, and nowhere else."""
        self._is_folding = True
        self.write_literal(text)

    def write_indicator(self, indicator: str, *arguments: Any, **options: Any) -> None:
        """Write > instead of | for what is folded."""
        if self._is_folding:
            indicator, self._is_folding = indicator.replace("|", ">"), False
        super().write_indicator(indicator, *arguments, **options)


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(data), style=_style(data))


def _style(text: str) -> str | None:
    if isinstance(text, _Folded):
        return ">"
    if not text.replace("\n", "").isprintable():
        return '"'  # PyYAML makes a blank of U+0085 elsewhere
    if "\n" in text:
        return "|" if text == text.strip() else '"'
    return None


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    """Write a list of words on one line."""
    has_parts = any(isinstance(entry, dict | list) for entry in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=not has_parts)


for kind in (str, _Folded):
    _Dumper.add_representer(kind, _represent_text)
_Dumper.add_representer(list, _represent_list)


def dump(value: Any) -> str:
    """Write a value as YAML."""
    return yaml.dump(_styled(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def dump_groups(groups: Sequence[dict[str, Any]]) -> str:
    """Write groups of rules, with blank lines between groups and between rules."""
    return _GROUP.sub("\n\n", _RULE.sub("\n\n", dump({"groups": list(groups)})))


def commented(text: str) -> str:
    """Write a text as comment lines."""
    return textwrap.indent(textwrap.fill(text, _WIDTH - 2), "# ") + "\n"


def _styled(value: Any) -> Any:
    match value:
        case dict():
            return {key: _styled(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_in_line(inner) if isinstance(inner, str) else _styled(inner) for inner in value]
        case Lines():
            return _folded(value.split("\n"), value.joined)
        case str() if len(value) > _LONG and "\n" not in value and not value.startswith("http"):
            lines = textwrap.wrap(value, _LONG, break_long_words=False, break_on_hyphens=False)
            return _folded(lines, value)
        case _:
            return value


def _in_line(text: str) -> str:
    """Give a text as it stands in a list, where nothing can be folded."""
    return text.joined if isinstance(text, Lines) else text


def _folded(lines: Iterable[str], text: str) -> str:
    """Give a text in lines, if reading them gives the text again."""
    folded = "\n".join(lines)
    is_same = _FOLDABLE.fullmatch(folded) and folded.replace("\n", " ") == text
    return _Folded(folded) if is_same and text.isprintable() and "\n" in folded else text
