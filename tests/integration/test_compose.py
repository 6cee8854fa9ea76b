"""The composed stack on a real Docker: what docs/compose.md promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from composing import (
    COMPOSE,
    FILE,
    OLD,
    ROOT,
    BridgedDocker,
    InnerReceiver,
    Inside,
    Stack,
    make_images,
)
from engines import unmet
from plimsoll.demo.processes import workspace
from relaying import Post
from support import missing
from waiting import eventually

PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"
HOST_THERE = {
    "metric": "node_boot_time_seconds",
    "operator": ">",
    "threshold": 0,
    "for": "0s",
    "severity": "medium",
    "summary": "The host is there",
}
TABLE_LARGE = {
    "metric": "pg_stat_user_tables_size_bytes",
    "operator": ">",
    "unit": "bytes",
    "for": "0s",
    "severity": "high",
    "summary": "A table is large",
}
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
PAIRS = ROOT / "docs" / "compose" / "pairs.yml"


@pytest.fixture
def engine() -> Iterator[BridgedDocker]:
    if reason := unmet():
        missing(reason)
    with workspace() as folder, BridgedDocker(folder) as engine:
        yield engine


@pytest.mark.long
def test_it_comes_up_watches_tells_and_changes(engine: BridgedDocker, tmp_path: Path) -> None:
    make_images(engine, tmp_path)
    stack = Stack(engine, tmp_path)
    stack.edit(alerts={"HostThere": HOST_THERE, "TableLarge": {**TABLE_LARGE, "threshold": "1MiB"}})
    with Inside(engine) as inside, inside.receiver() as receiver:
        stack.settings["PLIMSOLL_WEBHOOK_URL"] = receiver.url
        comes_up(stack, inside)
        secrets = secrets_of(stack)
        is_locked_down(stack, secrets)
        watches_another_database(stack, inside)
        assert secrets_of(stack) == secrets
        is_told(receiver, shown(stack, "webhook"))
        writes_the_history(stack)
        takes_another_threshold(stack, inside)


def comes_up(stack: Stack, inside: Inside) -> None:
    """All are well and scraped, and the history's own server is what is watched."""
    stack.up()
    eventually(lambda: len(query(inside, "up == 1")) == 7 and not query(inside, "up == 0"), seconds=60)
    eventually(lambda: query(inside, 'pg_database_size_bytes{server="main",datname="history"}'))
    running = len(stack.containers()) - 1  # all but `setup`, which has ended
    eventually(lambda: values(inside, 'plimsoll_containers_measured{source="cgroup"}') == [running])


def query(inside: Inside, promql: str) -> list[dict[str, str]]:
    """Give the labels of what Prometheus finds, asked where it is published."""
    found = inside.get(f"{PROMETHEUS}/api/v1/query", query=promql)["data"]["result"]
    return [each["metric"] for each in found]


def values(inside: Inside, promql: str) -> list[float]:
    """Give the values of what Prometheus finds."""
    found = inside.get(f"{PROMETHEUS}/api/v1/query", query=promql)["data"]["result"]
    return [float(each["value"][1]) for each in found]


def secrets_of(stack: Stack) -> dict[str, str]:
    """Give all secrets, as they stand where `setup` keeps them."""
    (volume,) = (each for each in stack.containers()["setup"]["Mounts"] if each["Destination"] == "/secrets")
    secrets = {path.name: path.read_text() for path in Path(volume["Source"]).iterdir()}
    assert len(set(secrets.values())) == len(secrets) == 10
    return secrets


def shown(stack: Stack, name: str) -> str:
    """Ask for a secret as docs/compose.md has it."""
    return stack.compose("run", "--rm", "setup", "show", name).strip()


def is_locked_down(stack: Stack, secrets: dict[str, str]) -> None:
    containers = stack.containers()
    told = json.dumps(containers)
    assert [name for name, secret in secrets.items() if secret in told] == []
    published = {
        name: {(port["HostIp"], port["HostPort"]) for ports in bound.values() for port in ports or ()}
        for name, each in containers.items()
        if (bound := each["HostConfig"]["PortBindings"])
    }
    assert published == {
        "grafana": {("127.0.0.1", "3000")},
        "prometheus": {("127.0.0.1", "9090")},
        "alertmanager": {("127.0.0.1", "9093")},
    }
    del containers["setup"]
    processes = {name: status_of(each) for name, each in containers.items()}
    assert {name for name, status in processes.items() if status["Uid"].split()[0] == "0"} == {"engine"}
    capabilities = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
    assert {int(status[key], 16) for status in processes.values() for key in capabilities} == {0}
    assert {status["NoNewPrivs"] for status in processes.values()} == {"1"}
    reaches(containers)


def status_of(container: dict[str, Any]) -> dict[str, str]:
    lines = Path(f"/proc/{container['State']['Pid']}/status").read_text().splitlines()
    return dict(line.split(":\t") for line in lines)


def reaches(containers: dict[str, dict[str, Any]]) -> None:
    """Check by address, which needs no name, who gets through to whom."""

    def connects(service: str, network: str, to: str, port: int) -> bool:
        address = containers[to]["NetworkSettings"]["Networks"][f"plimsoll_{network}"]["IPAddress"]
        enter = ["nsenter", f"--target={containers[service]['State']['Pid']}", "--net"]
        command = [*enter, sys.executable, "-I", "-S", "-c", CONNECT, address, str(port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert connects("prometheus", "scrape", "exporter", 9745)
    assert not connects("grafana", "scrape", "exporter", 9745)
    assert connects("exporter", "engine", "engine", 2375)
    assert not connects("prometheus", "engine", "engine", 2375)


def watches_another_database(stack: Stack, inside: Inside) -> None:
    """Set in .env what .env.example has for the sample, as for a database of one's own."""
    stack.settings |= {
        "COMPOSE_PROFILES": "sample",
        "DATA_SOURCE_NAME": "postgresql://plimsoll@sample/shop",
    }
    stack.up()
    large = (
        'ALERTS{alertname="TableLarge",alertstate="firing",server="main",datname="shop",relname="purchase"}'
    )
    eventually(lambda: query(inside, large), seconds=60)


def takes_another_threshold(stack: Stack, inside: Inside) -> None:
    """Change plimsoll.yml, and let the service `render` bring that to Prometheus and Alertmanager."""
    sections = yaml.safe_load((stack.config / "plimsoll" / "plimsoll.yml").read_text())
    ops = {"url": "http://inbox:9747/ops", "match": '{severity="critical"}'}
    stack.edit(
        alerts={**sections["alerts"], "TableLarge": {**TABLE_LARGE, "threshold": "1GiB"}},
        webhooks={**sections["webhooks"], "ops": ops},
    )
    assert "in force as /rendered/versions/" in stack.compose("run", "--rm", "render")
    receivers = inside.get(f"{ALERTMANAGER}/api/v2/receivers")
    assert {each["name"] for each in receivers} == {"default", "ops"}
    threshold = 'plimsoll:alert_threshold{alertname="TableLarge"}'
    eventually(lambda: values(inside, threshold) == [2**30])
    eventually(lambda: not query(inside, 'ALERTS{alertname="TableLarge"}'))


def is_told(receiver: InnerReceiver, secret: str) -> None:
    def told() -> list[Post]:
        return [post for post in receiver.posts if ("HostThere", "firing") in post.alerts]

    eventually(told, seconds=90)  # group_wait is 30 seconds
    post = told()[0]
    post.verify(secret)
    notification = json.loads(post.body)
    assert notification["commonAnnotations"]["summary"] == HOST_THERE["summary"]
    assert notification["externalURL"] == ALERTMANAGER


def writes_the_history(stack: Stack) -> None:
    """Read it as Grafana does."""
    asked = "SELECT status FROM plimsoll.alert WHERE alertname = 'HostThere'"
    login = 'PGPASSWORD=$(cat /run/plimsoll/history) psql -h history -U grafana -d history -At -c "$0"'
    eventually(lambda: stack.compose("exec", "-T", "grafana", "sh", "-c", login, asked).split() == ["open"])


# --- the files as they stand --------------------------------------------------------------------------------

FILES = ([FILE], [FILE, PAIRS])


def configured(*command: str | Path, files: list[Path]) -> str:
    """Give what Compose makes of the files; it refuses what the schema of its files does not know."""
    named = [flag for file in files for flag in ("--file", str(file))]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(OLD / "lib" / "python3" / "dist-packages")}
    done = subprocess.run(
        [*command, *named, "config"], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("files", FILES, ids=("alone", "pairs"))
def test_compose_as_it_is_today_reads_it(files: list[Path]) -> None:
    assert set(yaml.safe_load(configured(COMPOSE, files=files))["services"]) > {"exporter", "relay"}


@pytest.mark.parametrize("files", FILES, ids=("alone", "pairs"))
def test_compose_of_debian_reads_it(files: list[Path]) -> None:
    if not OLD.is_dir():
        missing("Debian's docker-compose is not set up: `make setup` fetches it on Debian")
    read = yaml.safe_load(configured(sys.executable, OLD / "bin" / "docker-compose", files=files))
    assert set(read["services"]) > {"exporter", "relay"}
