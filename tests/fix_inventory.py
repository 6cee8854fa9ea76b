"""Stories of containers, told to an inventory without an engine.

Times are seconds. A story begins at 1000, when the first look is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest

from plimsoll.serve.inventory import Container, Inventory
from plimsoll.serve.lives import Orders
from plimsoll.serve.sources.answers import LIVING, Details, Event, Listed

BEGIN = 1000.0
KEEP = 3600.0


def details(state: str = "running", **known: Any) -> Details:
    """Build what an inspection says; unless told otherwise of `web`, which was started before we came."""
    plain = Details(
        id="1",
        name="web",
        image="nginx:1.25",
        labels={},
        state=state,
        health=None,
        pid=7 if state in LIVING else 0,
        exit_code=0,
        oom_killed=False,
        restart_count=0,
        created_at=500.0,
        started_at=None if state == "created" else 501.0,
        finished_at=None if state in {"created", *LIVING} else 900.0,
        restart_policy="no",
        auto_remove=False,
        network_mode="bridge",
        cgroup_parent="",
        memory_limit=0,
        memory_reservation=0,
        cpu_shares=0,
        cpu_quota=0,
        cpu_period=100_000,
    )
    return dataclasses.replace(plain, **known)


def exited(code: int, **known: Any) -> Details:
    return details("exited", exit_code=code, **known)


def listed(container: Details, **known: Any) -> Listed:
    """Build what the list says of a container that is as inspected; `known` contradicts."""
    return Listed(container.id, container.name, container.state, container.health)._replace(**known)


def event(action: str, at: float = 1030.0, *, of: str = "1", code: int | None = None) -> Event:
    return Event(of, action, code, int(at * 10**9))


class Watch:
    """An inventory that is led as the collector leads it: it lists, inspects what is due, and looks."""

    def __init__(self, *, heard: bool = True) -> None:
        self.inventory = Inventory()
        self.heard = heard
        self.unwanted: set[str] = set()
        self.now = BEGIN - 60
        self.inspected: list[str] = []

    def hear(self, *events: Event) -> None:
        for one in events:
            self.inventory.hear(one)

    def look(
        self,
        *there: Details,
        at: float | None = None,
        everything: bool = False,
        failed: Iterable[str] = (),
        ignored: Iterable[str] = (),
        while_inspecting: Iterable[Event] = (),
    ) -> dict[str, Container]:
        """Look a minute after the last time, or at a given time; give what is published by name."""
        self.now = self.now + 60 if at is None else at
        listing = [listed(container) for container in there]
        self.inspected = self.inventory.due(listing, all_of_them=everything)
        self.hear(*while_inspecting)
        self.inventory.look(
            listing,
            {one.id: one for one in there if one.id in self.inspected and one.id not in failed},
            failed=set(failed),
            ignored=set(ignored),
            orders=Orders(are_told=self.heard, are_heard=self.heard),
            wanted=lambda name: name not in self.unwanted,
            now=self.now,
            keep_removed=KEEP,
        )
        return self.shown()

    def shown(self) -> dict[str, Container]:
        return {container.details.name: container for container in self.inventory.containers()}


@pytest.fixture
def watch() -> Watch:
    return Watch()


DIE_AND_STOP = (event("die", 1030, code=143), event("stop", 1030.1))
