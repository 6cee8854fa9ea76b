"""The configuration file as a whole: its sections, and the environment variables in them."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from plimsoll.config.problem import ConfigError, Place, Problem
from plimsoll.config.reading import Source, read_yaml, refused
from plimsoll.config.section import Section, explanations, problems_elsewhere

SECTIONS = (
    *("postgres", "containers", "sql"),
    *("alerts", "webhooks", "relay", "history", "alertmanager", "prometheus", "links"),
)
"""The names that may stand at the top of the file."""

SomeSection = TypeVar("SomeSection", bound=Section)

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")  # which leaves ${{ of a template alone
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Document:
    """A configuration file whose sections have not been looked into yet.

    Secrets and environment variables are resolved when `sections` is called, so a process needs those of
    its own sections only. `sections` names what may stand at the top.
    """

    def __init__(self, path: Path, source: Source, sections: Sequence[str] = SECTIONS) -> None:
        self.path = path
        self._data: Mapping[str, Any] = source.data or {}
        self._lines = source.lines
        self.problems = [self.problem(place, message, line) for line, place, message in source.complaints]
        self.problems += [
            self.problem((key,), f"unknown key; {_allowed(sections)}")
            for key in self._data
            if key not in sections
        ]

    def __contains__(self, name: str) -> bool:
        """Say whether the file has a section."""
        return name in self._data

    @classmethod
    def read(cls, path: Path, sections: Sequence[str] = SECTIONS) -> Document:
        """Read `path`. Keys that are unknown or stand twice are told with the mistakes of the sections.

        Raises:
            ConfigError: it cannot be read, or is no YAML mapping.
        """
        source = read_yaml(path)
        if source.data is not None and not isinstance(source.data, dict):
            raise refused(path, source.lines[()], f"must be a mapping of sections; {_allowed(sections)}")
        return cls(path, source, sections)

    def sections(self, model: type[SomeSection]) -> SomeSection:
        """Validate the sections that `model` has fields for; where the file lacks one, its default stands.

        Raises:
            ConfigError: everything in them that is wrong, and what is wrong with the file as a whole.
        """
        review = Review(self)
        sections = review.validate(model, review.resolved(model.model_fields), ())
        review.conclude()
        assert sections is not None  # noqa: S101 - or there was something wrong
        return sections

    def unresolved(self, name: str) -> Any:
        """Give a section that belongs to somebody else as it is written, or None."""
        return self._data.get(name)

    def line(self, place: Place) -> int:
        """Give the line of `place`, or of what surrounds it where it is missing from the file."""
        while place not in self._lines and place:
            place = place[:-1]
        return self._lines.get(place, 1)

    def problem(self, place: Place, message: str, line: int | None = None) -> Problem:
        """Say what is wrong at a place."""
        return Problem(str(self.path), line or self.line(place), place, message)


class Review:
    """Looks into parts of a document, and collects what is wrong, so that all of it is told at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems = list(document.problems)

    def resolved(self, names: Iterable[str], but: Container[str] = ()) -> dict[str, Any]:
        """Give those of some sections that the file has, with environment variables resolved.

        What stands at keys of the names `but` is left as it is written: secrets of another process.
        """
        found = ((name, self._document.unresolved(name)) for name in names if name in self._document)
        return {name: self._with_environment(value, (name,), but) for name, value in found}

    def validate(self, model: type[SomeSection], value: Any, place: Place) -> SomeSection | None:
        """Make a section of a value that stands at `place`, or None, and note what is wrong with it."""
        try:
            return model.model_validate(value, context={"directory": self._document.path.parent})
        except ValidationError as error:
            told = {problem.place for problem in self.problems}
            for inner, message in explanations(error, model):
                if (*place, *inner) not in told:
                    self.blame((*place, *inner), message)
            self.problems += problems_elsewhere(error)
        return None

    def salvage(
        self, model: type[SomeSection], value: Any, place: Place
    ) -> tuple[SomeSection | None, frozenset[str | int]]:
        """Validate, but leave out the keys that are bad, so that the others can be looked into; give both."""
        known = len(self.problems)
        if (section := self.validate(model, value, place)) is not None:
            return section, frozenset()
        inner = (problem.place[len(place) :] for problem in self.problems[known:])
        bad = frozenset(steps[0] for steps in inner if steps)
        if not bad or not isinstance(value, dict):
            return None, bad
        rest = {key: entry for key, entry in value.items() if key not in bad}
        with suppress(ValidationError):
            return model.model_validate(rest, context={"directory": self._document.path.parent}), bad
        return None, bad

    def blame(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        self.problems.append(self._document.problem(place, message))

    def conclude(self) -> None:
        """End the review.

        Raises:
            ConfigError: something was wrong.
        """
        if self.problems:
            raise ConfigError(sorted(self.problems, key=self._order))

    def _order(self, problem: Problem) -> tuple[bool, str, int]:
        """Put the document itself before the files that it names."""
        return problem.file != str(self._document.path), problem.file, problem.line

    def _with_environment(self, value: Any, place: Place, but: Container[str]) -> Any:
        match value:
            case dict():
                return {
                    key: inner if key in but else self._with_environment(inner, (*place, key), but)
                    for key, inner in value.items()
                }
            case list():
                return [self._with_environment(inner, (*place, i), but) for i, inner in enumerate(value)]
            case str():
                text = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
                for complaint in _complaints(value, text):
                    self.blame(place, complaint)
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


def _allowed(sections: Sequence[str]) -> str:
    return f"allowed: {', '.join(sections)}"
