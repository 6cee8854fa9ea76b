"""Programs that do not outlive us: start them, wait by condition, end them in bounded time."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

_TRAMPOLINE = Path(__file__).with_name("trampoline.py")

T = TypeVar("T")


class ProcessError(RuntimeError):
    """A program is missing, did not start, or ended too early; the text is fit to be printed."""


class User(NamedTuple):
    """Whom a program runs as, when we are root and it must not be."""

    uid: int
    gid: int


def command_line(
    command: Sequence[str | Path], *, user: User | None = None, death_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """Wrap a command so that it gets `death_signal` when the thread that starts it ends, even by SIGKILL.

    It is that thread, not its process, which Linux watches: start programs from the main thread.
    """
    # With -I and -S Python starts in some 10 ms and heeds no PYTHON* variable.
    python = [sys.executable, "-I", "-S", str(_TRAMPOLINE)]
    identity = f"{user.uid}:{user.gid}" if user else ""
    return [*python, str(int(death_signal)), str(os.getpid()), identity, *map(str, command)]


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with us, and append all that it prints to `log`.

    It gets a session of its own: a Ctrl-C at the terminal then reaches us alone, and we end things in order.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  (the command is ours)
            command_line(command, user=user, death_signal=death_signal),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


def end(
    process: subprocess.Popen[bytes],
    *,
    signals: Sequence[signal.Signals] = (signal.SIGTERM,),
    patience: float = 5.0,
) -> None:
    """End a program: each signal in turn gets `patience` seconds, then SIGKILL, which needs no consent."""
    if process.poll() is not None:
        return
    for number in (*signals, signal.SIGKILL):
        if process.poll() is not None:
            break
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # one that was stopped could not obey
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind, in the session of its own


def children(pid: int) -> list[int]:
    """Return the ids of the processes whose parent is `pid`."""
    everyone = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [other for other in everyone if _state_and_parent(other)[1] == str(pid)]


def alive(pid: int) -> bool:
    """Tell whether a process runs or could run; a zombie, which waits for its parent only, cannot."""
    return _state_and_parent(pid)[0] not in ("", "Z", "X")


def _state_and_parent(pid: int) -> tuple[str, str]:
    """Return the third and fourth field of proc(5)'s `stat`, empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", ""
    # The second field, the name, stands in parentheses and may hold anything, parentheses too.
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, parent


def wait_until(
    condition: Callable[[], T],
    *,
    what: str,
    timeout: float = 30.0,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> T:
    """Return the first true value of `condition`, which is asked some 50 times a second.

    Raises ProcessError, with the end of `log`, when `timeout` seconds pass or `process` ends before that.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if process is not None and process.poll() is not None:
            raise ProcessError(f"{what}: it ended with status {process.returncode}{_quotation(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{what}: not within {timeout:g} seconds{_quotation(log)}")
        time.sleep(0.02)
    return value


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log; nothing when there is none yet."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _quotation(log: Path | None) -> str:
    return f"; the end of {log}:\n{tail(log)}" if log else ""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on; somebody may before you do, so be ready to ask again."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


def write_private(file: Path, text: str) -> str:
    """Write a file that only we can read, and give its path as it stands in a configuration."""
    file.touch(mode=0o600)
    file.write_text(text, "utf-8")
    return str(file)


@contextlib.contextmanager
def workspace(prefix: str = "plimsoll-") -> Iterator[Path]:
    """Give a temporary directory that other users may pass through, though not list, unlike mkdtemp's own.

    A server that drops root needs that to reach its files below.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory
