"""Turns a YAML file into plain values, and remembers on which line everything stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plimsoll.config.problem import ConfigError, Place, Problem

_DEEPEST = 32
_TOO_DEEP = f"it is nested deeper than {_DEEPEST} levels, or an alias contains itself"
_NO_YAML = "cannot be read as YAML"
_YAML = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_YAML}int": re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"),
    f"{_YAML}float": re.compile(
        r"(?:[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", re.IGNORECASE
    ),
}
_SCALARS = {f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds: values, their lines, and what YAML allows but we do not (line, place, why)."""

    data: Any
    lines: dict[Place, int]
    complaints: list[tuple[int, Place, str]]


def read_yaml(path: Path) -> Source:
    """Read `path`; an empty file gives None.

    Raises:
        ConfigError: it cannot be read, or not as YAML.
    """
    text = _text(path)
    reader = _Reader()
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = reader.read(root, ()) if root else None
    except yaml.YAMLError as error:
        raise refused(path, *_yaml_problem(error, text)) from None
    except RecursionError:
        raise refused(path, 0, f"{_NO_YAML}: {_TOO_DEEP}") from None
    return Source(data, reader.lines, reader.complaints)


def refused(path: Path, line: int, message: str) -> ConfigError:
    """Give the error that the file as a whole is."""
    return ConfigError([Problem(str(path), line, (), message)])


class _Loader(yaml.SafeLoader):
    """Takes only true, false, null and decimal numbers for something else than text.

    No dates and no merge keys; and 1:30 is no 90, nor is 010 an 8, as YAML 1.1 has it.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - so it is in the class above
        start: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag in _SCALARS]
        for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Reader:
    """Turns YAML nodes into plain values, noting lines, and what YAML allows but we do not."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.complaints: list[tuple[int, Place, str]] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if len(place) > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=node.start_mark)
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return dict(self._items(node, place))
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self.read(child, (*place, index)) for index, child in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in _SCALARS:
                return self._scalar(node, place)
            case _:
                self._complain(node, place, "YAML tags are not allowed; text that begins with ! needs quotes")
                return None

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (ValueError, KeyError):  # !!int x, or thousands of digits
            self._complain(node, place, f"cannot be read as {node.tag.removeprefix(_YAML)}")
            return None

    def _items(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                self._complain(key_node, place, "a key must be text; << is not supported")
                continue
            key = str(key_node.value)
            here = (*place, key)
            if key in seen:
                self._complain(key_node, here, f"stands twice, first on line {self.lines[here]}")
                continue
            seen.add(key)
            self.lines[here] = key_node.start_mark.line + 1
            yield key, self.read(child, here)

    def _complain(self, node: yaml.Node, place: Place, message: str) -> None:
        self.complaints.append((node.start_mark.line + 1, place, message))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise refused(path, 0, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise refused(path, line, f"is not UTF-8 text: {error.reason}") from None


def _yaml_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Give the line, and what is wrong there, of an error that PyYAML found in `text`."""
    match error:
        case yaml.reader.ReaderError():
            line = text.count("\n", 0, error.position) + 1
            return line, f"{_NO_YAML}: the character U+{ord(text[error.position]):04X} is not allowed"
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark(line=line)):
            start = error.context_mark
            context = f"{error.context} from line {start.line + 1}" if start else error.context
            return line + 1, f"{_NO_YAML}: {', '.join(filter(None, (context, error.problem)))}"
        case _:
            return 0, f"{_NO_YAML}: {error}"
