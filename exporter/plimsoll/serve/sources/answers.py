"""What an engine answers, JSON to values; Docker's words, also where Podman says it in others.

Source: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from plimsoll.serve.sources.docker import EngineError
from plimsoll.serve.sources.usage import Traffic, Usage, is_of_container

LIVING = frozenset({"running", "paused"})
"""States in which a container has processes."""

_STATES = {
    "configured": "created",  # Podman's, as are those below
    "initialized": "created",
    "stopping": "running",
    "stopped": "exited",
}
_HEALTH = {"(healthy)": "healthy", "(unhealthy)": "unhealthy", "(health: starting)": "starting"}
_ACTIONS = {"died": "die", "remove": "destroy", "init": "create"}
_TRAFFIC = (
    *("rx_bytes", "rx_packets", "rx_errors", "rx_dropped"),
    *("tx_bytes", "tx_packets", "tx_errors", "tx_dropped"),
)


class Machine(NamedTuple):
    """The host of the engine, and who makes the cgroups of its containers: cgroupfs or systemd."""

    cores: int | None
    memory: int | None
    cgroup_driver: str


class Listed(NamedTuple):
    """What the list of containers says of one; `health` is None where it says nothing."""

    id: str
    name: str
    state: str
    health: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """What an inspection says of a container. Times are in seconds since the epoch, sizes in bytes."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: str
    health: str | None
    """starting, healthy, unhealthy, or None while it does not run or where it has no health check."""
    pid: int
    """Of its first process, as the host counts; 0 without one."""
    exit_code: int
    oom_killed: bool
    restart_count: int
    created_at: float | None
    started_at: float | None
    finished_at: float | None
    restart_policy: str
    auto_remove: bool
    network_mode: str
    cgroup_parent: str
    memory_limit: int
    memory_reservation: int
    cpu_shares: int
    cpu_quota: int
    cpu_period: int

    @property
    def shares_network(self) -> bool:
        """Whether its network is the host's or another container's, and so are the counters of that."""
        return self.network_mode == "host" or self.network_mode.startswith("container:")


class Event(NamedTuple):
    """Something that happened to a container; `exit_code` is known when it died."""

    id: str
    action: str
    exit_code: int | None
    nanoseconds: int
    """When, since the epoch, by the engine's clock."""

    @property
    def at(self) -> float:
        """When, in seconds since the epoch."""
        return self.nanoseconds / 1e9


def machine(answer: Any) -> Machine:
    """Read /info."""
    with _Reading("/info"):
        return Machine(int(answer["NCPU"]), int(answer["MemTotal"]), str(answer.get("CgroupDriver") or ""))


def listing(answer: Any) -> list[Listed]:
    """Read /containers/json."""
    with _Reading("/containers/json"):
        if not isinstance(answer, list):  # an empty object would say that there is no container
            raise TypeError("no list")
        return [
            Listed(
                str(entry["Id"]),
                _name(entry.get("Names") or ()),
                _state(entry["State"]),
                next((word for sign, word in _HEALTH.items() if sign in entry.get("Status", "")), None),
            )
            for entry in answer
        ]


def details(answer: Any) -> Details:
    """Read /containers/<id>/json."""
    with _Reading("/containers/<id>/json"):
        state, config, host = answer["State"], answer["Config"], answer["HostConfig"]
        period = int(host.get("CpuPeriod") or 100_000)
        return Details(
            id=str(answer["Id"]),
            name=_name([answer["Name"]]),
            image=str(config.get("Image") or ""),
            labels={name: str(value) for name, value in (config.get("Labels") or {}).items()},
            state=_state(state["Status"]),
            health=_health(state) if _state(state["Status"]) in LIVING else None,
            pid=int(state.get("Pid") or 0),
            exit_code=int(state.get("ExitCode") or 0),
            oom_killed=bool(state.get("OOMKilled")),
            restart_count=int(answer.get("RestartCount") or 0),
            created_at=_time(answer.get("Created")),
            started_at=_time(state.get("StartedAt")),
            finished_at=_time(state.get("FinishedAt")),
            restart_policy=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
            auto_remove=bool(host.get("AutoRemove")),
            network_mode=str(host.get("NetworkMode") or ""),
            cgroup_parent=str(host.get("CgroupParent") or ""),
            memory_limit=max(int(host.get("Memory") or 0), 0),
            memory_reservation=max(int(host.get("MemoryReservation") or 0), 0),
            cpu_shares=int(host.get("CpuShares") or 0),
            cpu_quota=int(host.get("NanoCpus") or 0) * period // 10**9 or int(host.get("CpuQuota") or 0),
            cpu_period=period,
        )


def event(line: Mapping[str, Any]) -> Event:
    """Read one line of /events."""
    with _Reading("/events"):
        actor = line["Actor"]
        attributes = actor.get("Attributes") or {}
        action = str(line["Action"]).partition(":")[0]
        code = attributes.get("exitCode", attributes.get("containerExitCode"))
        return Event(
            str(actor["ID"]),
            _ACTIONS.get(action, action),
            int(code) if code is not None else None,
            int(line.get("timeNano") or int(line["time"]) * 10**9),
        )


def usage(answer: Any) -> Usage | None:
    """Read /containers/<id>/stats, which knows no processes and no pressure; None for one that has ended."""
    with _Reading("/containers/<id>/stats"):
        if answer is None or _time(answer.get("read")) is None:
            return None
        cpu = answer.get("cpu_stats") or {}
        times, throttling = cpu.get("cpu_usage") or {}, cpu.get("throttling_data") or {}
        memory = answer.get("memory_stats") or {}
        parts = memory.get("stats") or {}
        used = _count(memory, "usage")
        inactive = _count(parts, "total_inactive_file", "inactive_file")
        return Usage(
            cpu_seconds=_seconds(times, "total_usage"),
            cpu_user_seconds=_seconds(times, "usage_in_usermode"),
            cpu_system_seconds=_seconds(times, "usage_in_kernelmode"),
            cfs_periods=_count(throttling, "periods"),
            cfs_throttled_periods=_count(throttling, "throttled_periods"),
            cfs_throttled_seconds=_seconds(throttling, "throttled_time"),
            memory_usage=used,
            memory_working_set=max(used - inactive, 0) if used is not None and inactive is not None else None,
            memory_rss=_count(parts, "total_rss", "anon"),
            memory_cache=_count(parts, "total_cache", "file"),
            memory_swap=_count(parts, "total_swap"),
            memory_failcnt=_count(memory, "failcnt"),
            threads=_count(answer.get("pids_stats") or {}, "current"),
            read_bytes=dict(_blocks(answer, "read")),
            written_bytes=dict(_blocks(answer, "write")),
            network={
                name: Traffic(*(int(counters[key]) for key in _TRAFFIC))
                for name, counters in (answer.get("networks") or {}).items()
                if is_of_container(name)
            },
        )


def believed_of_podman(usage: Usage) -> Usage:
    """Keep what Podman's stats say rightly.

    Podman 4.3 gives the time in the kernel in microseconds, and that in user mode too large; no throttling
    where there is some; what was received as sent; and the two numbers of a device in the wrong order.
    """
    return Usage(cpu_seconds=usage.cpu_seconds, memory_usage=usage.memory_usage, threads=usage.threads)


class _Reading:
    """Tells which answer was not what it should be, instead of how it could not be read."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind and issubclass(kind, (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)):
            raise EngineError(f"GET {self._path} was not answered as an engine would: {error!r}") from None


def _name(names: Iterable[str]) -> str:
    """Give the container's own name; those with two slashes are links to it."""
    return next((name.removeprefix("/") for name in names if name.count("/") < 2), "")


def _state(text: str) -> str:
    return _STATES.get(text.lower(), text.lower())


def _health(state: Mapping[str, Any]) -> str | None:
    status = (state.get("Health") or state.get("Healthcheck") or {}).get("Status")
    return status if status in _HEALTH.values() else None


def _time(text: str | None) -> float | None:
    """Read a moment, None for the year 1, which means never."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).timestamp()


def _seconds(values: Mapping[str, Any], name: str) -> float | None:
    nanoseconds = _count(values, name)
    return None if nanoseconds is None else nanoseconds / 1e9


def _count(values: Mapping[str, Any], *names: str) -> int | None:
    """Give the first of some counts that is there."""
    return next((int(values[name]) for name in names if values.get(name) is not None), None)


def _blocks(answer: Mapping[str, Any], wanted: str) -> Iterator[tuple[str, int]]:
    entries = (answer.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    for entry in entries:
        if entry["op"].lower() == wanted:
            yield f"{entry['major']}:{entry['minor']}", int(entry["value"])
