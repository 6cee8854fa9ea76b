"""An engine that the test leads, those who watch it, and what they publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from docker_proxy import Front
from fake_engine import FakeEngine, fake_engine
from pages import written
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources import events
from plimsoll.serve.sources.docker import Engine
from plimsoll.serve.targets.containers import EngineTarget
from serving import Samples


def settings_for(engine: Front, **changes: Any) -> EngineSettings:
    """Give settings with which no cgroup file is found."""
    known = {"name": "local", "docker_host": engine.docker_host, "host_root": "/nonexistent", **changes}
    return EngineSettings.model_validate(known)


@pytest.fixture
async def fake() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as running:
        yield running


@pytest.fixture
async def client(fake: FakeEngine) -> AsyncIterator[Engine]:
    client = Engine(settings_for(fake, timeout="10s"))
    yield client
    await client.close()


@pytest.fixture
async def hasty(fake: FakeEngine) -> AsyncIterator[Engine]:
    """A client that does not wait for long."""
    client = Engine(settings_for(fake, timeout="300ms"))
    yield client
    await client.close()


@pytest.fixture
async def target(fake: FakeEngine) -> AsyncIterator[EngineTarget]:
    target = EngineTarget(settings_for(fake, timeout="10s"))
    yield target
    await target.stop()


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


async def until(condition: Callable[[], object]) -> None:
    """Let things happen until the condition holds; as `eventually`, in the loop where they happen."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of things that have no event
            await asyncio.sleep(0.01)


def published(target: EngineTarget) -> Samples:
    """Give the page as it is now."""
    page = Page()
    target.picture()(page)
    return Samples(written(page))


async def scrape(target: EngineTarget) -> Samples:
    await target.collect()
    return published(target)


def names_with(family: str, samples: Samples) -> set[str]:
    return {dict(labels)["name"] for labels in samples.all(family)}


def states(samples: Samples) -> dict[str, str]:
    found = (dict(labels) for labels, value in samples.all("container_state").items() if value)
    return {labels["name"]: labels["state"] for labels in found}


def expected(samples: Samples) -> dict[str, float]:
    values = samples.all("container_expected_running").items()
    return {dict(labels)["name"]: value for labels, value in values}


class Clock:
    """Stands in for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def time_ns(self) -> int:
        return time.time_ns()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which refused events are asked for again."""
    clock = Clock()
    monkeypatch.setattr(events, "time", clock)
    return clock
