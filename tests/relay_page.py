"""A relay to which everything has happened that has a metric, for those who look at its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import aiohttp
import yaml
from prometheus_client.core import Metric

from plimsoll.relay.alert import Alert
from plimsoll.relay.counts import Count
from plimsoll.relay.forwarding.receiver import RESULTS
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.relay import Relay
from plimsoll.relay.settings import load_settings
from relaying import SECRET

ODD = 'a "b"\n\\ ü'
"""What a label's value may be."""

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIGURATION = {
    "webhooks": {name: {"url": "http://127.0.0.1:1", "secret": SECRET} for name in ("ops", "dba")},
    "relay": {"url": "http://relay:9746", "token_file": "token"},
}


class Published(NamedTuple):
    """A family as it stands on the page; `labels` are those of any of its samples."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


def lives(acknowledged: int) -> list[Life]:
    """Give one that nobody has taken, and so many that somebody has."""
    taken = Acknowledgement(NOW, ODD, "ACK! mine", "s1", NOW + timedelta(days=3))
    labels = {"alertname": "DatabaseGrowthHigh", "server": ODD, "severity": "high"}
    alerts = [Alert({**labels, "datname": f"db{number}"}, {}, NOW) for number in range(acknowledged + 1)]
    return [Life(alert, NOW, taken if number else None) for number, alert in enumerate(alerts)]


@asynccontextmanager
async def busy_relay(directory: Path, acknowledged: int = 2) -> AsyncIterator[Relay]:
    """Give a relay that has delivered, refused and looked, and asks nobody."""
    (directory / "token").write_text("t0ken")
    file = directory / "plimsoll.yml"
    file.write_text(yaml.safe_dump(CONFIGURATION))
    settings = load_settings(file)
    async with aiohttp.ClientSession() as session:
        relay = Relay(lambda: settings, settings, session, session)
        for result in RESULTS:
            relay._forwarding._metrics.count("ops", result, 0.1)
        memory = relay._rounds._memory
        memory.is_up, memory.last_success = True, NOW
        answers = {("alertmanager", "http://alertmanager:9093"): True}
        relay._rounds.counts.last = Count(NOW, lives(acknowledged), silences={}, answers=answers)
        yield relay


async def families() -> list[Published]:
    """Give all that the relay publishes, but for what every process does."""
    with TemporaryDirectory() as directory:
        async with busy_relay(Path(directory)) as relay:
            found = [_published(metric) for metric in relay._registry.collect()]
    return [family for family in found if family.name.startswith("plimsoll_")]


def _published(metric: Metric) -> Published:
    labels = dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le")
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return Published(name, metric.type, metric.documentation, tuple(labels))
