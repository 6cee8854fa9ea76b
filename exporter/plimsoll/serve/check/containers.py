"""Tries a container engine: whether it answers, lets us listen, and where usage can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from plimsoll.config.finding import Finding
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources.docker import EngineError
from plimsoll.serve.targets.containers import EngineTarget


async def try_engine(settings: EngineSettings) -> AsyncIterator[Finding]:
    """Collect once as `serve` would, and tell what came of it."""
    target = EngineTarget(settings)
    try:
        await target.state.engine.get("/containers/json")
        await target.collect()
        for good, message in _findings(target):
            yield Finding(settings.name, good=good, message=message)
    except EngineError as error:
        yield Finding(settings.name, good=False, message=str(error))
    finally:
        await target.stop()


def _findings(target: EngineTarget) -> Iterator[tuple[bool, str]]:
    known = target.known()
    kind = "Podman" if known.engine.is_podman else "Docker"
    running = sum(container.is_living for container in known.containers)
    counted = f"containers: {len(known.containers)}, of which running: {running}"
    yield True, f"{kind}, API {known.engine.version}; {counted}"
    yield from ((False, job.complaint) for job in target.jobs() if job.complaint)
    if known.events.is_refused:
        yield False, "events are refused: orders to stop and kills inside containers will be missed"
    if known.machine and known.machine.cores is None:
        yield False, "/info is refused: percentages of the host's processors will be missing"
    if running:
        from_files = sum(measured.source == "cgroup" for measured in known.measured.values())
        rest = "" if from_files == running else "; the slower stats API serves the others"
        yield True, f"cgroup files of {from_files} of {running} running containers can be read{rest}"
