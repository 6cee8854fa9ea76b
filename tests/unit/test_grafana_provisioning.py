"""The files that tell Grafana its data sources and where the dashboards are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning import expanded, read, variables

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana" / "provisioning"
FILES = sorted(FOLDER.rglob("*.yml"))


def sources(**environment: str) -> dict[str, dict[str, Any]]:
    """Give the data sources by uid."""
    return {source["uid"]: source for source in read(FOLDER / "datasources", "datasources", environment)}


def test_each_folder_has_one_file() -> None:
    assert [str(path.relative_to(FOLDER)) for path in FILES] == [
        "dashboards/plimsoll.yml",
        "datasources/plimsoll.yml",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_its_head_names_every_variable(path: Path) -> None:
    text = path.read_text("utf-8")
    document = yaml.safe_load(text)
    head = re.match(r"(#.*\n)+", text)
    assert head
    assert document["apiVersion"] == 1
    assert variables(document) == set(re.findall(r"^# +(PLIMSOLL_\w+) ", head[0], re.MULTILINE))


def test_uids_and_types() -> None:
    assert {uid: source["type"] for uid, source in sources().items()} == {
        "plimsoll-prometheus": "prometheus",
        "plimsoll-alertmanager": "alertmanager",
        "plimsoll-history": "postgres",
    }


def test_nothing_can_be_edited() -> None:
    assert {source["editable"] for source in sources().values()} == {False}
    (provider,) = read(FOLDER / "dashboards", "providers", {"PLIMSOLL_DASHBOARDS": "/srv/dashboards"})
    assert provider["allowUiUpdates"] is False
    assert (provider["type"], provider["options"]) == ("file", {"path": "/srv/dashboards"})


def test_prometheus_is_the_default_and_knows_how_often_is_scraped() -> None:
    assert [uid for uid, source in sources().items() if source.get("isDefault")] == ["plimsoll-prometheus"]
    scraping = yaml.safe_load((ROOT / "rules/prometheus.yml").read_text())["global"]["scrape_interval"]
    prometheus = sources(PLIMSOLL_PROMETHEUS_URL="http://prometheus:9090")["plimsoll-prometheus"]
    assert prometheus["url"] == "http://prometheus:9090"
    assert prometheus["jsonData"] == {"httpMethod": "POST", "timeInterval": scraping}


def test_alertmanager_is_prometheus_own() -> None:
    alertmanager = sources(PLIMSOLL_ALERTMANAGER_URL="http://alertmanager:9093")["plimsoll-alertmanager"]
    assert alertmanager["url"] == "http://alertmanager:9093"
    assert alertmanager["jsonData"] == {"implementation": "prometheus", "handleGrafanaManagedAlerts": False}


def test_the_history_takes_any_password() -> None:
    password = "a$b${HOME}$$c"
    history = sources(
        PLIMSOLL_HISTORY_HOST="db:5432",
        PLIMSOLL_HISTORY_DATABASE="history",
        PLIMSOLL_HISTORY_USER="grafana",
        PLIMSOLL_HISTORY_PASSWORD=password,
        PLIMSOLL_HISTORY_SSLMODE="verify-full",
    )["plimsoll-history"]
    assert (history["url"], history["user"], history["database"]) == ("db:5432", "grafana", "history")
    assert history["jsonData"] == {"database": "history", "sslmode": "verify-full", "postgresVersion": 1300}
    assert history["secureJsonData"] == {"password": password}


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("$NAME:5432", "a$b:5432"),
        ("${NAME}", "a"),  # and so are variables in what it holds
        ("$__env{NAME}", "a"),
        ("$$NAME", "$NAME"),
        ("${NAME:-default}", ""),
        ("$ABSENT.", "."),
        (["$NAME", 1], ["a$b", 1]),
    ],
)
def test_variables_are_replaced_as_grafana_does_it(written: object, read_as: object) -> None:
    assert expanded({"$NAME": written}, {"NAME": "a$b"}) == {"$NAME": read_as}
