"""Asks an exporter for its health two hundred times a second: what it keeps waiting tells what blocks it.

A process of its own does it, so that it does not wait for this one. Two controls tell noise from blocking:
how much later it woke up than it had asked for, and whether the host of a virtual machine took processor time
for others meanwhile, when everything stands still.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.reporting import Row, percentile
from bench.scraping import Window

EVERY = 0.005
"""Seconds from one question to the next, unless an answer takes longer."""

_SETTLED = 2
"""So many questions later, what the host took during one is counted: that is done at ticks of the clock."""


class Asked(NamedTuple):
    """One question: when, how many seconds until the answer, and how much too late it was put."""

    at: float
    seconds: float
    overslept: float
    stolen: float
    """Seconds of processor time that the host took for others meanwhile, or just after."""


class Probe:
    """What the process that asks has noted; complete once it has ended."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def during(self, windows: Sequence[Window]) -> list[Asked]:
        """Give the questions that waited for an answer at some time in the windows."""
        return [
            asked
            for asked in self.asked
            if any(asked.at < window.ended and asked.at + asked.seconds > window.began for window in windows)
        ]


@contextlib.contextmanager
def probing(url: str) -> Iterator[Probe]:
    """Ask the exporter at `url` all the time."""
    command = [sys.executable, "-m", "bench.probing", url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    probe = Probe()
    try:
        assert process.stdout is not None
        assert process.stdout.readline()  # it has had an answer
        yield probe
        noted = array("d")
        noted.frombytes(process.communicate(timeout=30)[0])
        probe.asked = list(_asked(noted))
    finally:
        process.kill()
        process.wait()


def _asked(noted: Sequence[float]) -> Iterator[Asked]:
    """Make sense of what was noted; the last questions, of which not all is known, are left out."""
    parts = [noted[part::4] for part in range(4)]
    stolen = parts.pop()
    for at, seconds, overslept, before, after in zip(*parts, stolen, stolen[_SETTLED:], strict=False):
        yield Asked(at, seconds, overslept, after - before)


def rows(asked: Sequence[Asked]) -> list[Row]:
    """Write what was found for a table."""
    answers = [one.seconds * 1e3 for one in asked]
    undisturbed = [one.seconds * 1e3 for one in asked if not one.stolen]
    longest = max(undisturbed, default=None)
    late = [one.overslept * 1e3 for one in asked]
    return [
        Row("health check meanwhile, median", [percentile(answers, 50)], "ms"),
        Row("health check meanwhile, p99", [percentile(answers, 99)], "ms"),
        Row("health check meanwhile, longest", [max(answers)], "ms"),
        Row("health check meanwhile, longest while the host stole no time", [longest], "ms"),
        Row("control: health checks while it stole time", [100 - 100 * len(undisturbed) / len(asked)], "%"),
        Row("control: the asking process itself woke too late, p99", [percentile(late, 99)], "ms"),
        Row("control: the asking process itself woke too late, longest", [max(late)], "ms"),
    ]


def main(url: str) -> None:
    """Ask until standard input ends, and then tell."""
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # it is little that we do, and it should not wait for what is measured
    address = urlsplit(url)
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    _seconds(connection)
    print(flush=True)
    noted = array("d")
    due = time.monotonic() + EVERY
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        stolen = _stolen()
        now = time.monotonic()
        noted.extend((now, _seconds(connection), max(0.0, now - due), stolen))
        due = max(due + EVERY, time.monotonic())
    noted.tofile(sys.stdout.buffer)


def _seconds(connection: HTTPConnection) -> float:
    began = time.monotonic()
    connection.request("GET", "/-/healthy")
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return time.monotonic() - began


def _stolen() -> float:
    """Give the seconds of processor time that the host of this virtual machine has taken for others."""
    with Path("/proc/stat").open(encoding="ascii") as counters:
        return int(counters.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(sys.argv[1])
