"""Starts the real Prometheus on whatever configuration a test has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from plimsoll.demo import debian
from plimsoll.demo.service import LOOPBACK, Command, Listener, Service
from support import require_program

LIFECYCLE = "--web.enable-lifecycle"


def run_prometheus(
    directory: Path, configuration: Mapping[str, Any], *flags: str, port: int = 0
) -> AbstractContextManager[Service]:
    """Run Prometheus, whose configuration and log stand in `directory`; `flags` say where it stores."""
    program = Path(require_program("prometheus"))
    pages = debian.prometheus_pages(program)
    directory.mkdir(exist_ok=True)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))

    def command(port: int) -> Command:
        return [
            program,
            f"--config.file={file}",
            f"--web.listen-address={LOOPBACK}:{port}",
            *([f"--web.local-assets={pages}"] if pages else []),
            *flags,
        ]

    announcement = "Server is ready to receive web requests"
    return Listener("Prometheus", command, directory / "prometheus.log", announcement).running(port)
