"""Runs two of each as docs/scaling.md says: exporter, Prometheus, Alertmanager and relay on two machines.

Both machines are this one, so what listens on `a` and `b` in the documentation has ports of its own here.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from parts import Part
from plimsoll.alerts.rendering import render
from plimsoll.demo import exporter
from plimsoll.demo.service import LOOPBACK, Service, fetch, free_port
from programs import run_prometheus
from relaying import SECRET, TOKEN
from reloading import alertmanager, reload
from sending import QUIET, Inbox
from serving import Serving, serving
from victoria import block, changed

ALERT = "DatabaseSizeCritical"
WAITS = {"group_wait": "1s", "group_interval": "3s"}
"""The second Alertmanager waits for less; else what it was about to tell is old by then."""
HASTY = ["--cluster.gossip-interval=50ms", "--cluster.settle-timeout=1s", "--cluster.probe-interval=500ms"]
PATIENCE = "--cluster.peer-timeout=1500ms"
GRACE = "6s"
RESEND = "--rules.alert.resend-delay=1s"
TIMEOUT = 4.0
"""Seconds after which Alertmanager takes an alert for resolved that Prometheus sends no more."""

MACHINES = ("a", "b")
KINDS = ("exporter", "prometheus", "alertmanager", "relay")
PORTS = {"exporter": 9745, "prometheus": 9090, "alertmanager": 9093, "relay": 9746}


class Watched(NamedTuple):
    """What both watch and tell."""

    servers: Mapping[str, tuple[str, str]]
    """Connection string and database, by the server's name."""
    history: str
    webhook: str


@dataclass
class Machine:
    """One of the two."""

    name: str
    directory: Path
    parts: dict[str, Part[Any]]

    @property
    def alertmanager(self) -> Inbox:
        """Its Alertmanager, to be asked."""
        return Inbox(self.url("alertmanager"))

    def url(self, kind: str) -> str:
        """Say where a part of it is reached."""
        return str(self.parts[kind].now.url).rstrip("/")

    def firing(self) -> set[str]:
        """Name the servers for which its Prometheus finds that the alert fires."""
        found = json.loads(fetch(f"{self.url('prometheus')}/api/v1/alerts"))["data"]["alerts"]
        return _servers(alert for alert in found if alert["state"] == "firing")

    def listed(self) -> set[str]:
        """Name the servers for which its Alertmanager lists the alert."""
        return _servers(self.alertmanager.alerts())

    def forget(self) -> None:
        """Let its Prometheus, which does not run, come back with nothing.

        It judges by its last samples until it has scraped again: with so short a `for` as here, an alert
        that has ended since would fire once more.
        """
        shutil.rmtree(self.directory / "data")

    def measured(self) -> int:
        """Count the databases that its exporter has measured."""
        return fetch(f"{self.url('exporter')}/metrics").count("\npg_database_size_bytes{")


def _servers(alerts: Iterable[dict[str, Any]]) -> set[str]:
    return {alert["labels"]["server"] for alert in alerts if alert["labels"]["alertname"] == ALERT}


class Pair:
    """Two machines, whose processes may be killed."""

    def __init__(self, directory: Path, watched: Watched) -> None:
        self._watched = watched
        self._ports: dict[tuple[str, str], int] = {}
        self._cluster = {name: free_port() for name in MACHINES}
        self.machines = [Machine(name, directory / name, {}) for name in MACHINES]
        for machine in self.machines:
            machine.parts.update({kind: Part(self._runner(kind, machine)) for kind in KINDS})

    def start(self) -> None:
        """Start everything, and let Alertmanagers tell their relays."""
        for machine in self.machines:
            _write_secrets(machine.directory, self._watched)
            (machine.directory / "alertmanager.yml").write_text(QUIET)
        for kind in ("alertmanager", "exporter", "prometheus", "relay"):
            for machine in self.machines:
                self._render(machine)
                machine.parts[kind].start()
                self._ports[kind, machine.name] = int(machine.url(kind).rpartition(":")[2])
        for machine in self.machines:
            routes = yaml.safe_load(self._render(machine))
            routes["route"] |= WAITS
            (machine.directory / "alertmanager.yml").write_text(yaml.safe_dump(routes))
            reload(machine.parts["alertmanager"].now)

    def stop(self) -> None:
        """End everything."""
        for machine in self.machines:
            for part in machine.parts.values():
                part.stop()

    def _runner(self, kind: str, machine: Machine) -> Callable[[], AbstractContextManager[Any]]:
        run = {
            "exporter": self._exporter,
            "prometheus": self._prometheus,
            "alertmanager": self._alertmanager,
            "relay": self._relay,
        }[kind]
        return lambda: run(machine, self._ports.get((kind, machine.name), 0))

    def _exporter(self, machine: Machine, port: int) -> AbstractContextManager[Service]:
        return exporter.serving(machine.directory / "plimsoll.yml", machine.directory, port=port)

    def _relay(self, machine: Machine, port: int) -> AbstractContextManager[Serving]:
        address = f"--web.listen-address={LOOPBACK}:{port}"
        return serving(machine.directory / "plimsoll.yml", machine.directory, address, command="relay")

    def _prometheus(self, machine: Machine, port: int) -> AbstractContextManager[Service]:
        text = self._here("pair-prometheus", machine, **{"/etc/plimsoll/rendered": str(machine.directory)})
        configuration = yaml.safe_load(text)
        configuration["global"] |= {
            **dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s"),
            "external_labels": {"replica": machine.name},
        }
        stored = f"--storage.tsdb.path={machine.directory / 'data'}"
        return run_prometheus(machine.directory, configuration, stored, RESEND, port=port)

    def _alertmanager(self, machine: Machine, port: int) -> AbstractContextManager[Service]:
        members = {f"{name}:9094": f"{LOOPBACK}:{number}" for name, number in self._cluster.items()}
        here = {"0.0.0.0:9094": members[f"{machine.name}:9094"], **members}
        command = shlex.split(changed(block("pair-alertmanager"), here).replace("\\\n", " "))
        flags = [flag for flag in command if flag.startswith("--cluster.")]
        return alertmanager(
            machine.directory / "telling",
            machine.directory / "alertmanager.yml",
            port=port,
            cluster=[*flags, PATIENCE, *HASTY],
        )

    def _render(self, machine: Machine) -> str:
        """Write the user's file with the addresses that are known, and the rules; give the routes."""
        content = yaml.safe_load(self._here("pair-plimsoll", machine))
        content["postgres"]["servers"] = [
            {
                "name": name,
                "dsn": dsn,
                "databases": {"interval": "0", "include": [database]},
                "tables": {"interval": "1h"},
            }
            for name, (dsn, database) in self._watched.servers.items()
        ]
        content["alerts"] = {ALERT: {"for": "1s"}}
        content["webhooks"]["default"]["url"] = self._watched.webhook
        content["relay"] |= {"interval": "500ms", "grace": GRACE}
        file = machine.directory / "plimsoll.yml"
        file.write_text(yaml.safe_dump(content))
        files = render(file).files
        for name, text in files.items():
            if name.startswith("rules/"):
                (machine.directory / name).parent.mkdir(exist_ok=True)
                (machine.directory / name).write_text(text)
        return files["alertmanager/alertmanager.yml"]

    def _here(self, name: str, machine: Machine, **changes: str) -> str:
        """Give a block of the page, with the addresses of what runs already."""
        own, known = {}, {}
        for (kind, where), port in self._ports.items():
            known[f"{where}:{PORTS[kind]}"] = f"{LOOPBACK}:{port}"
            if where == machine.name:
                own[f"{LOOPBACK}:{PORTS[kind]}"] = f"{LOOPBACK}:{port}"
        return changed(block(name), {**own, **known, **changes})


def _write_secrets(directory: Path, watched: Watched) -> None:
    (directory / "secrets").mkdir(parents=True)
    for name, text in {"webhook": SECRET, "relay": TOKEN, "history": watched.history}.items():
        (directory / "secrets" / name).write_text(text)


@contextmanager
def pair(directory: Path, watched: Watched) -> Iterator[Pair]:
    """Run two of each."""
    both = Pair(directory, watched)
    with ExitStack() as stack:
        stack.callback(both.stop)
        both.start()
        yield both
