"""What a container has used, whoever was asked: the cgroup files or the engine's stats API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Traffic(NamedTuple):
    """What one network interface has moved, counted since it exists and seen from the container."""

    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_dropped: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_dropped: int


def is_of_container(interface: str) -> bool:
    """Say whether an interface counts: loopback does not, nor do those of containers inside."""
    return not interface.startswith(("lo", "veth", "docker", "nerdctl"))


class Pressure(NamedTuple):
    """For how long (seconds) processes had to wait for one resource: the totals of the kernel's PSI."""

    waiting: float
    """Some of them, called `some` by the kernel."""
    stalled: float | None
    """All of them at once, called `full`; None for the CPU before Linux 5.13, which does not tell."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container has used since it was started; None, or a missing key, is unknown."""

    cpu_seconds: float | None = None
    cpu_user_seconds: float | None = None
    cpu_system_seconds: float | None = None
    cfs_periods: int | None = None
    """Periods that the limit on CPU time was enforced for, and in how many of them it was reached."""
    cfs_throttled_periods: int | None = None
    cfs_throttled_seconds: float | None = None
    memory_usage: int | None = None
    """Bytes, now, as all of memory below; the page cache is part of the usage."""
    memory_working_set: int | None = None
    """The usage without file pages that were not touched lately: what an out-of-memory kill goes by."""
    memory_rss: int | None = None
    memory_cache: int | None = None
    memory_swap: int | None = None
    memory_failcnt: int | None = None
    """How often the usage hit the limit."""
    oom_kills: int | None = None
    """Processes that the kernel killed because the memory was used up."""
    processes: int | None = None
    """Now, in the container's cgroup and those below it."""
    threads: int | None = None
    """Now; a process has at least one."""
    read_bytes: Mapping[str, int] = field(default_factory=dict)
    """By device, such as /dev/sda."""
    written_bytes: Mapping[str, int] = field(default_factory=dict)
    network: Mapping[str, Traffic] = field(default_factory=dict)
    """By interface, such as eth0; never lo."""
    pressure: Mapping[str, Pressure] = field(default_factory=dict)
    """By resource: cpu, memory, io."""
