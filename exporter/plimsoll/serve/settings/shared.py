"""What the sections of `serve` have in common: names, labels and selections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import Field

from plimsoll.config import PlacedError, Section
from plimsoll.config.fields import Pattern


class Named(Protocol):
    """An entry of a list whose name tells it from the others."""

    @property
    def name(self) -> str:
        """Its name."""


SomeNamed = TypeVar("SomeNamed", bound=Named)


def named_differently(entries: Sequence[SomeNamed], listed: str) -> Sequence[SomeNamed]:
    """Refuse a list, called `listed` in messages, that is empty or has a name twice."""
    if not entries:
        raise ValueError("must have at least one entry")
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if first.setdefault(entry.name, index) != index:
            raise PlacedError(f"is the name of {listed}[{first[entry.name]}] already", index, "name")
    return entries


class Selection(Section):
    """Which of the names that are found are watched; patterns match whole names."""

    include: tuple[Pattern, ...] = Field(default=(".*",), validate_default=True)
    exclude: tuple[Pattern, ...] = ()

    def wanted(self, name: str) -> bool:
        """Say whether a name is included and not excluded."""
        return any(pattern.fullmatch(name) for pattern in self.include) and not any(
            pattern.fullmatch(name) for pattern in self.exclude
        )
