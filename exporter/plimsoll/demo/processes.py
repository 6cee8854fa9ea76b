"""Starting programs so that none outlives us, waiting for them by condition, and ending them in bounded time."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_TRAMPOLINE = Path(__file__).with_name("trampoline.py")


class ProcessError(RuntimeError):
    """A program could not be started, or ended when it should not have; the text is fit to be printed."""


class User(NamedTuple):
    """Whom a program runs as, when we are root and it must not be."""

    uid: int
    gid: int


def command_line(
    command: Sequence[str | Path], *, user: User | None = None, death_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """Wrap a command so that it gets `death_signal` when the thread that started it ends, even by SIGKILL.

    It is the thread, not the process, that Linux watches: start programs from the main thread.
    """
    # -I and -S make Python start in some 10 ms, and keep the caller's environment out of it.
    python = [sys.executable, "-I", "-S", str(_TRAMPOLINE)]
    identity = f"{user.uid}:{user.gid}" if user else ""
    return [*python, str(int(death_signal)), str(os.getpid()), identity, *map(str, command)]


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with us; all it prints is appended to `log`.

    It gets a session of its own, so a Ctrl-C at the terminal reaches us alone and we end programs in order.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command_line(command, user=user, death_signal=death_signal),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def wait_until[T](
    condition: Callable[[], T],
    *,
    what: str,
    timeout: float = 30.0,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> T:
    """Return the first true value of `condition`, asked about 50 times a second.

    Raises ProcessError, with the end of `log`, when `timeout` seconds pass or `process` ends before that.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if process is not None and process.poll() is not None:
            raise ProcessError(f"{what}: the program ended with status {process.returncode}{_quoted(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{what}: not after {timeout:g} seconds{_quoted(log)}")
        time.sleep(0.02)
    return value


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, or nothing when there is none yet."""
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
