"""Runs the relay between Prometheus, Alertmanager, a receiver and a history, each of which can go away.

One alert, `Disk`, fires at once; `Slow` waits for some seconds; `Brief` fires at once, but Alertmanager
waits for an hour before it would tell of it. The label `server` tells apart what the tests let fire.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from parts import Part
from plimsoll.cli import main
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.service import Service, fetch
from relaying import (
    Page,
    Post,
    Receiver,
    Rule,
    page,
    prometheus,
    receiver,
    relaying,
    write_routes,
    write_rules,
)
from reloading import alertmanager, reload
from remembered import Row, rows
from sending import QUIET, Inbox
from serving import Serving
from waiting import eventually

PATIENCE = 120.0
"""Seconds that a condition may take on a busy machine; mostly it is a few."""
GRACE = 1.5
HASTY = {"interval": "500ms", "grace": f"{GRACE * 1000:.0f}ms", "acknowledgement": {"period": "20s"}}


@dataclass
class Site:
    """Everything, as it runs on loopback."""

    directory: Path
    page: Page
    receiver: Receiver
    history: PostgresServer
    prometheus: Part[Service]
    alertmanager: Part[Service]
    relay: Part[Serving]

    @property
    def inbox(self) -> Inbox:
        """Alertmanager, to be asked."""
        return Inbox(self.alertmanager.now.url)

    def fire(self, *servers: str, name: str = "Disk") -> datetime:
        """Let an alert fire for servers, and say when."""
        at = now()
        self.page.series = {
            **self.page.series,
            **dict.fromkeys((_series(name, each) for each in servers), 1.0),
        }
        return at

    def end(self, *servers: str, name: str = "Disk") -> datetime:
        """Let it resolve, and say when."""
        at = now()
        self.page.series = {
            **self.page.series,
            **dict.fromkeys((_series(name, each) for each in servers), 0.0),
        }
        return at

    def fires(self, server: str) -> bool:
        """Say whether Prometheus itself finds that an alert fires, whatever it did before."""
        answer = json.loads(fetch(f"{self.prometheus.now.url}/api/v1/alerts"))
        found = [each for each in answer["data"]["alerts"] if each["labels"]["server"] == server]
        return bool(found) and found[0]["state"] == "firing"

    def is_recorded(self, server: str) -> bool:
        """Say whether Prometheus' series show an alert as firing."""
        query = urlencode({"query": f'ALERTS{{alertstate="firing",server="{server}"}}'})
        return bool(json.loads(fetch(f"{self.prometheus.now.url}/api/v1/query?{query}"))["data"]["result"])

    def listed(self, server: str) -> str | None:
        """Give what Alertmanager says of an alert: active, or suppressed."""
        found = [each for each in self.inbox.alerts() if each["labels"].get("server") == server]
        return str(found[0]["status"]["state"]) if found else None

    def told(self, server: str, status: str) -> list[Post]:
        """Give what the receiver was told of an alert."""
        return [post for post in list(self.receiver.posts) if (server, status) in _told(post)]

    def acknowledge(self, server: str) -> datetime:
        """Take an alert as Ann does, wait until Alertmanager and the relay know, and say when that was."""
        at = now()
        file = self.directory / "relay" / "plimsoll.yml"
        # A busy Prometheus sends an alert so late that Alertmanager takes it for resolved for a moment.
        eventually(lambda: main(["ack", f"--config.file={file}", f"server={server}", "--by=ann"]) == 0)
        eventually(lambda: self.listed(server) == "suppressed", PATIENCE)
        self.look_on()
        return at

    def silence(self, server: str) -> dict[str, Any] | None:
        """Give the silence in force of an alert."""
        found = [
            each
            for each in self.inbox.silences().values()
            if any(matcher["value"] == server for matcher in each["matchers"])
        ]
        return found[0] if found else None

    def rows(self, server: str) -> list[Row]:
        """Give what the history has of an alert, the oldest first."""
        return rows(self.history, "labels->>'server' = %s", server)

    def unresolved(self) -> list[Row]:
        """Give what has not ended."""
        return rows(self.history, "status <> 'resolved'")

    def row(self, server: str) -> Row:
        """Give the only row of an alert."""
        (row,) = self.rows(server)
        return row

    def tells(self, status: str, *servers: str) -> None:
        """Wait until the receiver has been told of alerts."""
        eventually(lambda: all(self.told(server, status) for server in servers), PATIENCE)

    def records(self, server: str) -> None:
        """Wait until Prometheus' series say that an alert fires."""
        eventually(lambda: self.is_recorded(server), PATIENCE)

    def forgets(self, *servers: str) -> datetime:
        """Wait until Prometheus' series say that alerts do not fire any more, and say when that was."""
        eventually(lambda: not any(map(self.is_recorded, servers)), PATIENCE)
        return now()

    def has(self, status: str, *servers: str) -> None:
        """Wait until the history has alerts with a status, each in one row."""
        eventually(lambda: all([r.status for r in self.rows(s)] == [status] for s in servers), PATIENCE)

    def looked(self) -> float:
        """Say when the relay last looked."""
        return self.relay.now.scrape().get("plimsoll_source_last_poll_timestamp_seconds") or 0.0

    def look_on(self, graces: float = 0.0) -> None:
        """Wait until the relay has looked at everything that is there now, and for some graces more.

        After two of them, with all programs there, it has taken for resolved whatever it would.
        """
        until = time.time() + graces * (GRACE + 0.5)
        eventually(lambda: self.looked() > until, PATIENCE)

    def set_up(self, **settings: Any) -> None:
        """Let the relay go on with its usual settings, but for these."""
        file = self.directory / "relay" / "plimsoll.yml"
        content = yaml.safe_load(file.read_text())
        content["relay"] |= HASTY | settings
        file.write_text(yaml.safe_dump(content))
        assert self.relay.now.fetch("/-/reload", method="POST")[0] == 200

    def send(self, *alertmanagers: str) -> None:
        """Let Prometheus send its alerts to these from now on."""
        file = self.directory / "prometheus.yml"
        content = yaml.safe_load(file.read_text())
        targets = [each.removeprefix("http://") for each in alertmanagers]
        content["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": targets}]}]}
        file.write_text(yaml.safe_dump(content))
        reload(self.prometheus.now)


@contextmanager
def site(directory: Path, history: PostgresServer) -> Iterator[Site]:
    """Run everything."""
    relay_directory, routes = directory / "relay", directory / "alertmanager.yml"
    routes.write_text(QUIET)
    write_rules(directory, Rule("Disk"), Rule("Slow", for_="3s"), Rule("Brief"))
    _endure(directory / "rules.yml")
    with page() as led, receiver() as told, ExitStack() as stack:
        addresses: dict[str, str] = {}

        def again(name: str) -> int:
            return int(addresses.get(name, ":0").rpartition(":")[2])

        def run_alertmanager() -> AbstractContextManager[Service]:
            return alertmanager(directory / "alertmanager", routes, port=again("alertmanager"))

        def run_prometheus() -> AbstractContextManager[Service]:
            return prometheus(directory, led, [addresses["alertmanager"]], port=again("prometheus"))

        def run_relay() -> AbstractContextManager[Serving]:
            return relaying(
                relay_directory,
                {"ops": told.url},
                [addresses["alertmanager"]],
                addresses["prometheus"],
                f"--web.listen-address=127.0.0.1:{again('relay')}",
                history=history.dsn(),
                **HASTY,
            )

        made = Site(
            directory, led, told, history, Part(run_prometheus), Part(run_alertmanager), Part(run_relay)
        )
        parts: dict[str, Part[Any]] = {
            "alertmanager": made.alertmanager,
            "prometheus": made.prometheus,
            "relay": made.relay,
        }
        for name, part in parts.items():
            stack.callback(part.stop)
            part.start()
            addresses[name] = part.now.url.rstrip("/")
        _route(routes, addresses["relay"])
        reload(made.alertmanager.now)
        yield made


def mend(made: Site) -> None:
    """Bring back whatever is away, and let nothing fire."""
    made.page.series = dict.fromkeys(made.page.series, 0.0)
    made.receiver.answers.clear()
    if made.history._running().poll() is not None:
        made.history.start()
    for part in (made.alertmanager, made.prometheus, made.relay):
        part.start()
    made.send(made.alertmanager.now.url)
    made.set_up()


def now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


def _endure(file: Path) -> None:
    """Let the rules survive that a busy machine leaves out a scrape, which would resolve everything."""
    content = yaml.safe_load(file.read_text())
    for rule in content["groups"][0]["rules"]:
        series = f'last_over_time(demo{{alert="{rule["alert"]}"}}[5m])'
        rule["expr"] = f"max without (instance, job, alert) ({series}) > 0"
    file.write_text(yaml.safe_dump(content))


def _route(file: Path, relay: str) -> None:
    write_routes(file, relay, "ops", group_wait="0s")
    content = yaml.safe_load(file.read_text())
    content["route"]["routes"] = [
        {"receiver": "ops", "matchers": ["alertname=Brief"], "group_wait": "1h", "group_interval": "1h"}
    ]
    file.write_text(yaml.safe_dump(content))


def _series(name: str, server: str) -> str:
    return f'alert="{name}",server="{server}"'


def _told(post: Post) -> set[tuple[str, str]]:
    return {(each["labels"].get("server", ""), each["status"]) for each in json.loads(post.body)["alerts"]}
