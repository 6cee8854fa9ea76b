"""Everything that acknowledgements need, running: from a page that Prometheus scrapes to the history."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg.rows import dict_row

from plimsoll.cli import main
from plimsoll.demo.service import Service, fetch
from relaying import Page, Receiver, Rule, page, prometheus, receiver, relaying, write_routes, write_rules
from reloading import alertmanager, reload
from sending import QUIET, Inbox
from serving import Serving
from waiting import eventually

PERIOD = timedelta(seconds=7)
"""Half of it is what a busy machine may take for a look."""
SETTINGS = {"acknowledgement": {"period": f"{PERIOD.seconds}s", "limit": "1h"}}

Row = dict[str, Any]
Silence = dict[str, Any]


def wait(condition: Callable[[], object]) -> None:
    """Wait for what takes seconds, and more on a busy machine."""
    eventually(condition, 60)


@dataclass
class Scene:
    """What runs, and what is asked of it."""

    directory: Path
    page: Page
    prometheus: Service
    inbox: Inbox
    ops: Receiver
    """Is told of everything, and reminded after an hour."""
    hasty: Receiver
    """Is told of some alerts, and reminded after a second."""
    history: str
    relay: Serving

    def rule(self, *rules: Rule) -> None:
        """Let Prometheus judge by these rules from now on."""
        write_rules(self.directory, *rules)
        reload(self.prometheus)

    def fire(self, *names: str, override: str = "") -> None:
        """Let alerts fire, and wait until that has been told."""
        told = {name: len(self.ops.told(name, "firing")) for name in names}
        labels = {f'alert="{name}",server="main",override="{override}"': 1.0 for name in names}
        self.page.series = {**self.page.series, **labels}
        wait(lambda: all(len(self.ops.told(name, "firing")) > before for name, before in told.items()))

    def resolve(self, *names: str) -> None:
        """Let alerts end."""
        ended = tuple(f'alert="{name}",' for name in names)
        self.page.series = {each: 1.0 for each in self.page.series if not each.startswith(ended)}

    def ack(self, *arguments: str) -> None:
        """Run `plimsoll ack` on the relay's file."""
        assert main(["ack", f"--config.file={self.directory / 'plimsoll.yml'}", *arguments]) == 0

    def another_relay(self) -> AbstractContextManager[Serving]:
        """Run a second relay on the same programs and the same history, which gets no notifications."""
        return _relay(self.directory / "another", self.inbox, self.prometheus, self.history, {})

    def rows(self, name: str) -> list[Row]:
        """Give the lives of an alert that the history knows, the first first."""
        with psycopg.connect(self.history, row_factory=dict_row) as session:
            query = "SELECT * FROM plimsoll.alert WHERE alertname = %s ORDER BY created_at"
            return session.execute(query, (name,)).fetchall()

    def open_since(self) -> list[float]:
        """Give since when each alert is open, by the history, in seconds since the epoch."""
        with psycopg.connect(self.history) as session:
            found = session.execute("SELECT created_at FROM plimsoll.alert WHERE status = 'open' ORDER BY 1")
            return [created_at.timestamp() for (created_at,) in found]

    def becomes(self, name: str, status: str, **values: object) -> Row:
        """Wait until the only life of an alert has a status and other values, and give its row."""
        wanted = {"status": status, **values}.items()
        wait(lambda: any(wanted <= _hashable(row).items() for row in self.rows(name)))
        (row,) = self.rows(name)
        return row

    def ends(self, name: str) -> Silence:
        """Wait until the only silence about an alert has ended, and give it."""
        wait(lambda: self.silence(name)["status"]["state"] == "expired")
        return self.silence(name)

    def silences(self, name: str) -> list[Silence]:
        """List the silences about an alert, those that have expired, too."""
        listed = json.loads(fetch(f"{self.inbox.url}/api/v2/silences"))
        return [each for each in listed if name in [matcher["value"] for matcher in each["matchers"]]]

    def silence(self, name: str) -> Silence:
        """Give the only silence that there ever was about an alert."""
        (silence,) = self.silences(name)
        return silence

    def prolonged(self, made: Silence, times: int) -> None:
        """See the end of the only silence about an alert move so many times since it was made."""
        (name,) = [each["value"] for each in made["matchers"] if each["name"] == "alertname"]
        ends = {made["endsAt"]}

        def has_moved() -> bool:
            silence = self.silence(name)
            assert (silence["id"], silence["status"]["state"]) == (made["id"], "active")
            ends.add(silence["endsAt"])
            return len(ends) > times

        wait(has_moved)

    def kinds(self) -> Counter[str]:
        """Count the silences in force, as Alertmanager itself lists them, by whether they acknowledge."""
        listed = self.inbox.silences().values()
        return Counter(
            "acknowledgement" if each["comment"].startswith("ACK!") else "other" for each in listed
        )

    def post_silence(self, silence: Mapping[str, Any]) -> None:
        """Make a silence by the API."""
        self.inbox._ask("POST", "/api/v2/silences", silence)

    def labels(self, name: str) -> dict[str, str]:
        """Give the labels of an alert that fires."""
        (found,) = [alert["labels"] for alert in self.inbox.alerts() if alert["labels"]["alertname"] == name]
        return dict(found)

    def counts(self, severity: str, relay: Serving | None = None) -> dict[str, float]:
        """Give how many alerts of a severity there are, by state."""
        found = (relay or self.relay).scrape().all("plimsoll_alerts", severity=severity)
        return {dict(key)["state"]: value for key, value in found.items()}


@contextmanager
def scene(directory: Path, history: str, *rules: Rule, hurried: str) -> Iterator[Scene]:
    """Run it all.

    Args:
        directory: where everything stores.
        history: a connection string.
        rules: what Prometheus judges.
        hurried: a regular expression for the alerts that the hasty receiver is told of.
    """
    routes = directory / "alertmanager.yml"
    routes.write_text(QUIET)
    write_rules(directory, *rules)
    with ExitStack() as stack:
        led = stack.enter_context(page())
        ops, hasty = stack.enter_context(receiver()), stack.enter_context(receiver())
        keeper = stack.enter_context(alertmanager(directory / "alertmanager", routes))
        judge = stack.enter_context(prometheus(directory, led, [keeper.url]))
        inbox, urls = Inbox(keeper.url), {"ops": ops.url, "hasty": hasty.url}
        relay = stack.enter_context(_relay(directory, inbox, judge, history, urls))
        write_routes(routes, relay.url, "ops", "hasty")
        _hurry(routes, hurried)
        reload(keeper)
        yield Scene(directory, led, judge, inbox, ops, hasty, history, relay)


def moment(text: str) -> datetime:
    """Read a time of Alertmanager's."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _relay(
    directory: Path, inbox: Inbox, prometheus: Service, history: str, webhooks: Mapping[str, str]
) -> AbstractContextManager[Serving]:
    return relaying(directory, webhooks, [inbox.url], prometheus.url, history=history, **SETTINGS)


def _hurry(file: Path, names: str) -> None:
    """Let Alertmanager remind the hasty receiver often, and of alerts of these names only."""
    configuration = yaml.safe_load(file.read_text())
    (hasty,) = [each for each in configuration["route"]["routes"] if each["receiver"] == "hasty"]
    hasty |= {"matchers": [f'alertname=~"{names}"'], "repeat_interval": "1s"}
    file.write_text(yaml.safe_dump(configuration))


def _hashable(row: Row) -> Row:
    return {key: value for key, value in row.items() if not isinstance(value, dict)}
