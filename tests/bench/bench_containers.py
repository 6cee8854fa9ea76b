"""What a scrape of many containers costs: reading cgroup files, beside asking the engine's stats API.

    make bench

A real dockerd runs the containers. Two exporters watch them, one with the host's trees and one without,
so that it has to ask; they are scraped in turns, so that both meet the same machine. Each figure is the
median over the rounds. CPU time of the engine is that of dockerd and containerd together. Then the first is
scraped while somebody asks for its health.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import probing
from bench.processes import Memory, cpu_seconds, memory
from bench.reporting import Row, Table, quotient, report
from bench.scraping import Window
from engines import Docker, Engine, unmet
from plimsoll import __version__
from plimsoll.demo.processes import children, workspace
from serving import Samples, Serving, serving

CONTAINERS = int(os.environ.get("CONTAINERS", "200"))
ROUNDS = int(os.environ.get("ROUNDS", "10"))
PATIENCE = 120.5
"""Seconds that a scrape may take; Docker's stats are slow."""


class Cost(NamedTuple):
    """Of one scrape: seconds that passed, seconds of CPU time, and requests to the engine."""

    wall: float
    exporter: float
    engine: float
    requests: int


def main() -> int:
    """Measure, print a table and write it down."""
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
        memories = [memory(exporter.process.pid) for exporter in exporters.values()]
        asked = _asked(engine, exporters["cgroup"])
        versions = {"Docker": engine.get("/version")["Version"], "Plimsoll": __version__}
    _report(costs, memories, asked, versions)
    return 0


def _exporter(engine: Engine, folder: Path, host_root: str) -> AbstractContextManager[Serving]:
    folder.mkdir()
    settings = {"name": "local", "docker_host": engine.host, "host_root": host_root, "timeout": "2m"}
    return serving({"containers": [settings]}, folder, "--scrape.timeout=2m")


def _measure(engine: Engine, exporter: Serving, source: str) -> Cost:
    of_engine = [engine.pid, *children(engine.pid)]
    requests, exporters, engines = (
        _requests(engine),
        cpu_seconds([exporter.process.pid]),
        cpu_seconds(of_engine),
    )
    began = time.monotonic()
    status, page = exporter.fetch("/metrics", timeout=PATIENCE)
    cost = Cost(
        time.monotonic() - began,
        cpu_seconds([exporter.process.pid]) - exporters,
        cpu_seconds(of_engine) - engines,
        _requests(engine) - requests,
    )
    assert status == 200
    samples = Samples(page)
    assert samples.get("plimsoll_containers_measured", source=source) == CONTAINERS, source
    assert samples.get("plimsoll_collector_success", collector="usage") == 1
    return cost


def _requests(engine: Engine) -> int:
    return engine.log.read_text(errors="replace").count("Calling GET")


def _asked(engine: Engine, exporter: Serving) -> list[probing.Asked]:
    """Scrape an exporter while somebody asks for its health, which is not while its costs are measured."""
    windows: list[Window] = []
    with probing.probing(exporter.url) as probe:
        for _ in range(ROUNDS):
            began = time.monotonic()
            _measure(engine, exporter, "cgroup")
            windows.append(Window(began, time.monotonic()))
    return probe.during(windows)


def _report(
    costs: dict[str, list[Cost]], memories: list[Memory], asked: list[probing.Asked], versions: dict[str, str]
) -> None:
    medians = (list(map(statistics.median, zip(*rounds, strict=True))) for rounds in costs.values())
    names = ("latency, s", "CPU of Plimsoll, s", "CPU of the engine, s", "requests to the engine")
    rows = [
        Row(name, (files, stats), ratio=quotient(stats, files))
        for name, files, stats in zip(names, *medians, strict=True)
    ]
    rows.append(Row("resident memory, peak", [one.peak for one in memories], "MiB"))
    rows += [Row(row.name, (*row.figures, None), row.unit) for row in probing.rows(asked)]
    caption = f"{CONTAINERS} containers, median of {ROUNDS} scrapes each:"
    table = Table(caption, ("cgroup files", "stats API"), rows, "stats API : cgroup files")
    report("containers", "Containers", [table], versions)


if __name__ == "__main__":
    sys.exit(main())
