"""Asks an exporter for its health two hundred times a second: what it keeps waiting tells what blocks it.

A process of its own does it, so that it does not wait for this one. It also notes how much later it woke up
than it had asked for: on a busy machine that is no smaller, and tells noise from blocking.
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
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.reporting import Row, percentile
from bench.scraping import Window

EVERY = 0.005
"""Seconds from one question to the next, unless an answer takes longer."""


class Asked(NamedTuple):
    """One question: when, how many seconds until the answer, and how much too late it was put."""

    at: float
    seconds: float
    overslept: float


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
        probe.asked = list(map(Asked._make, zip(*(noted[part::3] for part in range(3)), strict=True)))
    finally:
        process.kill()
        process.wait()


def rows(asked: Sequence[Asked]) -> list[Row]:
    """Write what was found for a table."""
    answers = [one.seconds * 1e3 for one in asked]
    late = [one.overslept * 1e3 for one in asked]
    return [
        Row("health check meanwhile, median", [percentile(answers, 50)], "ms"),
        Row("health check meanwhile, p99", [percentile(answers, 99)], "ms"),
        Row("health check meanwhile, longest", [max(answers)], "ms"),
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
        now = time.monotonic()
        noted.extend((now, _seconds(connection), max(0.0, now - due)))
        due = max(due + EVERY, time.monotonic())
    noted.tofile(sys.stdout.buffer)


def _seconds(connection: HTTPConnection) -> float:
    began = time.monotonic()
    connection.request("GET", "/-/healthy")
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return time.monotonic() - began


if __name__ == "__main__":
    main(sys.argv[1])
