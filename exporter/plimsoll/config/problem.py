"""What is wrong with a configuration file, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Place = tuple[str | int, ...]
"""Where a value stands: the keys and indexes that lead to it."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*")


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


def _dotted(place: Place) -> str:
    steps = (f".{step}" if _PLAIN_KEY.fullmatch(str(step)) else f"[{step!r}]" for step in place)
    return "".join(steps).removeprefix(".")
