"""What each running container has used: CPU, memory, I/O, network and pressure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page, present, with_label
from plimsoll.serve.sources import answers
from plimsoll.serve.sources.answers import Details
from plimsoll.serve.sources.cgroup import Cgroups, Wanted
from plimsoll.serve.sources.docker import EngineError, RefusedError
from plimsoll.serve.sources.usage import Usage
from plimsoll.serve.state.containers import CONTAINER, EngineState, Measured

_INTERFACE = (*CONTAINER, "interface")
_DEVICE = (*CONTAINER, "device")
_SOURCES = ("cgroup", "stats", "none")

CPU = Family(
    "container_cpu_usage_seconds_total", "counter", "CPU time used, in seconds.", (*CONTAINER, "cpu")
)
MEASURED = Family(
    "plimsoll_containers_measured",
    "gauge",
    "Running containers by who said what they use: cgroup files, the engine's stats API, or none.",
    ("engine", "source"),
)
OF_EACH: tuple[tuple[Family, Callable[[Usage], float | None]], ...] = (
    (
        Family(
            "container_cpu_user_seconds_total", "counter", "CPU time in user mode, in seconds.", CONTAINER
        ),
        lambda usage: usage.cpu_user_seconds,
    ),
    (
        Family(
            "container_cpu_system_seconds_total", "counter", "CPU time in the kernel, in seconds.", CONTAINER
        ),
        lambda usage: usage.cpu_system_seconds,
    ),
    (
        Family("container_memory_usage_bytes", "gauge", "Memory used, with the page cache.", CONTAINER),
        lambda usage: usage.memory_usage,
    ),
    (
        Family(
            "container_memory_working_set_bytes",
            "gauge",
            "Memory used, without file pages that were not touched lately.",
            CONTAINER,
        ),
        lambda usage: usage.memory_working_set,
    ),
    (
        Family("container_memory_rss", "gauge", "Anonymous memory, in bytes.", CONTAINER),
        lambda usage: usage.memory_rss,
    ),
    (
        Family("container_memory_cache", "gauge", "Page cache, in bytes.", CONTAINER),
        lambda usage: usage.memory_cache,
    ),
    (
        Family("container_memory_swap", "gauge", "Swap used, in bytes.", CONTAINER),
        lambda usage: usage.memory_swap,
    ),
    (
        Family("container_memory_failcnt", "unknown", "How often the limit of memory was hit.", CONTAINER),
        lambda usage: usage.memory_failcnt,
    ),
    (
        Family("container_processes", "gauge", "Processes in it.", CONTAINER),
        lambda usage: usage.processes,
    ),
    (
        Family("container_threads", "gauge", "Threads of all its processes.", CONTAINER),
        lambda usage: usage.threads,
    ),
)
OF_LIMITED: tuple[tuple[Family, Callable[[Usage], float | None]], ...] = (
    (
        Family(
            "container_cpu_cfs_periods_total",
            "counter",
            "Periods in which its limit of CPU time was in force; with a limit only.",
            CONTAINER,
        ),
        lambda usage: usage.cfs_periods,
    ),
    (
        Family(
            "container_cpu_cfs_throttled_periods_total",
            "counter",
            "Periods in which it was held back; with a limit only.",
            CONTAINER,
        ),
        lambda usage: usage.cfs_throttled_periods,
    ),
    (
        Family(
            "container_cpu_cfs_throttled_seconds_total",
            "counter",
            "For how long its threads were held back, in seconds; with a limit only.",
            CONTAINER,
        ),
        lambda usage: usage.cfs_throttled_seconds,
    ),
)
OF_DEVICES: tuple[tuple[Family, Callable[[Usage], Mapping[str, int]]], ...] = (
    (
        Family("container_fs_reads_bytes_total", "counter", "Bytes read from the device.", _DEVICE),
        lambda usage: usage.read_bytes,
    ),
    (
        Family("container_fs_writes_bytes_total", "counter", "Bytes written to the device.", _DEVICE),
        lambda usage: usage.written_bytes,
    ),
)
OF_INTERFACES = (
    Family("container_network_receive_bytes_total", "counter", "Bytes received.", _INTERFACE),
    Family("container_network_receive_packets_total", "counter", "Packets received.", _INTERFACE),
    Family("container_network_receive_errors_total", "counter", "Errors while receiving.", _INTERFACE),
    Family(
        "container_network_receive_packets_dropped_total",
        "counter",
        "Packets dropped on arrival.",
        _INTERFACE,
    ),
    Family("container_network_transmit_bytes_total", "counter", "Bytes sent.", _INTERFACE),
    Family("container_network_transmit_packets_total", "counter", "Packets sent.", _INTERFACE),
    Family("container_network_transmit_errors_total", "counter", "Errors while sending.", _INTERFACE),
    Family(
        "container_network_transmit_packets_dropped_total",
        "counter",
        "Packets dropped on departure.",
        _INTERFACE,
    ),
)
"""In the order of the fields of `Traffic`."""
OF_PRESSURE = {
    "cpu": (
        Family(
            "container_pressure_cpu_waiting_seconds_total",
            "counter",
            "Some of it waited for a CPU.",
            CONTAINER,
        ),
        Family(
            "container_pressure_cpu_stalled_seconds_total",
            "counter",
            "All of it waited for a CPU.",
            CONTAINER,
        ),
    ),
    "memory": (
        Family(
            "container_pressure_memory_waiting_seconds_total",
            "counter",
            "Some of it waited for memory.",
            CONTAINER,
        ),
        Family(
            "container_pressure_memory_stalled_seconds_total",
            "counter",
            "All of it waited for memory.",
            CONTAINER,
        ),
    ),
    "io": (
        Family(
            "container_pressure_io_waiting_seconds_total", "counter", "Some of it waited for I/O.", CONTAINER
        ),
        Family(
            "container_pressure_io_stalled_seconds_total", "counter", "All of it waited for I/O.", CONTAINER
        ),
    ),
}


class UsageCollector:
    """Reads cgroup files, and asks the engine's stats API for containers whose files cannot be read."""

    name: ClassVar[str] = "usage"
    families: ClassVar[tuple[Family, ...]] = (
        CPU,
        *(family for family, _ in (*OF_EACH, *OF_LIMITED)),
        *(family for family, _ in OF_DEVICES),
        *OF_INTERFACES,
        *(family for families in OF_PRESSURE.values() for family in families),
        MEASURED,
    )

    def __init__(self, state: EngineState) -> None:
        self._state = state
        labels = state.settings.target_labels
        self._cgroups = Cgroups(state.settings.host_root)
        self._source_labels = LabelTemplate(labels, ("source",))
        self._job = Job(self.name, state.settings.name, labels, 0, self._measure)

    def jobs(self) -> Iterable[Job]:
        """Give the measuring of all containers."""
        return (self._job,)

    async def _measure(self) -> None:
        living = self._state.inventory.living()
        former = self._state.measured
        self._state.measured = measured = {}
        wanted = [self._wanted(details) for details in living]
        read_at = time.time()
        for identity, usage in (await asyncio.to_thread(self._cgroups.read, wanted)).items():
            measured[identity] = Measured(usage, "cgroup", time.monotonic())
            if usage.oom_kills is not None:
                self._state.inventory.saw_kills(identity, usage.oom_kills, read_at)
        without_files = [details for details in living if details.id not in measured]
        # Who was answered longest ago goes first, so that a slow engine gets round to everyone.
        without_files.sort(key=lambda details: former[details.id].at if details.id in former else 0)
        failures = await asyncio.gather(*map(self._ask, without_files))
        if reasons := sorted({failure for failure in failures if failure}):
            failed = len([failure for failure in failures if failure])
            raise EngineError(f"{failed} of {len(living)} containers gave no usage: {', '.join(reasons[:3])}")

    def _wanted(self, details: Details) -> Wanted:
        return Wanted(
            details.id, self._state.cgroup(details), details.pid, network=not details.shares_network
        )

    async def _ask(self, details: Details) -> str | None:
        """Ask the engine about one container; give why it does not tell, if the container is still there."""
        query = {"stream": "false", "one-shot": "true"}
        try:
            usage = answers.usage(await self._state.engine.get(f"/containers/{details.id}/stats", **query))
        except RefusedError as error:
            return None if error.status in (404, 409) else str(error)
        except EngineError as error:
            return str(error)
        if usage is None:
            return None
        if self._state.engine.is_podman:
            usage = answers.believed_of_podman(usage)
        if details.shares_network:
            usage = replace(usage, network={})  # it is told of whom it shares with
        self._state.measured[details.id] = Measured(usage, "stats", time.monotonic())
        return None

    def emit(self, page: Page, known: EngineState) -> None:
        """Publish what was measured during this scrape."""
        living = [container.details for container in known.containers if container.is_living]
        found = [(details, known.measured[details.id]) for details in living if details.id in known.measured]
        labelled = [(known.labels(details), details, measured.usage) for details, measured in found]
        usages = [(labels, usage) for labels, _, usage in labelled]
        limited = [(labels, usage) for labels, details, usage in labelled if details.cpu_quota > 0]
        page.add(
            CPU, present((with_label(labels, "cpu", "total"), usage.cpu_seconds) for labels, usage in usages)
        )
        for family, value in OF_EACH:
            page.add(family, present((labels, value(usage)) for labels, usage in usages))
        for family, value in OF_LIMITED:
            page.add(family, present((labels, value(usage)) for labels, usage in limited))
        for family, by_device in OF_DEVICES:
            page.add(family, _each("device", ((labels, by_device(usage)) for labels, usage in usages)))
        for index, family in enumerate(OF_INTERFACES):
            counters = ((labels, _column(usage.network, index)) for labels, usage in usages)
            page.add(family, _each("interface", counters))
        for resource, families in OF_PRESSURE.items():
            under = [
                (labels, usage.pressure[resource]) for labels, usage in usages if resource in usage.pressure
            ]
            for index, family in enumerate(families):
                page.add(family, present((labels, pressure[index]) for labels, pressure in under))
        if known.machine is not None:
            sources: Counter[str] = Counter(measured.source for _, measured in found)
            sources["none"] = len(living) - len(found)
            page.add(MEASURED, [(self._source_labels(source), sources[source]) for source in _SOURCES])


def _column(traffic: Mapping[str, tuple[int, ...]], index: int) -> Mapping[str, int]:
    return {interface: counters[index] for interface, counters in traffic.items()}


def _each(name: str, values: Iterable[tuple[str, Mapping[str, int]]]) -> Iterator[tuple[str, float]]:
    return (
        (with_label(labels, name, key), count) for labels, counts in values for key, count in counts.items()
    )
