"""Runs the real `plimsoll demo` for a test, and reads what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from plimsoll.demo.processes import children, workspace
from support import PATH
from waiting import eventually

UP = "Ctrl-C ends everything"
"""The last thing that it prints before notifications."""

PLIMSOLL = (sys.executable, "-m", "plimsoll")


@dataclass
class Demo:
    """A demo that runs, and what it has printed so far."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        eventually(lambda: text in self.text or self.process.poll() is not None, seconds)
        assert text in self.text, self.text

    def address(self, name: str) -> str:
        found = re.search(rf"^{name} +(http\S+)", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    def descendants(self) -> list[int]:
        """Give the processes that it has started, and those that these have."""
        found = children(self.process.pid)
        for pid in found:  # it grows meanwhile
            found += children(pid)
        return found

    def end(self, number: signal.Signals) -> int:
        """Send a signal and give the exit status."""
        self.process.send_signal(number)
        return self.process.wait(15)


@contextmanager
def demo(*arguments: str, path: str = PATH, plimsoll: Sequence[str | Path] = PLIMSOLL) -> Iterator[Demo]:
    """Run the demo with its temporary files in a folder of their own."""
    with workspace() as folder:
        process = subprocess.Popen(
            [*plimsoll, "demo", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": path, "TMPDIR": str(folder)},
        )
        running = Demo(process, folder)
        reader = threading.Thread(target=_read, args=(running,))
        reader.start()
        try:
            yield running
        finally:
            process.terminate()
            process.wait(30)
            reader.join()


def _read(running: Demo) -> None:
    assert running.process.stdout
    with running.process.stdout as stream:
        running.lines.extend(stream)
