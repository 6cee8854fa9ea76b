"""The whole page of a fixture world equals a golden file, and promtool has nothing to say against it.

PLIMSOLL_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from pages import parsed, written
from plimsoll.serve import self_metrics, table_statistics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.settings.sql import SqlEntry
from plimsoll.serve.sources import answers
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.rows import Answer
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.targets import Target
from plimsoll.serve.targets.containers import EngineTarget
from plimsoll.serve.targets.postgres import PostgresTarget
from support import require_program

TESTS = Path(__file__).parents[1]
NOW = 1_795_000_000.5
SCRAPE_INTERVAL = 15
SUFFIXES = ["txt", "openmetrics"]
FAMILIES = [family for collector in COLLECTORS for family in collector.families] + [*self_metrics.FAMILIES]

OF_THE_USERS = {"shop_orders", "shop_orders_placed_total"}
"""Metrics of world_collector.yml."""

LINT_ERRORS = 3
"""The exit status of promtool that has read the page, but does not like all of it."""
OF_OTHERS = {"container_memory_failcnt"} | {
    family.name for family in table_statistics.FAMILIES if family.kind == "unknown"
}
"""Counters without `_total`: names that cAdvisor and postgres_exporter gave."""


class FixtureServer:
    """Answers each statement with the rows of the world."""

    is_crowded = False

    def __init__(self, world: Mapping[str, Any]) -> None:
        self._world = world

    @contextlib.asynccontextmanager
    async def connect(self, datname: str | None = None, **_: Any) -> AsyncIterator[FixtureConnection]:
        yield FixtureConnection({**self._world, **self._world["databases"][datname or "postgres"]})


class FixtureConnection:
    datname = "postgres"

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows

    async def read(self, text: str, _: object = None) -> list[tuple[Any, ...]]:
        others = ("databases", "answers")
        (name,) = (name for name in self._rows if name not in others and statement(name) == text)
        return [tuple(row) for row in self._rows[name]]

    async def select(self, text: str, _: int) -> Answer:
        found = self._rows["answers"][text]
        return Answer(
            tuple(found["columns"]), tuple(found["types"]), tuple(tuple(row) for row in found["rows"])
        )


class FixtureEngine:
    """Answers each path with what the world has there."""

    is_podman = False

    def __init__(self, info: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> None:
        self._answers: dict[str, Any] = {"/info": info}
        for container in containers:
            path = f"/containers/{container['inspect']['Id']}"
            self._answers[f"{path}/json"] = container["inspect"]
            self._answers[f"{path}/stats"] = container.get("stats")
        self.containers = containers

    async def get(self, path: str, **_: str) -> Any:
        return self._listing() if path == "/containers/json" else self._answers[path]

    def _listing(self) -> list[Mapping[str, Any]]:
        looks = [(container["status"], container["inspect"]) for container in self.containers]
        return [
            {"Id": look["Id"], "Names": [look["Name"]], "State": look["State"]["Status"], "Status": status}
            for status, look in looks
        ]


class FixtureEvents:
    """Has missed nothing."""

    is_refused = False
    is_open = True

    async def follow(self) -> bool:
        return True


def lay_out(root: Path, world: Mapping[str, Any]) -> None:
    """Write the files that the kernel of the world's host shows."""

    def write(path: str, text: str) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    for numbers, name in world["devices"].items():
        write(f"sys/dev/block/{numbers}/uevent", f"DEVNAME={name}\n")
    for container in world["containers"]:
        path = f"/system.slice/docker-{container['inspect']['Id']}.scope"
        for name, text in container.get("cgroup", {}).items():
            write(f"sys/fs/cgroup{path}/{name}", text)
        if "interfaces" in container:
            process = f"proc/{container['inspect']['State']['Pid']}"
            write(f"{process}/cgroup", f"0::{path}\n")
            write(f"{process}/net/dev", container["interfaces"])


async def postgres_target() -> PostgresTarget:
    settings = ServerSettings.model_validate(
        {
            "name": "main",
            "dsn": "host=nowhere",
            "labels": {"organization": "acme"},
            "databases": {"exclude": ["scratch_.*"]},
            "tables": {"limit": 4, "statistics": True},
        }
    )
    collector = {"files": "world_collector.yml", "databases": {"include": ["billing"]}}
    entry = SqlEntry.model_validate(collector, context={"directory": TESTS / "fixtures"})
    nowhere = SqlEntry.model_validate({"files": "agents", "databases": {"include": ["agents_.*"]}})
    places = {host: Places(2) for host in settings.hosts}
    target = PostgresTarget(settings, places, sql=(entry, nowhere))
    world = yaml.safe_load((TESTS / "fixtures/world.yml").read_text())
    target.state.server = FixtureServer(world)  # type: ignore[assignment]
    await target.collect()
    target.state.outcomes = {
        datname: {key: replace(outcome, duration=0.125) for key, outcome in outcomes.items()}
        for datname, outcomes in target.state.outcomes.items()
    }
    return target


async def engine_target(host_root: Path, monkeypatch: pytest.MonkeyPatch) -> EngineTarget:
    settings = EngineSettings.model_validate(
        {
            "name": "local",
            "exclude": ["scratch_.*"],
            "labels_as": {"team": "org.example.team"},
            "static_labels": {"organization": "acme"},
            "host_root": str(host_root),
        }
    )
    world = yaml.safe_load((TESTS / "fixtures/world_engine.yml").read_text())
    lay_out(host_root, world)
    target = EngineTarget(settings)
    engine = FixtureEngine(world["info"], world["containers"])
    target.state.engine = engine  # type: ignore[assignment]
    target.state.events = FixtureEvents()  # type: ignore[assignment]
    with monkeypatch.context() as earlier:
        earlier.setattr(time, "time", lambda: NOW - SCRAPE_INTERVAL)
        await target.collect()
    for event in world["events"]:
        target.state.inventory.hear(answers.event(event))
    engine.containers = [container for container in engine.containers if "removed" not in container]
    await target.collect()
    return target


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_page_of_the_fixture_world(
    suffix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(self_metrics, "__version__", "1.2.3")
    targets: list[Target[Any]] = [await postgres_target(), await engine_target(tmp_path, monkeypatch)]
    page = Page()
    for target in targets:
        target.picture()(page)
    jobs = [job for target in targets for job in target.jobs()]
    reports = [job.report._replace(duration=0.25) for job in jobs if job.report]
    self_metrics.emit(page, reports, self_metrics.ReloadResult(successful=True, loaded_at=NOW))
    text = written(page, openmetrics=suffix == "openmetrics")

    golden = TESTS / f"golden/metrics.{suffix}"
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def golden_families(suffix: str) -> list[Metric]:
    text = (TESTS / f"golden/metrics.{suffix}").read_text()
    return parsed(text, openmetrics=suffix == "openmetrics")


def test_both_formats_hold_the_same_samples() -> None:
    text, openmetrics = (
        [
            # The parser of the text format adds _total to the name of any counter.
            (sample.name.removesuffix("_total"), sample.labels, sample.value)
            for family in golden_families(suffix)
            for sample in family.samples
        ]
        for suffix in SUFFIXES
    )

    assert text == openmetrics


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_series_stands_twice(suffix: str) -> None:
    series = Counter(
        (sample.name, *sorted(sample.labels.items()))
        for family in golden_families(suffix)
        for sample in family.samples
    )

    assert [name for name, count in series.items() if count > 1] == []


def test_every_family_is_on_the_page_with_its_labels() -> None:
    samples = [sample for family in golden_families("openmetrics") for sample in family.samples]

    assert {sample.name for sample in samples} == {family.name for family in FAMILIES} | OF_THE_USERS
    for family in FAMILIES:
        for sample in samples:
            assert sample.name != family.name or sample.labels.keys() >= set(family.labels)


def test_promtool_accepts_the_page_but_for_names_of_others() -> None:
    promtool = require_program("promtool")
    page = (TESTS / "golden/metrics.txt").read_bytes()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout) == (LINT_ERRORS, b"")
    assert {line.split()[0] for line in checked.stderr.decode().splitlines()} == OF_OTHERS
