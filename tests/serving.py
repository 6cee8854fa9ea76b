"""Runs the real `plimsoll serve` or `plimsoll relay` for a test, and reads what it publishes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

STARTED = "listening"
GRACE = 2.0
"""Seconds that a busy test machine may add; an exporter that hangs would add many more."""


class Samples:
    """The samples of one page."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def all(self, name: str, /, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Give the samples of `name` that carry at least `labels`, by their other labels."""
        return {
            frozenset(sample.labels.items() - labels.items()): sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def get(self, name: str, /, **labels: str) -> float | None:
        """Give the value of the one sample that carries `labels`, or None if there is none."""
        found = list(self.all(name, **labels).values())
        assert len(found) < 2, f"{name}{labels} is not one sample: {found}"
        return found[0] if found else None

    def tables(self, name: str = "pg_stat_user_tables_size_bytes", **labels: str) -> dict[str, float]:
        """Give a per-table family by table name."""
        return {dict(key)["relname"]: value for key, value in self.all(name, **labels).items()}


@dataclass
class Serving:
    """A running exporter, or relay."""

    process: subprocess.Popen[str]
    url: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)

    def scrape(self, timeout: float = 10.5) -> Samples:
        """Scrape as a Prometheus would that waits `timeout` seconds: the answer is 200, and in time."""
        started = time.monotonic()
        status, body = self.fetch("/metrics", timeout=timeout)
        assert time.monotonic() - started < timeout + GRACE
        assert status == 200
        return Samples(body)

    def fetch(self, path: str, *, method: str = "GET", timeout: float = 10.5) -> tuple[int, str]:
        """Ask for a page; gives status and body, of errors too."""
        announced = {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
        request = urllib.request.Request(self.url + path, method=method, headers=announced)
        try:
            with urllib.request.urlopen(request, timeout=timeout + 10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def messages(self, text: str) -> list[dict[str, Any]]:
        """Give the log lines whose message or error contains `text`."""
        return [line for line in self.log if text in line["msg"] or text in str(line.get("error", ""))]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)


@contextlib.contextmanager
def serving(
    config: Mapping[str, Any] | Path | None,
    directory: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    command: str = "serve",
) -> Iterator[Serving]:
    """Run an exporter on a port of the system's choice, `through` another program if need be, and end it.

    With `command="relay"` it is a relay.
    """
    line = [
        *through,
        sys.executable,
        "-m",
        "plimsoll",
        command,
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
    ]
    if config is not None:
        line.append(f"--config.file={_written(config, directory)}")
    process = subprocess.Popen(
        [*line, *flags], stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    running = Serving(process)
    started = threading.Event()
    reader = threading.Thread(target=_read_log, args=(running, started))
    reader.start()
    try:
        assert started.wait(30)
        assert running.url, f"did not start: {running.log}"
        yield running
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.wait()
            reader.join()


def _written(config: Mapping[str, Any] | Path, directory: Path) -> Path:
    if isinstance(config, Path):
        return config
    path = directory / "plimsoll.yml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True))
    return path


def _read_log(running: Serving, started: threading.Event) -> None:
    """Collect log lines, JSON's as their values and others as their text, and find the address in them."""
    assert running.process.stderr is not None
    with running.process.stderr as stream:
        for line in stream:
            running.log.append(json.loads(line) if line.startswith("{") else {"msg": line})
            if url := re.search(r"https?://[^\s\"]+", line) if STARTED in line else None:
                running.url = url[0]
                started.set()
    started.set()
