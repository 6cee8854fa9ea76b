"""Ways of alerts through a real Alertmanager, and what it says of its own work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from plimsoll.demo.service import fetch
from relaying import SOON, TOKEN
from serving import Samples
from waiting import eventually


class Way(NamedTuple):
    """Whom Alertmanager tells of the alerts whose label `way` is this name, and when."""

    name: str
    urls: Sequence[str]
    waits: Mapping[str, str] = {}


def write_ways(file: Path, *ways: Way) -> None:
    """Write Alertmanager's configuration: each way gets its own alerts, a notification for each name."""
    token = file.parent / "token"
    token.write_text(TOKEN)
    shown = {"http_config": {"authorization": {"credentials_file": str(token)}}}
    routes = [
        {"receiver": way.name, "matchers": [f'way="{way.name}"'], "group_by": ["alertname"], **way.waits}
        for way in ways
    ]
    receivers = [
        {"name": way.name, "webhook_configs": [{"url": url, **shown} for url in way.urls]} for way in ways
    ]
    root = {"receiver": "nobody", "routes": routes, **SOON}
    file.write_text(yaml.safe_dump({"route": root, "receivers": [{"name": "nobody"}, *receivers]}))


def total(alertmanager: str, name: str, **labels: str) -> float:
    """Give the sum of a metric of Alertmanager."""
    return sum(Samples(fetch(f"{alertmanager}/metrics")).all(name, **labels).values())


def flush(alertmanager: str, times: int = 2) -> None:
    """Wait until Alertmanager has looked so often whether anybody has to be told again."""
    queries = "alertmanager_nflog_queries_total"
    before = total(alertmanager, queries)
    eventually(lambda: total(alertmanager, queries) >= before + times, 60)
