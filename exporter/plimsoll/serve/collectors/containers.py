"""Which containers an engine has, and how each of them fares: listed at every scrape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

import structlog

from plimsoll.serve.inventory import STATES, Container
from plimsoll.serve.jobs import Job
from plimsoll.serve.lives import Orders
from plimsoll.serve.metrics import Family, LabelTemplate, Page, present, with_label
from plimsoll.serve.sources import answers
from plimsoll.serve.sources.answers import Details, Machine
from plimsoll.serve.sources.docker import EngineError, RefusedError
from plimsoll.serve.state.containers import CONTAINER, EngineState

_log = structlog.get_logger(__name__)

_HEALTH_STATES = {"healthy": 1, "starting": 0, "unhealthy": 0, None: -1}
_HEALTH = ("starting", "healthy", "unhealthy")
_USUAL_SHARES = 1024
_PUT_OFF = 60.0
"""Seconds until a container that could not be inspected is tried again: that may cost the whole timeout."""

_ENGINE = ("engine",)
CORES = Family("machine_cpu_cores", "gauge", "Processors of the engine's host.", _ENGINE)
MEMORY = Family("machine_memory_bytes", "gauge", "Memory of the engine's host.", _ENGINE)
STATE = Family("container_state", "gauge", "1 for the state that the container is in.", (*CONTAINER, "state"))
HEALTH_STATUS = Family(
    "container_health_status",
    "gauge",
    "1 for what its health check says; running containers with a health check only.",
    (*CONTAINER, "status"),
)
OF_EACH: tuple[tuple[Family, Callable[[Container], float | None]], ...] = (
    (
        Family(
            "container_expected_running",
            "gauge",
            "Whether it ought to run: it did, nobody ordered it to stop, and it is no one-off.",
            CONTAINER,
        ),
        lambda container: int(container.expected_running),
    ),
    (
        Family(
            "container_restarts_total",
            "counter",
            "Restarts by its restart policy; never goes back.",
            CONTAINER,
        ),
        lambda container: container.restarts,
    ),
    (
        Family("container_oom_events_total", "counter", "Kills for want of memory in it.", CONTAINER),
        lambda container: container.oom_kills,
    ),
    (
        Family("container_exit_code", "gauge", "With what it ended; while it does not run.", CONTAINER),
        lambda container: container.exit_code,
    ),
    (
        Family(
            "container_health_state",
            "gauge",
            "1 healthy, 0 starting or unhealthy, -1 without a health check; while it runs.",
            CONTAINER,
        ),
        lambda container: _HEALTH_STATES[container.details.health] if container.is_living else None,
    ),
    (
        Family(
            "container_last_seen",
            "gauge",
            "When the engine last listed it, in seconds since the epoch.",
            CONTAINER,
        ),
        lambda container: container.last_seen,
    ),
    (
        Family(
            "container_start_time_seconds",
            "gauge",
            "When it was last started, in seconds since the epoch.",
            CONTAINER,
        ),
        lambda container: container.details.started_at,
    ),
    (
        Family(
            "container_creation_time_seconds",
            "gauge",
            "When it was created, in seconds since the epoch.",
            CONTAINER,
        ),
        lambda container: container.details.created_at,
    ),
    (
        Family(
            "container_spec_memory_limit_bytes", "gauge", "Its limit of memory; 0 without one.", CONTAINER
        ),
        lambda container: container.details.memory_limit,
    ),
    (
        Family(
            "container_spec_memory_reservation_limit_bytes",
            "gauge",
            "What it is left with when the host's memory runs short; 0 without a reservation.",
            CONTAINER,
        ),
        lambda container: container.details.memory_reservation,
    ),
    (
        Family(
            "container_spec_cpu_quota",
            "gauge",
            "Microseconds of CPU time that it may use in each period; absent without a limit.",
            CONTAINER,
        ),
        lambda container: container.details.cpu_quota if container.details.cpu_quota > 0 else None,
    ),
    (
        Family("container_spec_cpu_period", "gauge", "Microseconds of a period of the quota.", CONTAINER),
        lambda container: container.details.cpu_period,
    ),
    (
        Family("container_spec_cpu_shares", "gauge", "Its weight when processors are short.", CONTAINER),
        lambda container: container.details.cpu_shares or _USUAL_SHARES,
    ),
)


class Failure(NamedTuple):
    """When (seconds of the monotonic clock) and why a container could not be inspected."""

    at: float
    reason: str


class ContainersCollector:
    """Lists the containers, and inspects those of which the list or an event tells something new."""

    name: ClassVar[str] = "containers"
    families: ClassVar[tuple[Family, ...]] = (
        CORES,
        MEMORY,
        STATE,
        HEALTH_STATUS,
        *(family for family, _ in OF_EACH),
    )

    def __init__(self, state: EngineState) -> None:
        self._state = state
        labels = state.settings.target_labels
        self._engine_labels = LabelTemplate(labels)()
        self._failures: dict[str, Failure] = {}
        self._job = Job(self.name, state.settings.name, labels, 0, self._look)

    def jobs(self) -> Iterable[Job]:
        """Give the listing."""
        return (self._job,)

    async def _look(self) -> None:
        state, inventory, wanted = self._state, self._state.inventory, self._state.settings.wanted
        nothing_missed = await state.events.follow()
        if state.machine is None or not (nothing_missed or state.events.is_refused):
            state.machine = await self._machine()
        now, asked_at = time.time(), time.monotonic()
        listed = answers.listing(await state.engine.get("/containers/json", all="1"))
        watched = [each for each in listed if wanted(each.name or inventory.name_of(each.id))]
        found = await self._inspect_all(inventory.due(watched, all_of_them=not nothing_missed))
        gone = {identity for identity, details in found.items() if details is None}
        inventory.look(
            [container for container in watched if container.id not in gone],
            {identity: details for identity, details in found.items() if details is not None},
            failed=self._failures.keys(),
            ignored={container.id for container in listed} - {container.id for container in watched},
            orders=Orders(are_told=not state.engine.is_podman, are_heard=state.events.is_open),
            wanted=wanted,
            now=now,
            keep_removed=state.settings.keep_removed,
        )
        state.listed_at = asked_at
        self._tell_failures(len(watched))

    async def _inspect_all(self, due: Iterable[str]) -> dict[str, Details | None]:
        """Inspect those that did not fail lately, and note which fail; give None for those that have gone."""
        begun_at = time.monotonic()
        put_off = {
            identity: self._failures[identity]
            for identity in due
            if identity in self._failures and self._failures[identity].at + _PUT_OFF > begun_at
        }
        asked = [identity for identity in due if identity not in put_off]
        found = dict(zip(asked, await asyncio.gather(*map(self._inspect, asked)), strict=True))
        failed_at = time.monotonic()
        self._failures = put_off | {
            identity: Failure(failed_at, str(error))
            for identity, error in found.items()
            if isinstance(error, EngineError)
        }
        return {
            identity: details for identity, details in found.items() if not isinstance(details, EngineError)
        }

    def _tell_failures(self, watched: int) -> None:
        if self._failures:
            reasons = ", ".join(sorted({failure.reason for failure in self._failures.values()})[:3])
            raise EngineError(
                f"{len(self._failures)} of {watched} containers could not be inspected: {reasons}"
            )

    async def _inspect(self, identity: str) -> Details | EngineError | None:
        """Give what the engine says, why it says nothing, or None if the container has gone meanwhile."""
        try:
            return answers.details(await self._state.engine.get(f"/containers/{identity}/json"))
        except RefusedError as error:
            return None if error.status == 404 else error
        except EngineError as error:
            return error

    async def _machine(self) -> Machine:
        """Ask what the host has; a proxy may refuse that, and then it stays unknown."""
        try:
            return answers.machine(await self._state.engine.get("/info"))
        except EngineError as error:
            if self._state.machine is not None:
                return self._state.machine
            if not isinstance(error, RefusedError) or not error.is_policy:
                raise
            _log.warning("the host's size is unknown", engine=self._state.settings.name, error=str(error))
            return Machine(None, None, "")

    def emit(self, page: Page, known: EngineState) -> None:
        """Publish the host, and each container."""
        if known.machine is not None:
            page.add(CORES, present([(self._engine_labels, known.machine.cores)]))
            page.add(MEMORY, present([(self._engine_labels, known.machine.memory)]))
        shown = [(known.labels(container.details), container) for container in known.containers]
        for family, value in OF_EACH:
            page.add(family, present((labels, value(container)) for labels, container in shown))
        page.add(
            STATE,
            [
                (with_label(labels, "state", state), int(container.state == state))
                for labels, container in shown
                for state in STATES
            ],
        )
        page.add(
            HEALTH_STATUS,
            [
                (with_label(labels, "status", status), int(container.details.health == status))
                for labels, container in shown
                if container.details.health and container.is_living
                for status in _HEALTH
            ],
        )
