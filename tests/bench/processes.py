"""What processes have used: processor time and memory, from /proc."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from plimsoll.demo.processes import children

_TICK: int = os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Resident memory of a process in MiB."""

    now: float
    peak: float


def cpu_seconds(pids: Iterable[int]) -> float:
    """Add up the processor time of processes and all their threads; what is gone counts for nothing."""
    return sum(map(_exactly, pids))


def family_cpu_seconds(pid: int, without: Iterable[int] = ()) -> float:
    """Add up the processor time of a process and its children, those too that have ended."""
    while True:
        of_ended = _of_ended_children(pid)
        of_alive = cpu_seconds([pid, *(child for child in children(pid) if child not in without)])
        if of_ended == _of_ended_children(pid):  # else one may be counted twice, or not at all
            return of_ended + of_alive


def memory(pid: int) -> Memory:
    """Read how much memory is resident, and how much was at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE) for field in ("VmRSS", "VmHWM"))
    assert now is not None
    assert peak is not None
    return Memory(int(now[1]) / 1024, int(peak[1]) / 1024)


def private_memory(pids: Iterable[int]) -> float:
    """Add up the MiB that processes share with no other."""
    rollups = "\n".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(map(int, re.findall(r"^Private_\w+:\s+(\d+) kB$", rollups, re.MULTILINE))) / 1024


def _exactly(pid: int) -> float:
    """Read a process' own clock, whose number clock_getcpuclockid(3) makes of the process id like this."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def _of_ended_children(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICK
