"""What hides what: the real Alertmanager, on the file as it is shipped, is told alerts and asked about them.

Who hides whom is written down here by hand, for the file is what is tested.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.demo.receiver import receiving
from plimsoll.demo.service import fetch
from plimsoll.shipped import shipped
from reloading import alertmanager
from waiting import eventually

AGENT_ALERTS = (
    "AgentDown",
    "AgentGatewayDisconnected",
    "AgentErrorRateHigh",
    "AgentContextWindowHigh",
    "AgentTaskStuck",
    "AgentCostHigh",
)

Labels = Mapping[str, str]


def alert(name: str, /, **labels: str) -> Labels:
    return {"alertname": name, **labels}


class Case(NamedTuple):
    """An alert, what it hides, and what it must not hide."""

    source: Labels
    hidden: Sequence[Labels]
    told: Sequence[Labels]


def failing(**labels: str) -> Labels:
    return alert("CollectorFailing", collector="tables", severity="warning", **labels)


def disk(name: str, severity: str, **labels: str) -> Labels:
    subject = {"instance": "db1:9100", "device": "/dev/sda1", "mountpoint": "/", "fstype": "ext4", **labels}
    return alert(name, severity=severity, **subject)


CASES = {
    "the milder alert on a file system that is told of as full, and not on another": Case(
        disk("HostDiskFull", "critical"),
        hidden=[disk("HostDiskHigh", "warning")],
        told=[
            disk("HostDiskHigh", "warning", mountpoint="/srv", device="/dev/sdb1"),
            disk("HostDiskHigh", "warning", instance="db2:9100"),
            disk("HostDiskHigh", "critical", override='{mountpoint="/"}'),
            disk("HostDiskFilling", "high"),
            disk("HostInodesFull", "high"),
        ],
    ),
    "what is measured on an unreachable server, and not on another": Case(
        alert("PostgresUnreachable", server="main", severity="critical"),
        hidden=[
            failing(server="main"),
            failing(server="main", datname="shop", organization="acme"),
            alert("MeasurementsTooOld", server="main", datname="shop", severity="warning"),
        ],
        told=[
            failing(server="other"),
            alert("MeasurementsTooOld", server="other", datname="shop", severity="warning"),
            failing(engine="main"),
            failing(target="main"),
            alert("MeasurementsTooOld", datname="shop", severity="warning"),
        ],
    ),
    "agents on an unreachable server, and not on another": Case(
        alert("PostgresUnreachable", server="main", severity="critical"),
        hidden=[alert(name, server="main", datname="shop", agent="scribe") for name in AGENT_ALERTS],
        told=[
            *(alert(name, server="other", datname="shop", agent="scribe") for name in AGENT_ALERTS),
            *(alert(name, datname="shop", agent="scribe") for name in AGENT_ALERTS),
        ],
    ),
    "nothing else on an unreachable server": Case(
        alert("PostgresUnreachable", server="main", severity="critical"),
        hidden=[],
        told=[
            alert("DatabaseGrowthHigh", server="main", datname="shop", severity="warning"),
            alert("TableGrowthHigh", server="main", datname="shop", relname="t", severity="warning"),
            alert("DatabaseSizeCritical", server="main", datname="shop", severity="critical"),
            alert("DatabaseCriticalSizeSoon", server="main", datname="shop", severity="high"),
            alert("PostgresUnreachable", server="other", severity="critical"),
            alert("ContainerDown", engine="main", name="main", severity="critical"),
            alert("HostOffline", instance="main:9100", severity="critical"),
            alert("AgentDowntime", server="main", agent="scribe", severity="low"),
        ],
    ),
    "nobody, where the server is not named": Case(
        alert("PostgresUnreachable", severity="critical"),
        hidden=[],
        told=[
            failing(target="main"),
            failing(server="main"),
            alert("MeasurementsTooOld", datname="shop", severity="warning"),
            alert("AgentDown", datname="shop", agent="scribe", severity="critical"),
        ],
    ),
    "the collector of an engine that does not answer, and not of another": Case(
        alert("ContainerEngineUnreachable", engine="local", severity="critical"),
        hidden=[failing(engine="local"), failing(engine="local", organization="acme")],
        told=[
            failing(engine="other"),
            failing(server="local"),
            failing(target="local"),
            alert("ContainerDown", engine="local", name="web", severity="critical"),
            alert("ContainerUnhealthy", engine="local", name="web", severity="high"),
            alert("ContainerMemoryHigh", engine="local", name="web", severity="warning"),
            alert("MeasurementsTooOld", engine="local", severity="warning"),
            alert("HostDiskFull", instance="local:9100", severity="critical"),
        ],
    ),
    "nobody, where the engine is not named": Case(
        alert("ContainerEngineUnreachable", severity="critical"),
        hidden=[],
        told=[failing(target="local"), failing(engine="local"), failing(server="main")],
    ),
    "no growth, where the size is critical": Case(
        alert("DatabaseSizeCritical", server="main", datname="shop", severity="critical"),
        hidden=[],
        told=[
            alert("DatabaseGrowthHigh", server="main", datname="shop", severity="warning"),
            alert("TableGrowthHigh", server="main", datname="shop", relname="t", severity="warning"),
            alert("DatabaseCriticalSizeSoon", server="main", datname="shop", severity="high"),
            alert("DatabaseGrowthHigh", server="main", datname="blog", severity="warning"),
        ],
    ),
    "no disk, where a container is down": Case(
        alert("ContainerDown", engine="local", name="web", severity="critical"),
        hidden=[],
        told=[
            alert("HostDiskFilling", instance="local:9100", mountpoint="/srv", severity="high"),
            alert("ContainerMemoryHigh", engine="local", name="web", severity="warning"),
            alert("ContainerMemoryHigh", engine="local", name="shop", severity="warning"),
            failing(engine="local"),
        ],
    ),
    "nothing of a host that is offline, nor of others": Case(
        alert("HostOffline", instance="one:9100", severity="critical"),
        hidden=[],
        told=[
            alert("HostDiskHigh", instance="one:9100", mountpoint="/srv", severity="warning"),
            alert("HostServiceFailed", instance="one:9100", name="backup", severity="warning"),
            alert("HostDiskHigh", instance="other:9100", mountpoint="/srv", severity="warning"),
            alert("ProbeFailing", instance="http://one/", severity="critical"),
        ],
    ),
    "no other trouble of an agent that is down": Case(
        alert("AgentDown", server="main", datname="shop", agent="scribe", severity="critical"),
        hidden=[],
        told=[
            alert("AgentTaskStuck", server="main", datname="shop", agent="scribe", severity="warning"),
            alert("AgentCostHigh", server="main", datname="shop", agent="clerk", severity="info"),
        ],
    ),
    "nothing that an exporter tells, where another cannot be scraped": Case(
        alert("ExporterUnreachable", instance="one:9745", job="plimsoll", severity="critical"),
        hidden=[],
        told=[
            alert("ConfigReloadFailed", instance="one:9745", job="plimsoll", severity="warning"),
            alert("ConfigReloadFailed", instance="other:9745", job="plimsoll", severity="warning"),
            failing(server="main"),
        ],
    ),
}

LAST = alert("ContainerEngineUnreachable", engine="last")
HIDDEN_BY_LAST = failing(engine="last")
"""Alertmanager takes alerts in one by one: once these count, all before them do."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Run Alertmanager on the shipped file, but for the address of the webhook."""
    with receiving(lambda _: None) as webhook:
        file = tmp_path / "alertmanager.yml"
        configuration = yaml.safe_load((shipped("alertmanager") / "alertmanager.yml").read_text("utf-8"))
        for receiver in configuration["receivers"]:
            for hook in receiver["webhook_configs"]:
                hook["url"] = webhook
        file.write_text(yaml.safe_dump(configuration))
        with alertmanager(tmp_path / "run", file) as service:
            yield service.url


def tell(url: str, *alerts: Labels, ends_at: str | None = None) -> None:
    end = {"endsAt": ends_at} if ends_at else {}
    body = json.dumps([{"labels": labels, **end} for labels in alerts]).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v2/alerts", body, headers), timeout=10):
        pass


def hidden(url: str) -> set[frozenset[tuple[str, str]]]:
    """Give the alerts that another one hides."""
    known = json.loads(fetch(f"{url}/api/v2/alerts"))
    return {frozenset(entry["labels"].items()) for entry in known if entry["status"]["inhibitedBy"]}


def these(*alerts: Labels) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(labels.items()) for labels in alerts}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_alert_hides(url: str, case: Case) -> None:
    tell(url, *case.hidden, *case.told)
    assert hidden(url) == set()
    tell(url, case.source)
    tell(url, HIDDEN_BY_LAST, LAST)
    eventually(lambda: hidden(url) >= these(HIDDEN_BY_LAST))
    assert hidden(url) == these(HIDDEN_BY_LAST, *case.hidden)


def test_what_was_hidden_is_told_again(url: str) -> None:
    server, collector = alert("PostgresUnreachable", server="main"), failing(server="main")
    tell(url, collector, server)
    eventually(lambda: hidden(url) == these(collector))
    tell(url, server, ends_at=datetime.now(tz=UTC).isoformat())
    eventually(lambda: hidden(url) == set())


def test_every_rule_of_the_catalogue_has_a_case() -> None:
    expected = {(i.source, name) for i in load_catalogue().inhibitions for name in i.hides}
    names = {
        (case.source["alertname"], labels["alertname"]) for case in CASES.values() for labels in case.hidden
    }
    assert names == expected | {("HostDiskFull", "HostDiskHigh")}, "and the graver of two on one signal"
