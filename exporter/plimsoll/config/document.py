"""The configuration file as a whole: its sections, and the environment variables in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from plimsoll.config.problem import ConfigError, Place, Problem
from plimsoll.config.reading import Source, read_yaml, refused
from plimsoll.config.section import Section, explain

SECTIONS = ("postgres", "containers")
"""The names that may stand at the top of the file."""

SomeSection = TypeVar("SomeSection", bound=Section)

_ALLOWED = f"allowed: {', '.join(SECTIONS)}"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Document:
    """A configuration file whose sections have not been looked into yet.

    Secrets and environment variables are resolved when `sections` is called, so a process needs those of
    its own sections only.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self._data: Mapping[str, Any] = source.data or {}
        self._lines = source.lines
        self._problems = [self._problem(place, message, line) for line, place, message in source.complaints]
        self._problems += [
            self._problem((key,), f"unknown key; {_ALLOWED}") for key in self._data if key not in SECTIONS
        ]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read `path`. Keys that are unknown or stand twice are told with the mistakes of the sections.

        Raises:
            ConfigError: it cannot be read, or is no YAML mapping.
        """
        source = read_yaml(path)
        if source.data is not None and not isinstance(source.data, dict):
            raise refused(path, source.lines[()], f"must be a mapping of sections; {_ALLOWED}")
        return cls(path, source)

    def sections(self, model: type[SomeSection]) -> SomeSection:
        """Validate the sections that `model` has fields for; where the file lacks one, its default stands.

        Raises:
            ConfigError: everything in them that is wrong, and what is wrong with the file as a whole.
        """
        problems = list(self._problems)
        own = {name: value for name, value in self._data.items() if name in model.model_fields}
        data = self._with_environment(own, (), problems)
        try:
            sections = model.model_validate(data, context={"directory": self.path.parent})
        except ValidationError as error:
            told = {problem.place for problem in problems}
            found = (explain(details, model) for details in error.errors())
            problems += [self._problem(place, message) for place, message in found if place not in told]
        if problems:
            raise ConfigError(sorted(problems, key=lambda problem: problem.line))
        return sections

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


def _complaints(value: str, text: str) -> Iterator[str]:
    """Tell what is wrong with the variables in `value`, or with the `text` that they make of it."""
    for name in sorted(set(_VARIABLE.findall(value)) - os.environ.keys()):
        if _VARIABLE_NAME.fullmatch(name):
            yield f"the environment variable {name} is not set"
        else:
            yield f"${{{name}}} names no environment variable; ${{NAME}} is allowed"
    if _NO_TEXT.search(text):
        yield "holds a NUL or half of a surrogate pair, which no text may"
