"""Runs Prometheus and Alertmanager on what a user's file compiles to, which may change meanwhile.

Alertmanager's routes are the compiled ones; they only wait for seconds instead of minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.rendering import render
from plimsoll.demo import prometheus
from plimsoll.demo.history import History
from plimsoll.demo.receiver import Notification, receiving
from plimsoll.demo.service import Service
from programs import LIFECYCLE, run_prometheus
from reloading import alertmanager, reload
from support import require_program
from waiting import eventually
from watching import Watching

WAITS = {"group_wait": "2s", "group_interval": "1s"}
BUSY = {"for": "4s"}
"""For alerts about what does not answer: a busy test machine may miss a scrape or two."""

Job = dict[str, Any]


def job(name: str, *targets: str, **settings: Any) -> Job:
    """Give a scrape configuration."""
    return {"job_name": name, "static_configs": [{"targets": list(targets)}], **settings}


def at_once(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give a section `alerts` in which every preset fires at once, with further changes."""
    presets = load_catalogue().presets
    assert changes.keys() <= presets.keys()
    return {name: {"for": "0s", **changes.get(name, {})} for name in presets}


class UserFile:
    """A plimsoll.yml, the files that it compiles to, and what the webhook that it names has received."""

    def __init__(self, directory: Path, webhook: str, notifications: list[Notification]) -> None:
        self.directory = directory
        self.path = directory / "plimsoll.yml"
        self.routes = directory / "alertmanager" / "alertmanager.yml"
        self.notifications = notifications
        self._webhooks = {"default": {"url": webhook}}

    def write(self, sections: Mapping[str, Any]) -> None:
        """Write its sections but for `webhooks`, and what it compiles to."""
        self.path.write_text(yaml.safe_dump({**sections, "webhooks": self._webhooks}))
        for name, text in render(self.path).files.items():
            file = self.directory / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        routes = yaml.safe_load(self.routes.read_text())
        routes["route"] |= WAITS
        self.routes.write_text(yaml.safe_dump(routes))


@contextmanager
def user_file(directory: Path, sections: Mapping[str, Any]) -> Iterator[UserFile]:
    """Run a webhook, and write a user's file into an empty directory."""
    notifications: list[Notification] = []
    with receiving(notifications.append) as webhook:
        file = UserFile(directory, webhook, notifications)
        file.write(sections)
        yield file


@dataclass(frozen=True)
class Judging(Watching):
    """What runs, what the webhook has received, and the user's file."""

    user_file: UserFile

    def change(self, sections: Mapping[str, Any]) -> None:
        """Change the user's file, and let Prometheus read what it compiles to."""
        self.user_file.write(sections)
        reload(self.prometheus)

    def wait_for(self, status: str, alerts: Mapping[str, Mapping[str, str]], seconds: float = 60) -> None:
        """Wait until alerts, given as labels by name, were told with a status."""

        def missing() -> list[str]:
            return [name for name, labels in alerts.items() if not self.told(name, status, **labels)]

        try:
            eventually(lambda: not missing(), seconds)
        except AssertionError:
            raise AssertionError(f"not {status} within {seconds:g} s: {', '.join(missing())}") from None

    def check_told(self, alerts: Mapping[str, Mapping[str, str]]) -> None:
        """Check that exactly these alerts fired, each once, and have resolved since, with readable texts."""
        self.check_lives(alerts)
        for alert in self.all_told():
            assert alerts[alert["labels"]["alertname"]].items() <= alert["labels"].items()
            unreadable = [text for text in alert["annotations"].values() if "<error" in text or "<no" in text]
            assert not unreadable


@contextmanager
def judging(file: UserFile, jobs: Sequence[Job], history: History | None = None) -> Iterator[Judging]:
    """Scrape and judge every second, by the rules that a user's file compiles to."""
    promtool = Path(require_program("promtool"))
    if history:
        history.write(promtool, file.directory / "history", prometheus.data(file.directory))
    with (
        alertmanager(file.directory / "telling", file.routes) as telling,
        _prometheus(file.directory, _configuration(telling, jobs)) as judge,
    ):
        yield Judging(judge, telling, file.notifications, file)


def _configuration(telling: Service, jobs: Sequence[Job]) -> dict[str, Any]:
    return {
        "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s"),
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [telling.address]}]}]},
        "scrape_configs": list(jobs),
    }


def _prometheus(directory: Path, configuration: Mapping[str, Any]) -> AbstractContextManager[Service]:
    return run_prometheus(
        directory,
        configuration,
        f"--storage.tsdb.path={prometheus.data(directory)}",
        "--rules.alert.resend-delay=5s",  # it takes 5 seconds to find Alertmanager
        LIFECYCLE,
    )
