"""The presets, and the signals that they judge: data, one file for each group of rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from plimsoll.alerts.shape import CompiledSignal, Group, Inhibition, Preset, Signal
from plimsoll.config.problem import Place
from plimsoll.config.reading import read_yaml

GROUPS = ("storage", "containers", "hosts", "agents", "meta")
"""Names of the groups, in the order in which they are compiled."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class CatalogueFile:
    """One group, and on which line of its file everything stands."""

    group: Group
    name: str
    lines: Mapping[Place, int]

    @property
    def path(self) -> str:
        """How the file is called in messages, wherever it is installed."""
        return f"catalogue/{self.name}.yml"

    def line(self, place: Place) -> int:
        """Give the line of a place, or of what surrounds it."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines[place]


@dataclass(frozen=True)
class Catalogue:
    """All groups."""

    files: tuple[CatalogueFile, ...]

    @property
    def presets(self) -> dict[str, tuple[CatalogueFile, Preset]]:
        """Every preset by its name, with the file that it is from."""
        return {name: (file, preset) for file in self.files for name, preset in file.group.alerts.items()}

    @property
    def compiled(self) -> dict[str, CompiledSignal]:
        """The signals whose rules are compiled."""
        return {name: signal for file in self.files for name, signal in file.group.compiled.items()}

    @property
    def signals(self) -> dict[str, Signal]:
        """All signals."""
        return {name: signal for file in self.files for name, signal in file.group.signals.items()} | dict(
            self.compiled
        )

    def has_floor(self, name: str) -> bool:
        """Say whether the signal of a preset leaves out what is smaller than a number of this preset."""
        return name in self.presets and self.presets[name][1].floor is not None

    def is_followed(self, name: str) -> bool:
        """Say whether signals depend on the threshold of an alert."""
        return any(signal.of == name and "$threshold" in signal.expr for signal in self.compiled.values())

    @property
    def inhibitions(self) -> tuple[Inhibition, ...]:
        """What hides what."""
        return tuple(inhibition for file in self.files for inhibition in file.group.inhibitions)


@cache
def load_catalogue() -> Catalogue:
    """Read what was shipped."""
    return Catalogue(tuple(map(_load, GROUPS)))


def _load(name: str) -> CatalogueFile:
    source = read_yaml(_HERE / f"{name}.yml")
    return CatalogueFile(Group.model_validate(source.data), name, source.lines)
