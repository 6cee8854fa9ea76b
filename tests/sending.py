"""Sends alerts to a real Alertmanager, as Prometheus does, and asks what became of them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from plimsoll.demo.service import fetch
from reloading import alertmanager

QUIET = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
"""A configuration that tells nobody."""


class Inbox(NamedTuple):
    """An Alertmanager that is sent alerts."""

    url: str

    def send(
        self,
        *alerts: Mapping[str, str],
        age: float = 0.0,
        left: float = 300.0,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Send alerts by their labels that began some seconds ago and fire for some more."""
        now = datetime.now(UTC)
        same = {
            "annotations": annotations or {},
            "startsAt": _later(now, -age),
            "endsAt": _later(now, left),
        }
        self._ask("POST", "/api/v2/alerts", [{"labels": labels, **same} for labels in alerts])

    def alerts(self) -> list[dict[str, Any]]:
        """List what fires."""
        found: list[dict[str, Any]] = json.loads(fetch(f"{self.url}/api/v2/alerts"))
        return found

    def silences(self) -> dict[str, dict[str, Any]]:
        """List the silences that have not expired, by id."""
        found = json.loads(fetch(f"{self.url}/api/v2/silences"))
        return {each["id"]: each for each in found if each["status"]["state"] != "expired"}

    def clear(self) -> None:
        """Let everything resolve, and end all silences."""
        self.send(*(alert["labels"] for alert in self.alerts()), age=1, left=0)
        for each in self.silences():
            self._ask("DELETE", f"/api/v2/silence/{each}", None)

    def _ask(self, method: str, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def inbox(directory: Path, configuration: str = QUIET) -> Iterator[Inbox]:
    """Run an Alertmanager that stores in `directory`."""
    directory.mkdir(exist_ok=True)
    file = directory / "alertmanager.yml"
    file.write_text(configuration)
    with alertmanager(directory, file) as service:
        yield Inbox(service.url)


def _later(moment: datetime, seconds: float) -> str:
    return (moment + timedelta(seconds=seconds)).isoformat()
