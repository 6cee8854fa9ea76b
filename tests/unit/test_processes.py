"""Programs are started, waited for and ended as promised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plimsoll.demo import processes
from plimsoll.demo.processes import ProcessError, spawn, wait_until

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(99)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_one_that_ignores_its_signal_is_killed(log: Path) -> None:
    process = spawn([sys.executable, "-c", STUBBORN], log=log)
    wait_until(lambda: processes.tail(log) == "deaf", what="starting", process=process, log=log)
    processes.end(process, patience=0.2)
    assert process.returncode == -signal.SIGKILL
    assert not processes.alive(process.pid)


def test_one_that_was_suspended_still_obeys(log: Path) -> None:
    process = spawn(["sleep", "99"], log=log)
    process.send_signal(signal.SIGSTOP)
    processes.end(process)
    assert process.returncode == -signal.SIGTERM


def test_what_it_started_ends_too(log: Path) -> None:
    process = spawn(["sh", "-c", "sleep 99 & echo $!; wait"], log=log)
    started = wait_until(lambda: processes.tail(log), what="starting", process=process, log=log)
    processes.end(process)
    wait_until(lambda: not processes.alive(int(started)), what="ending")


def test_what_ended_too_early_is_quoted(log: Path) -> None:
    process = spawn(["sh", "-c", "echo out of coal; exit 7"], log=log)
    with pytest.raises(
        ProcessError, match=rf"^boiler: it ended with status 7; the end of {log}:\nout of coal$"
    ):
        wait_until(lambda: False, what="boiler", process=process, log=log)


def test_what_takes_too_long_is_given_up() -> None:
    started = time.monotonic()
    with pytest.raises(ProcessError, match=r"^boiler: not within 0\.1 seconds$"):
        wait_until(lambda: False, what="boiler", timeout=0.1)
    assert time.monotonic() - started < 2


def test_a_missing_program_is_named(log: Path) -> None:
    process = spawn(["plimsoll-no-such-program"], log=log)
    assert process.wait(10) == 1
    assert processes.tail(log) == "plimsoll-no-such-program: No such file or directory"


def test_a_program_starts_in_its_own_session(log: Path) -> None:
    process = spawn(["sleep", "99"], log=log)
    try:
        assert os.getsid(process.pid) == process.pid
        assert process.pid in processes.children(os.getpid())
    finally:
        processes.end(process)


def test_a_program_started_after_its_parent_ended_does_not_start(tmp_path: Path) -> None:
    """The parent may end between fork and the request for a death signal, which would then never come."""
    command = processes.command_line(["touch", tmp_path / "started"])
    command[command.index(str(os.getpid()))] = "1"  # the parent that it looks for, and does not have
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "the parent ended before its program started\n"
    assert not (tmp_path / "started").exists()


def test_no_log_has_no_end(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none") == ""
