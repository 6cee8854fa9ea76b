"""The whole page of a fixture world equals a golden file, and promtool has nothing to say against it.

PLIMSOLL_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.serve import self_metrics
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings import ServerSettings
from plimsoll.serve.sources.places import Places
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.target import Target
from support import require_program

TESTS = Path(__file__).parents[1]
NOW = 1_795_000_000.5


class FixtureServer:
    """Answers each statement with the rows of the world."""

    is_crowded = False

    def __init__(self, world: Mapping[str, Any]) -> None:
        self._world = world

    @contextlib.asynccontextmanager
    async def connect(self, datname: str = "postgres", **_: Any) -> AsyncIterator[FixtureConnection]:
        yield FixtureConnection({**self._world, **self._world["databases"][datname]})


class FixtureConnection:
    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows

    async def read(self, text: str, _: object = None) -> list[tuple[Any, ...]]:
        (name,) = (name for name in self._rows if name != "databases" and statement(name) == text)
        return [tuple(row) for row in self._rows[name]]


@pytest.mark.parametrize("suffix", ["txt", "openmetrics"])
async def test_page_of_the_fixture_world(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(self_metrics, "__version__", "1.2.3")
    world = yaml.safe_load((TESTS / "fixtures/world.yml").read_text())
    settings = ServerSettings.model_validate(
        {
            "name": "main",
            "dsn": "host=nowhere",
            "labels": {"organization": "acme"},
            "databases": {"exclude": ["scratch_.*"]},
        }
    )
    target = Target(settings, {host: Places(2) for host in settings.hosts})
    target.state.server = FixtureServer(world)  # type: ignore[assignment]
    await target.collect()
    page = Page()
    target.emit(page, target.snapshot())
    reports = [job.report._replace(duration=0.25) for job in target.jobs() if job.report]
    self_metrics.emit(page, reports, self_metrics.ReloadResult(successful=True, loaded_at=NOW))
    text = page.encode(openmetrics=suffix == "openmetrics")

    golden = TESTS / f"golden/metrics.{suffix}"
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_promtool_accepts_the_page() -> None:
    promtool = require_program("promtool")
    page = (TESTS / "golden/metrics.txt").read_bytes()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
