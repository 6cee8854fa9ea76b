"""Programs that listen on 127.0.0.1: on their usual port where that is free, else on another."""

from __future__ import annotations

import contextlib
import http
import http.client
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Listener:
    """A program that listens on 127.0.0.1, and answers when it is asked whether it is ready.

    Args:
        name: what to call it.
        command: gives the command for a port; called again with another port when one was taken.
        log: the file for what it prints.
        announcement: what it logs once it listens: whatever else answers on a port is not ours.
        cwd: the folder that it runs in; ours without it.
        env: its environment; ours without it.
        ready: the path that it answers once it is ready.
        patience: seconds in which it has to get ready.
    """

    name: str
    command: Callable[[int], Command]
    log: Path
    announcement: str
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    ready: str = "/-/ready"
    patience: float = 30.0

    @contextlib.contextmanager
    def running(self, port: int) -> Iterator[Service]:
        """Run it until it is ready, give it, and end it.

        Args:
            port: where it listens, if nobody else does; 0 leaves the choice to the system.

        Raises:
            ProcessError: it ended, or did not get ready.
        """
        service = self._start(port)
        try:
            yield service
        finally:
            processes.end(service.process)

    def _start(self, preferred: int) -> Service:
        """Start it; between asking for a free port and listening there, another program may take it."""
        for _ in range(_ATTEMPTS):
            try:
                return self._launch(free_port(preferred))
            except ProcessError as error:
                if _TAKEN not in str(error).lower():
                    raise
                self.log.unlink()
        return self._launch(free_port())

    def _launch(self, port: int) -> Service:
        url = f"http://{LOOPBACK}:{port}"
        process = processes.spawn(self.command(port), log=self.log, cwd=self.cwd, env=self.env)

        def is_ready() -> bool:
            return self.announcement in self.log.read_text(errors="replace") and _answers(url + self.ready)

        what = f"starting {self.name}"
        try:
            processes.wait_until(is_ready, what=what, timeout=self.patience, process=process, log=self.log)
        except BaseException:
            processes.end(process)
            raise
        return Service(self.name, url, process, self.log)


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens there, else a port that the system chooses."""
    with contextlib.suppress(OSError), socket.create_server((LOOPBACK, preferred)) as listener:
        return int(listener.getsockname()[1])
    return processes.free_port(LOOPBACK)


def _answers(url: str) -> bool:
    try:
        fetch(url)
    except (OSError, http.client.HTTPException):
        return False
    return True


def fetch(url: str, timeout: float = 15.0, *, method: str = "GET") -> str:
    """Ask a server on this machine, whatever proxy the environment names, and give its answer.

    Raises:
        OSError: it cannot be reached, or its answer is no success.
    """
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=timeout)) as connection:
        connection.request(method, parts._replace(scheme="", netloc="").geturl())
        response = connection.getresponse()
        body = response.read().decode()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"{url} answers {response.status}: {body}")
    return body
