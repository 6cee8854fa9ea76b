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

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the file, and where."""

    file: str
    line: int
    place: Place
    message: str

    def __str__(self) -> str:
        where = _dotted(self.place)
        return f"{self.file}:{self.line}: {where}: {self.message}" if where else self._without_place()

    def _without_place(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


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

    def __init__(self, path: Path, data: Mapping[str, Any], lines: Mapping[Place, int]) -> None:
        self.path = path
        self._data = data
        self._lines = lines

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read `path`.

        Raises:
            ConfigError: it cannot be read, is no YAML mapping, or has a key twice or an unknown section.
        """
        try:
            root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
            reader = _Reader(path)
            data = reader.read(root, ()) if root else None
        except OSError as error:
            raise _refused(path, 0, f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise _refused(path, 0, f"is not UTF-8 text: {error.reason} at byte {error.start}") from None
        except yaml.YAMLError as error:
            raise _refused(path, *_yaml_problem(error)) from None
        except RecursionError:
            raise _refused(path, 0, "is nested too deeply, or an alias in it contains itself") from None
        if data is None:
            return cls(path, {}, {})
        if not isinstance(data, dict):
            raise _refused(path, 1, f"must be a mapping of sections; allowed: {', '.join(SECTIONS)}")
        unknown = [
            Problem(str(path), reader.lines[(key,)], (key,), f"unknown key; allowed: {', '.join(SECTIONS)}")
            for key in data
            if key not in SECTIONS
        ]
        if problems := reader.problems + unknown:
            raise ConfigError(problems)
        return cls(path, data, reader.lines)

    def __contains__(self, section: str) -> bool:
        return section in self._data

    def section(self, name: str, model: type[SomeSection]) -> SomeSection:
        """Validate the section called `name`; one that the file lacks is taken as empty.

        Raises:
            ConfigError: everything in it that is wrong.
        """
        problems: list[Problem] = []
        data = self._with_environment(self._data.get(name, {}), (name,), problems)
        try:
            section = model.model_validate(data, context={"directory": self.path.parent})
        except ValidationError as error:
            for details in error.errors():
                place, message = explain(details, model)
                problems.append(self._problem((name, *place), message))
            section = None
        if section is None or problems:
            raise ConfigError(sorted(problems, key=lambda problem: problem.line))
        return section

    def _problem(self, place: Place, message: str) -> Problem:
        return Problem(str(self.path), self._line(place), place, message)

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
                unset = sorted(set(_VARIABLE.findall(value)) - os.environ.keys())
                problems += [
                    self._problem(place, f"the environment variable {name} is not set") for name in unset
                ]
                return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
            case _:
                return value


class _Reader:
    """Turns YAML nodes into plain values, noting lines and keys that stand twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode():
                return dict(self._items(node, place))
            case yaml.SequenceNode():
                return [self.read(child, (*place, index)) for index, child in enumerate(node.value)]
            case _:
                return self._scalars.construct_object(node)

    def _items(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, child in node.value:
            key = str(key_node.value)
            here = (*place, key)
            line = key_node.start_mark.line + 1
            if key in seen:
                first = self.lines[here]
                self.problems.append(
                    Problem(str(self.path), line, here, f"stands twice, first on line {first}")
                )
                continue
            seen.add(key)
            self.lines[here] = line
            yield key, self.read(child, here)


def _dotted(place: Place) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _refused(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), line, (), message)])


def _yaml_problem(error: yaml.YAMLError) -> tuple[int, str]:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return error.problem_mark.line + 1, f"is not YAML: {error.problem}"
    return 0, f"is not YAML: {error}"
