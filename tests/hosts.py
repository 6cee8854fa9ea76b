"""node_exporter and blackbox_exporter, and a service that is probed."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from plimsoll.demo import processes
from plimsoll.demo.service import LOOPBACK
from support import require_program

MODULES = Path(__file__).parent / "fixtures" / "blackbox.yml"

_LISTENING = re.compile(r'"Listening on" address=(\S+)')


class Exporter:
    """A program that is scraped, and may be ended and started again at the same address."""

    def __init__(self, name: str, directory: Path, *flags: str) -> None:
        self._command = [require_program(name), *flags]
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"{LOOPBACK}:0"
        """Host and port; the system chooses the port at the first start."""

    def __enter__(self) -> Exporter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._log.write_bytes(b"")
        command = [*self._command, f"--web.listen-address={self.address}"]
        self._process = processes.spawn(command, log=self._log)
        try:
            self.address = processes.wait_until(
                self._listening, what=f"starting {command[0]}", process=self._process, log=self._log
            )
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End it."""
        if self._process:
            processes.end(self._process)

    def _listening(self) -> str:
        found = _LISTENING.search(self._log.read_text())
        return found[1] if found else ""


def node_exporter(directory: Path, *collectors: str) -> Exporter:
    """Give a node_exporter with these collectors, which reads text files from the directory, *.prom."""
    directory.mkdir()
    chosen = (f"--collector.{name}" for name in collectors)
    text_files = f"--collector.textfile.directory={directory}"
    return Exporter("node_exporter", directory, "--collector.disable-defaults", *chosen, text_files)


def blackbox_exporter(directory: Path) -> Exporter:
    """Give a blackbox_exporter."""
    return Exporter("blackbox_exporter", directory, f"--config.file={MODULES}")


def probing(blackbox: Exporter, module: str) -> dict[str, Any]:
    """Give the part of a scrape configuration that has targets probed."""
    return {
        "metrics_path": "/probe",
        "params": {"module": [module]},
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": blackbox.address},
        ],
    }


def write_text_file(directory: Path, samples: Mapping[str, float]) -> None:
    """Let a node_exporter tell these samples, given by name and labels."""
    draft = directory / "draft"
    draft.write_text("".join(f"{name} {value}\n" for name, value in samples.items()))
    draft.rename(directory / "samples.prom")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class ClosedService:
    """A port of 127.0.0.1 that refuses connections, until it is opened and answers HTTP."""

    def __init__(self) -> None:
        self._server = HTTPServer((LOOPBACK, 0), _Handler, bind_and_activate=False)
        self._server.server_bind()  # without listening: nobody else can take the port
        self.address = f"{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})

    def __enter__(self) -> ClosedService:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def open(self) -> None:
        """Listen from now on."""
        self._server.server_activate()
        self._thread.start()
