"""What a scrape of many containers costs: reading cgroup files, beside asking the engine's stats API.

    make bench

A real dockerd runs the containers. Two exporters watch them, one with the host's trees and one without,
so that it has to ask; they are scraped in turns, so that both meet the same machine. Each figure is the
median over the rounds. CPU time of the engine is that of dockerd and containerd together.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from engines import Docker, Engine, unmet
from plimsoll.demo.processes import children, workspace
from serving import Samples, Serving, serving

CONTAINERS = int(os.environ.get("CONTAINERS", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "10"))
PATIENCE = 120.5
"""Seconds that a scrape may take; Docker's stats are slow."""

_TICK = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Of one scrape: seconds that passed, seconds of CPU time, and requests to the engine."""

    wall: float
    exporter: float
    engine: float
    requests: int


def main() -> int:
    """Measure, and print a table."""
    if reason := unmet():
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = stack.enter_context(workspace())
        engine = stack.enter_context(Docker(stack.enter_context(workspace()), "--debug"))
        print(f"starting {CONTAINERS} containers", flush=True)
        for _ in range(CONTAINERS):
            engine.run()
        nowhere = folder / "nowhere"
        nowhere.mkdir()
        exporters = {
            "cgroup": stack.enter_context(_exporter(engine, folder / "cgroup", "/")),
            "stats": stack.enter_context(_exporter(engine, folder / "stats", str(nowhere))),
        }
        for source, exporter in exporters.items():
            _measure(engine, exporter, source)  # the first inspects everything
        costs: dict[str, list[Cost]] = {source: [] for source in exporters}
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", flush=True)
            for source, exporter in exporters.items():
                costs[source].append(_measure(engine, exporter, source))
    _print(costs)
    return 0


def _exporter(engine: Engine, folder: Path, host_root: str) -> AbstractContextManager[Serving]:
    folder.mkdir()
    settings = {"name": "local", "docker_host": engine.host, "host_root": host_root, "timeout": "2m"}
    return serving({"containers": [settings]}, folder, "--scrape.timeout=2m")


def _measure(engine: Engine, exporter: Serving, source: str) -> Cost:
    of_engine = [engine.pid, *children(engine.pid)]
    requests, exporters, engines = (
        _requests(engine),
        _cpu_seconds([exporter.process.pid]),
        _cpu_seconds(of_engine),
    )
    began = time.monotonic()
    status, page = exporter.fetch("/metrics", timeout=PATIENCE)
    cost = Cost(
        time.monotonic() - began,
        _cpu_seconds([exporter.process.pid]) - exporters,
        _cpu_seconds(of_engine) - engines,
        _requests(engine) - requests,
    )
    assert status == 200
    samples = Samples(page)
    assert samples.get("plimsoll_containers_measured", source=source) == CONTAINERS, source
    assert samples.get("plimsoll_collector_success", collector="usage") == 1
    return cost


def _requests(engine: Engine) -> int:
    return engine.log.read_text(errors="replace").count("Calling GET")


def _cpu_seconds(pids: Sequence[int]) -> float:
    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return sum(map(ticks, pids)) / _TICK


def _print(costs: dict[str, list[Cost]]) -> None:
    medians = {
        source: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for source, rounds in costs.items()
    }
    print(f"\n{CONTAINERS} containers, median of {ROUNDS} scrapes each, in turns")
    print(f"{'':22}{'cgroup files':>14}{'stats API':>14}{'ratio':>10}")
    for index, label in enumerate(("wall, s", "CPU of exporter, s", "CPU of engine, s", "requests")):
        files, stats = (medians[source][index] for source in ("cgroup", "stats"))
        ratio = f"{stats / files:.1f}" if files else "-"
        print(f"{label:22}{files:14.3f}{stats:14.3f}{ratio:>10}")


if __name__ == "__main__":
    sys.exit(main())
