"""What is known of one container engine: results that collectors write and pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from plimsoll.serve.inventory import Container, Inventory
from plimsoll.serve.metrics import LabelTemplate
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources.answers import Details, Machine
from plimsoll.serve.sources.cgroup import likely_path
from plimsoll.serve.sources.docker import Engine
from plimsoll.serve.sources.events import EventStream
from plimsoll.serve.sources.usage import Usage

CONTAINER = ("engine", "id", "name", "image")
"""The labels that all series of a container have, beside those that users add."""


class Measured(NamedTuple):
    """What a container has used, who said so, and when (seconds of the monotonic clock)."""

    usage: Usage
    source: Literal["cgroup", "stats"]
    at: float


@dataclass(slots=True)
class EngineState:
    """Everything that is known of an engine.

    Counters and states are published live or not at all: what was not asked for since the scrape began is
    absent.
    """

    settings: EngineSettings
    engine: Engine
    inventory: Inventory
    events: EventStream
    machine: Machine | None = None
    began_at: float = 0.0
    """When the present scrape began, in seconds of the monotonic clock."""
    listed_at: float | None = None
    """When the list was asked for that the inventory goes by, in seconds of the monotonic clock."""
    measured: dict[str, Measured] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    """Empty but in the copy that pages are made of."""

    def cgroup(self, details: Details) -> str:
        """Give where the cgroup of a container most likely is; cAdvisor calls that its id."""
        return likely_path(
            engine="podman" if self.engine.is_podman else "docker",
            driver=self.machine.cgroup_driver if self.machine else "",
            parent=details.cgroup_parent,
            id=details.id,
        )

    def labels(self, details: Details) -> str:
        """Render the labels that all series of a container carry."""
        published = self.settings.published_labels.items()
        own = {name: details.labels[label] for name, label in published if label in details.labels}
        names = {"id": self.cgroup(details), "name": details.name, "image": details.image}
        return LabelTemplate({**self.settings.target_labels, **names, **own})()

    def live_usage(self) -> Mapping[str, Measured]:
        """Give what was measured since the scrape began, by container id."""
        return {identity: found for identity, found in self.measured.items() if found.at >= self.began_at}
