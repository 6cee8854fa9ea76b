"""Runs what the demo runs around a server of the tests: exporter, Prometheus, Alertmanager and a webhook.

The rules are the committed ones; only intervals and the past differ.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from plimsoll.demo import alertmanager, exporter, processes, prometheus
from plimsoll.demo.history import History
from plimsoll.demo.receiver import Notification, receiving
from plimsoll.demo.service import Service, fetch
from support import require_program

EVERY_SCRAPE: dict[str, Any] = {"databases": {"interval": "0"}, "tables": {"interval": "0"}}
WAITS = {"group_wait": "3s", "group_interval": "1s", "repeat_interval": "2s"}

Invent = Callable[[History, str, dict[str, str]], None]
"""Fills a history, given the exporter's page and the labels that Prometheus adds to what it scrapes."""


@dataclass(frozen=True)
class Watching:
    """What runs, and what the webhook has received."""

    prometheus: Service
    alertmanager: Service
    notifications: list[Notification]

    def all_told(self) -> list[dict[str, Any]]:
        """Give the alerts that arrived, repetitions too."""
        return [alert for notification in self.notifications for alert in notification["alerts"]]

    def check_lives(self, names: Collection[str]) -> None:
        """Check that alerts of these names and no others were told: once firing, then once resolved."""
        states: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        for alert in self.all_told():
            life = states.setdefault((alert["labels"]["alertname"], alert["fingerprint"]), {})
            life[alert["startsAt"], alert["status"]] = None
        lives = {alert: [status for _, status in life] for alert, life in states.items()}
        assert {name for name, _ in lives} == set(names)
        assert {alert: life for alert, life in lives.items() if life != ["firing", "resolved"]} == {}

    def told(self, name: str, status: str = "firing", /, **labels: str) -> list[dict[str, Any]]:
        """Give the alerts that arrived, repetitions too, with this name, status and at least these labels."""
        wanted = {"alertname": name, **labels}.items()
        alerts = self.all_told()
        return [alert for alert in alerts if alert["status"] == status and wanted <= alert["labels"].items()]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Ask Prometheus for the labels and values of an instant vector."""
        url = f"{self.prometheus.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        return [
            (entry["metric"], float(entry["value"][1])) for entry in json.loads(fetch(url))["data"]["result"]
        ]

    def silence(self, **labels: str) -> str:
        """Silence alerts with these labels for an hour, and give the silence's id."""
        now = datetime.now(tz=UTC)
        silence = {
            "matchers": [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "known",
        }
        return str(json.loads(self._ask("POST", "/api/v2/silences", silence))["silenceID"])

    def end_silence(self, identity: str) -> None:
        """Let a silence expire."""
        self._ask("DELETE", f"/api/v2/silence/{identity}")

    def alerts(self, name: str, /, **labels: str) -> list[dict[str, Any]]:
        """Give what Alertmanager knows of alerts with this name and these labels, their state included."""
        wanted = {"alertname": name, **labels}.items()
        alerts = json.loads(self._ask("GET", "/api/v2/alerts"))
        return [alert for alert in alerts if wanted <= alert["labels"].items()]

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        request = urllib.request.Request(
            self.alertmanager.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode())


@contextmanager
def watching(
    servers: Mapping[str, str],
    directory: Path,
    invent: Invent | None = None,
    *,
    docker_host: str | None = None,
) -> Iterator[Watching]:
    """Watch servers, given as DSN by name, and an engine, called `local`, at every second, with a past."""
    programs = {name: Path(require_program(name)) for name in ("prometheus", "promtool")}
    programs["alertmanager"] = Path(require_program("alertmanager", "prometheus-alertmanager"))
    notifications: list[Notification] = []
    with ExitStack() as stack:
        configuration = exporter.write_configuration(directory, servers, docker_host, **EVERY_SCRAPE)
        watched = stack.enter_context(exporter.serving(configuration, directory))
        if invent:
            page = _page_with(watched, "pg_database_size_bytes" if servers else "plimsoll_collector_success")
            history = History(span=25 * 3600, step=15)
            invent(history, page, {"instance": watched.address, "job": "plimsoll"})
            history.write(programs["promtool"], directory / "history", prometheus.data(directory))
        webhook = stack.enter_context(receiving(notifications.append))
        telling = stack.enter_context(
            alertmanager.running(programs["alertmanager"], directory, webhook=webhook, waits=WAITS)
        )
        judging = stack.enter_context(
            prometheus.running(
                programs["prometheus"],
                directory,
                exporter=watched.address,
                alertmanager=telling.address,
                interval="1s",
            )
        )
        yield Watching(judging, telling, notifications)


def _page_with(watched: Service, metric: str) -> str:
    def page() -> str:
        text = fetch(f"{watched.url}/metrics")
        return text if f"\n{metric}{{" in text else ""

    return processes.wait_until(page, what="measuring")
