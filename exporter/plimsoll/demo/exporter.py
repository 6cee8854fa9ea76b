"""The exporter as the demo runs it: a process of its own, on a configuration file."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from plimsoll.demo import processes
from plimsoll.demo.service import LOOPBACK, Listener, Service

# Not from the current folder (-P), for its files may be named like our modules. It stays the current one
# nevertheless: a connection string may hold relative paths.
PYTHON = (sys.executable, "-P", "-m")


def write_configuration(
    directory: Path, servers: Mapping[str, str], docker_host: str | None = None, **settings: Any
) -> Path:
    """Write plimsoll.yml for servers, given as DSN by name, which share `settings`, and an engine.

    Each DSN stands in a file that only we can read. Gives the path of plimsoll.yml.
    """
    entries = []
    for number, (name, dsn) in enumerate(servers.items()):
        secret = processes.write_private(directory / f"dsn-{number}", dsn)
        entries.append({"name": name, "dsn_file": secret, **settings})
    sections: dict[str, Any] = {}
    if entries:
        sections["postgres"] = {"servers": entries}
    if docker_host:
        sections["containers"] = [{"name": "local", "docker_host": docker_host}]
    path = configuration_file(directory)
    path.write_text(yaml.safe_dump(sections, sort_keys=False), "utf-8")
    return path


def configuration_file(directory: Path) -> Path:
    """Return where plimsoll.yml stands."""
    return directory / "plimsoll.yml"


def check(configuration: Path) -> tuple[bool, list[str]]:
    """Run `plimsoll check --connect`; give whether all is good, and what it found, line by line."""
    command = [*PYTHON, "plimsoll", "check", "--connect", f"--config.file={configuration}"]
    done = subprocess.run(  # noqa: S603  (the command is ours)
        processes.command_line(command), capture_output=True, encoding="utf-8", check=False
    )
    said = (done.stdout + done.stderr).splitlines()
    return done.returncode == 0, [line for line in said if not line.startswith(f"{configuration}: ")]


def serving(
    configuration: Path, directory: Path, *, port: int = 0
) -> contextlib.AbstractContextManager[Service]:
    """Run `plimsoll serve`."""

    def command(port: int) -> list[str]:
        address = f"--web.listen-address={LOOPBACK}:{port}"
        return [*PYTHON, "plimsoll", "serve", f"--config.file={configuration}", address]

    log = directory / "exporter.log"
    return Listener("the exporter", command, log, announcement="msg=listening").running(port)
