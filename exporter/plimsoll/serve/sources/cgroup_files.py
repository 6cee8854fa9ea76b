"""What the kernel's files say about a container: text in, values out, and nothing of where the files are.

Whatever a text holds, no function here raises: a line that makes no sense is passed over, and what was not
understood is unknown. The files are described in the kernel's admin-guide: cgroup-v2, cgroup-v1, PSI.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from plimsoll.serve.sources.usage import Pressure, Traffic, Usage, is_of_container

Text = Callable[[str], str]
"""Gives the text of a container's cgroup file, by its name, such as memory.stat; "" if it cannot be read."""

Name = Callable[[str], str]
"""Gives the name of a block device, such as /dev/sda, by its numbers, such as 8:0."""

Bytes = dict[str, int]
"""Bytes by device."""

_CONTAINER = re.compile(r"(?!.*conmon)(?:.*[-:])?([0-9a-f]{64})(?:\.scope)?")
_ID_LENGTH = 64
_DEVICE = re.compile(r"[0-9]+:[0-9]+")
_STALL = re.compile(r"^(some|full) .*total=([0-9]{1,20})$", re.MULTILINE)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")  # USER_HZ, the unit of cpuacct.stat
_MICRO, _NANO = 1_000_000, 1_000_000_000
_COUNTERS_OF_INTERFACE = 16


def usage_v2(
    text: Text, *, name: Name, pids: Sequence[str] = (), network: Mapping[str, Traffic] | None = None
) -> Usage:
    """Read the files of cgroup v2, the unified hierarchy.

    Args:
        text: Gives the files.
        name: Gives names to devices.
        pids: The container's processes.
        network: What its interfaces have moved.
    """
    cpu, memory, events = text("cpu.stat"), text("memory.stat"), text("memory.events")
    # Of all counters, only these leave out what happens below; crun sets the limit on a cgroup of its own.
    cfs = cpu if entry(cpu, "nr_periods") else text("container/cpu.stat") or cpu
    in_use, threads = number(text("memory.current")), number(text("pids.current"))
    read, written = io_stat(text("io.stat"), name)
    return Usage(
        cpu_seconds=_seconds(entry(cpu, "usage_usec"), _MICRO),
        cpu_user_seconds=_seconds(entry(cpu, "user_usec"), _MICRO),
        cpu_system_seconds=_seconds(entry(cpu, "system_usec"), _MICRO),
        cfs_periods=entry(cfs, "nr_periods"),
        cfs_throttled_periods=entry(cfs, "nr_throttled"),
        cfs_throttled_seconds=_seconds(entry(cfs, "throttled_usec"), _MICRO),
        memory_usage=in_use,
        memory_working_set=_working_set(in_use, entry(memory, "inactive_file")),
        memory_rss=entry(memory, "anon"),
        memory_cache=entry(memory, "file"),
        memory_swap=number(text("memory.swap.current")),
        memory_failcnt=entry(events, "max"),
        oom_kills=entry(events, "oom_kill"),
        processes=_counted(pids, threads),
        threads=threads,
        read_bytes=read,
        written_bytes=written,
        network=network or {},
        pressure=_pressures(text),
    )


def usage_v1(
    text: Text, *, name: Name, pids: Sequence[str] = (), network: Mapping[str, Traffic] | None = None
) -> Usage:
    """Read the files of cgroup v1, and those of pressure, which v1 lacks, from v2 where a host has both.

    Args:
        text: Gives the files.
        name: Gives names to devices.
        pids: The container's processes.
        network: What its interfaces have moved.
    """
    ticks, cfs, memory = text("cpuacct.stat"), text("cpu.stat"), text("memory.stat")
    in_use, threads = number(text("memory.usage_in_bytes")), number(text("pids.current"))
    read, written = _blkio_that_counts(text, name)
    return Usage(
        cpu_seconds=_seconds(number(text("cpuacct.usage")), _NANO),
        cpu_user_seconds=_seconds(entry(ticks, "user"), _TICKS_PER_SECOND),
        cpu_system_seconds=_seconds(entry(ticks, "system"), _TICKS_PER_SECOND),
        cfs_periods=entry(cfs, "nr_periods"),
        cfs_throttled_periods=entry(cfs, "nr_throttled"),
        cfs_throttled_seconds=_seconds(entry(cfs, "throttled_time"), _NANO),
        memory_usage=in_use,
        memory_working_set=_working_set(in_use, entry(memory, "total_inactive_file")),
        memory_rss=entry(memory, "total_rss"),
        memory_cache=entry(memory, "total_cache"),
        memory_swap=entry(memory, "total_swap"),
        memory_failcnt=number(text("memory.failcnt")),
        oom_kills=entry(text("memory.oom_control"), "oom_kill"),
        processes=_counted(pids, threads),
        threads=threads,
        read_bytes=read,
        written_bytes=written,
        network=network or {},
        pressure=_pressures(text),
    )


def number(text: str) -> int | None:
    """Read a count, as the kernel writes it: decimal digits, perhaps with white space around."""
    digits = text.strip()
    # int() would take more than digits, and raise for thousands; 20 are enough for every counter of 64 bits.
    return int(digits) if digits.isdecimal() and len(digits) <= 20 else None


def entry(text: str, key: str) -> int | None:
    """Give the count on the line that begins with `key`, as in memory.stat."""
    return number(_line(text, key))


def pressure(text: str) -> Pressure | None:
    """Read cpu.pressure, memory.pressure or io.pressure."""
    totals = {kind: int(total) / _MICRO for kind, total in _STALL.findall(text)}
    return Pressure(totals["some"], totals.get("full")) if "some" in totals else None


def io_stat(text: str, name: Name) -> tuple[Bytes, Bytes]:
    """Read io.stat: what was read and what was written, by device.

    A device can stand there without any value, or without those that are wanted.
    """
    read: Bytes = {}
    written: Bytes = {}
    for device, values in _devices(text, name):
        counts = dict(value.partition("=")[::2] for value in values)
        _keep(read, device, counts.get("rbytes"))
        _keep(written, device, counts.get("wbytes"))
    return read, written


def blkio(text: str, name: Name) -> tuple[Bytes, Bytes]:
    """Read blkio.….io_service_bytes: what was read and what was written, by device."""
    read: Bytes = {}
    written: Bytes = {}
    for device, values in _devices(text, name):
        if len(values) == 2 and values[0] in ("Read", "Write"):
            _keep(read if values[0] == "Read" else written, device, values[1])
    return read, written


def interfaces(text: str) -> dict[str, Traffic]:
    """Read /proc/<pid>/net/dev: the counters of each interface of the container."""
    found = {}
    for line in text.split("\n"):
        name, _, rest = line.partition(":")
        values = rest.split()
        interface = name.strip()
        if not interface or not is_of_container(interface) or len(values) != _COUNTERS_OF_INTERFACE:
            continue
        # Receive: bytes packets errs drop fifo frame compressed multicast; transmit begins likewise.
        counts = [count for value in values[0:4] + values[8:12] if (count := number(value)) is not None]
        if len(counts) == len(Traffic._fields):
            found[interface] = Traffic(*counts)
    return found


def pids(text: str) -> list[str]:
    """Read cgroup.procs; a process that we may not see, being in a PID namespace of our own, is a 0 there."""
    return [pid for pid in text.split() if number(pid) is not None]


def device_name(text: str) -> str | None:
    """Read the uevent of a block device: its name below /dev."""
    key = "DEVNAME="
    names = [line.removeprefix(key) for line in text.split("\n") if line.startswith(key)]
    return names[0] or None if names else None


def container_of(name: str) -> str | None:
    """Give the id of the container that a cgroup directory of this name is made for.

    Engines name it <id>, <prefix>-<id> or <prefix>-<id>.scope. Podman's and CRI-O's monitor (conmon) has one
    with the id as well, which is not the container's.
    """
    if len(name) < _ID_LENGTH:  # as most are: the walk asks for each directory of the host
        return None
    match = _CONTAINER.fullmatch(name)
    return match[1] if match else None


def containers_of_process(text: str) -> set[str]:
    """Read /proc/<pid>/cgroup: the ids of the container that the process is in; if nested, the innermost.

    In all sane cases it is one or none: v1 has a line for each hierarchy, and they agree.
    """
    paths = {line.split(":", 2)[-1] for line in text.split("\n")}
    found = set()
    for path in paths:
        innermost = next(filter(None, map(container_of, reversed(path.split("/")))), None)
        if innermost is not None:
            found.add(innermost)
    return found


def _line(text: str, key: str) -> str:
    """Give what follows `key` on the line that begins with it."""
    # Much faster than to take the whole text apart: memory.stat has some fifty lines, of which three count.
    return f"\n{text}".partition(f"\n{key} ")[2].partition("\n")[0]


def _seconds(count: int | None, per_second: int) -> float | None:
    return None if count is None else count / per_second


def _working_set(in_use: int | None, inactive_file: int | None) -> int | None:
    """As cAdvisor and the kubelet have it; the two counts are not of the same moment."""
    return None if in_use is None or inactive_file is None else max(0, in_use - inactive_file)


def _counted(listed: Sequence[str], threads: int | None) -> int | None:
    """Give the number of processes; if none is listed, but there are threads, we are not shown them.

    That is v1, read from another PID namespace. v2 lists a 0 for each process instead.
    """
    return None if not listed and threads != 0 else len(listed)


def _pressures(text: Text) -> dict[str, Pressure]:
    read = {resource: pressure(text(f"{resource}.pressure")) for resource in ("cpu", "memory", "io")}
    return {resource: value for resource, value in read.items() if value is not None}


def _blkio_that_counts(text: Text, name: Name) -> tuple[Bytes, Bytes]:
    """Read what the throttling layer has counted, or else the scheduler BFQ; nothing if neither counts.

    The layer shows zeros while it does not count: it does not where no limit is set, in Linux 6.1 for one.
    """
    for layer in ("throttle", "bfq"):
        file = f"blkio.{layer}.io_service_bytes"
        # Without _recursive, which old kernels lack, what cgroups below the container's did is not counted.
        read, written = blkio(text(f"{file}_recursive") or text(file), name)
        if any(read.values()) or any(written.values()):
            return read, written
    return {}, {}


def _devices(text: str, name: Name) -> Iterator[tuple[str, list[str]]]:
    for line in text.split("\n"):
        numbers, *values = line.split() or [""]
        if values and _DEVICE.fullmatch(numbers):
            yield name(numbers), values


def _keep(counts: Bytes, device: str, value: str | None) -> None:
    if value is not None and (count := number(value)) is not None:
        counts[device] = count
