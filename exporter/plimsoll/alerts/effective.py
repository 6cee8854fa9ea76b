"""Alerts as they will be: the catalogue's values, or the user's if there are any, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from plimsoll.alerts.catalogue import CatalogueFile
from plimsoll.alerts.matchers import Matchers
from plimsoll.alerts.units import Unit
from plimsoll.config.problem import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands; without a line it is a default of ours."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value, and where it comes from."""

    value: T
    origin: Origin


@dataclass(frozen=True)
class Branch:
    """What holds for some of an alert's series: those that an override matches, or all others."""

    match: Matchers | None
    """None for all that no override takes."""
    index: int
    """Which of the overrides it is; -1 for what none takes."""
    place: Place
    """Where it stands in the user's file."""
    threshold: Sourced[float]
    floor: Sourced[float | None]
    for_: Sourced[float]
    severity: Sourced[str]
    webhook: Sourced[str | None]
    enabled: Sourced[bool]

    @property
    def is_base(self) -> bool:
        """Whether it is for what no override takes."""
        return self.match is None

    @property
    def name(self) -> str:
        """What tells it from the alert's other branches: empty for the base."""
        return str(self.match) if self.match else ""


@dataclass(frozen=True)
class Effective:
    """An alert as it will be: the catalogue's values, or the user's where there are any."""

    name: str
    group: str
    metric: Sourced[str]
    operator: Sourced[str]
    unit: Unit
    threshold_as: str
    category: str
    summary: Sourced[str]
    description: str
    value: str
    annotations: Mapping[str, str]
    runbook_url: str | None
    dashboard_url: str | None
    preset: str | None
    """The preset that it is, or that it started from."""
    dashboard: CatalogueFile | None
    labels: tuple[str, ...] | None
    """Those that its signal has by itself; None if we do not know it."""
    base: Branch
    overrides: Sequence[Branch]

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The base first, then the overrides in order."""
        return (self.base, *self.overrides)

    def told(self, branch: Branch) -> str:
        """Tell a threshold in words."""
        return self.threshold_as.replace("#", self.unit.show(branch.threshold.value), 1)
