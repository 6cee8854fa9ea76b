"""Reads a YAML file and remembers on which line everything stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from plimsoll.config.section import Section, explain

SECTIONS = ("postgres",)
"""The names that may stand at the top of the file."""

Place = tuple[str | int, ...]
"""Where a value stands: the keys and indexes that lead to it."""

SomeSection = TypeVar("SomeSection", bound=Section)

_ALLOWED = f"allowed: {', '.join(SECTIONS)}"
_DEEPEST = 32
_TOO_DEEP = f"it is nested deeper than {_DEEPEST} levels, or an alias contains itself"
_NO_YAML = "cannot be read as YAML"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*")
_YAML = "tag:yaml.org,2002:"
_SCALARS = {f"{_YAML}{name}" for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the file, and where; line 0 stands for the file as a whole."""

    file: str
    line: int
    place: Place
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (where, _dotted(self.place), self.message)))


class ConfigError(Exception):
    """The configuration was refused; `problems` holds every reason that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Document:
    """A configuration file whose sections have not been looked into yet.

    A section's secrets and environment variables are resolved when `section` is called, so a process
    needs those of its own sections only.
    """

    def __init__(self, path: Path, data: Mapping[str, Any], reader: _Reader) -> None:
        self.path = path
        self._data = data
        self._lines = reader.lines
        self._problems = [self._problem(place, message, line) for line, place, message in reader.complaints]
        self._problems += [
            self._problem((key,), f"unknown key; {_ALLOWED}") for key in data if key not in SECTIONS
        ]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read `path`. Keys that are unknown or stand twice are told with the mistakes of a section.

        Raises:
            ConfigError: it cannot be read, or is no YAML mapping.
        """
        text = _text(path)
        reader = _Reader()
        try:
            root = yaml.compose(text, Loader=_Loader)
            data = reader.read(root, ()) if root else None
        except yaml.YAMLError as error:
            raise _refused(path, *_yaml_problem(error, text)) from None
        except RecursionError:
            raise _refused(path, 0, f"{_NO_YAML}: {_TOO_DEEP}") from None
        if data is not None and not isinstance(data, dict):
            raise _refused(path, reader.lines[()], f"must be a mapping of sections; {_ALLOWED}")
        return cls(path, data or {}, reader)

    def __contains__(self, section: str) -> bool:
        return section in self._data

    def section(self, name: str, model: type[SomeSection]) -> SomeSection:
        """Validate the section called `name`; one that the file lacks is taken as empty.

        Raises:
            ConfigError: everything in it that is wrong, and what is wrong with the file as a whole.
        """
        problems = list(self._problems)
        data = self._with_environment(self._data.get(name, {}), (name,), problems)
        try:
            section = model.model_validate(data, context={"directory": self.path.parent})
        except ValidationError as error:
            told = {problem.place for problem in problems}
            found = (explain(details, model) for details in error.errors())
            problems += [
                self._problem((name, *place), message)
                for place, message in found
                if (name, *place) not in told
            ]
        if problems:
            raise ConfigError(sorted(problems, key=lambda problem: problem.line))
        return section

    def _problem(self, place: Place, message: str, line: int | None = None) -> Problem:
        return Problem(str(self.path), line or self._line(place), place, message)

    def _line(self, place: Place) -> int:
        """Give the line of `place`, or of what surrounds it where it is missing from the file."""
        while place not in self._lines and place:
            place = place[:-1]
        return self._lines.get(place, 1)

    def _with_environment(self, value: Any, place: Place, problems: list[Problem]) -> Any:
        match value:
            case dict():
                return {k: self._with_environment(v, (*place, k), problems) for k, v in value.items()}
            case list():
                return [self._with_environment(v, (*place, i), problems) for i, v in enumerate(value)]
            case str():
                text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
                problems += [self._problem(place, complaint) for complaint in _complaints(value, text)]
                return text
            case _:
                return value


class _Loader(yaml.SafeLoader):
    """Takes only true, false, null and numbers for something else than text: no dates, no merge keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - so it is in the class above
        start: [(tag, pattern) for tag, pattern in resolvers if tag in _SCALARS]
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
        raise _refused(path, 0, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _refused(path, line, f"is not UTF-8 text: {error.reason}") from None


def _complaints(value: str, text: str) -> Iterator[str]:
    """Tell what is wrong with the variables in `value`, or with the `text` that they make of it."""
    for name in sorted(set(_VARIABLE.findall(value)) - os.environ.keys()):
        if _VARIABLE_NAME.fullmatch(name):
            yield f"the environment variable {name} is not set"
        else:
            yield f"${{{name}}} names no environment variable; ${{NAME}} is allowed"
    if _NO_TEXT.search(text):
        yield "holds a NUL or half of a surrogate pair, which no text may"


def _dotted(place: Place) -> str:
    steps = (f".{step}" if _PLAIN_KEY.fullmatch(str(step)) else f"[{step!r}]" for step in place)
    return "".join(steps).removeprefix(".")


def _refused(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), line, (), message)])


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
