"""Tries a container engine: whether it answers, lets us listen, and where usage can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from plimsoll.serve.check.finding import Finding
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources.docker import EngineError
from plimsoll.serve.targets.containers import EngineTarget


async def try_engine(settings: EngineSettings) -> AsyncIterator[Finding]:
    """Collect once as `serve` would, and tell what came of it."""
    target = EngineTarget(settings)
    state, name = target.state, settings.name
    try:
        await state.engine.get("/containers/json")
    except EngineError as error:
        yield Finding(name, good=False, message=str(error))
        await target.stop()
        return
    kind = "Podman" if state.engine.is_podman else "Docker"
    try:
        await target.collect()
        known = target.known()
        living = [container for container in known.containers if container.is_living]
        yield Finding(
            name,
            good=True,
            message=f"{kind}, API {state.engine.version}; containers: {len(known.containers)}, "
            f"of which running: {len(living)}",
        )
        for job in target.jobs():
            if job.complaint:
                yield Finding(name, good=False, message=job.complaint)
        if state.events.is_refused:
            message = "events are refused: orders to stop and kills inside containers will be missed"
            yield Finding(name, good=False, message=message)
        if known.machine and known.machine.cores is None:
            message = "/info is refused: percentages of the host's processors will be missing"
            yield Finding(name, good=False, message=message)
        from_files = sum(measured.source == "cgroup" for measured in known.measured.values())
        if living:
            rest = "" if from_files == len(living) else "; the slower stats API serves the others"
            found = f"cgroup files of {from_files} of {len(living)} running containers can be read{rest}"
            yield Finding(name, good=True, message=found)
    finally:
        await target.stop()
