"""Programs that listen on 127.0.0.1: on their usual port where that is free, else on another."""

from __future__ import annotations

import contextlib
import http
import http.client
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from plimsoll.demo import processes
from plimsoll.demo.processes import ProcessError

LOOPBACK = "127.0.0.1"

_ATTEMPTS = 5
_TAKEN = "address already in use"

Command = Sequence[str | Path]


class Part(NamedTuple):
    """A process of the stack: what to call it, and where it says why it ended."""

    name: str
    pid: int
    log: Path


class Service(NamedTuple):
    """A program that runs, and where it is reached."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        """Host and port, as a scrape target is written."""
        return urlsplit(self.url).netloc

    @property
    def part(self) -> Part:
        """What to watch."""
        return Part(self.name, self.process.pid, self.log)


@contextlib.contextmanager
def listening(
    name: str, command: Callable[[int], Command], *, port: int, log: Path, announcement: str
) -> Iterator[Service]:
    """Run a program until it answers /-/ready, give it, and end it.

    Args:
        name: what to call it.
        command: gives the command for a port; called again for another port when one was taken.
        port: the port that is tried first; 0 leaves the choice to the system.
        log: the file for what it prints.
        announcement: what it logs once it listens. Whatever else answers on a port is not ours.

    Raises:
        ProcessError: it ended, or did not get ready.
    """
    service = _start(name, command, port, log, announcement)
    try:
        yield service
    finally:
        processes.end(service.process)


def _start(
    name: str, command: Callable[[int], Command], preferred: int, log: Path, announcement: str
) -> Service:
    """Start it; between asking for a free port and listening there, another program may take it."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        port = free_port(preferred)
        try:
            return _launch(name, command(port), f"http://{LOOPBACK}:{port}", log, announcement)
        except ProcessError as error:
            if not attempts_left or _TAKEN not in str(error).lower():
                raise
            log.unlink()
    raise AssertionError("the last attempt returns or raises")


def _launch(name: str, command: Command, url: str, log: Path, announcement: str) -> Service:
    process = processes.spawn(command, log=log)

    def is_ready() -> bool:
        return announcement in log.read_text(errors="replace") and _answers(url)

    try:
        processes.wait_until(is_ready, what=f"starting {name}", process=process, log=log)
    except BaseException:
        processes.end(process)
        raise
    return Service(name, url, process, log)


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens there, else a port that the system chooses."""
    with contextlib.suppress(OSError), socket.create_server((LOOPBACK, preferred)) as listener:
        return int(listener.getsockname()[1])
    return processes.free_port(LOOPBACK)


def _answers(url: str) -> bool:
    try:
        fetch(f"{url}/-/ready")
    except (OSError, http.client.HTTPException):
        return False
    return True


def fetch(url: str, timeout: float = 15.0) -> str:
    """Get a page from a server on this machine, whatever proxy the environment names.

    Raises:
        OSError: it cannot be reached, or its answer is no success.
    """
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=timeout)) as connection:
        connection.request("GET", parts._replace(scheme="", netloc="").geturl())
        response = connection.getresponse()
        body = response.read().decode()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"{url} answers {response.status}: {body}")
    return body
