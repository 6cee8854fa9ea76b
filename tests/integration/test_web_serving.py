"""`plimsoll serve` behind TLS and passwords: the real Prometheus scrapes it, and it ends as it should."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fix_web import HOST, Protected, hashed, trusting
from plimsoll.demo.service import fetch
from programs import run_prometheus
from serving import Serving, serving
from waiting import eventually

AUTHORITY = trustme.CA()
CLIENT = AUTHORITY.issue_cert("prometheus")
NO_ENGINE = {"containers": [{"name": "local", "docker_host": "unix:///nonexistent/docker.sock"}]}
PASSWORD = "lovelace"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def protected(directory: Path) -> Protected:
    protected = Protected(directory)
    protected.certify(AUTHORITY)
    protected.certify(AUTHORITY, CLIENT, name="client")
    protected.write("ca.pem", AUTHORITY.cert_pem.bytes())
    protected.configure(client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.pem")
    protected.admit({"prometheus": hashed(PASSWORD, 10)})
    return protected


@pytest.fixture
def exporter(protected: Protected, tmp_path: Path) -> Iterator[Serving]:
    with serving(NO_ENGINE, tmp_path, f"--web.config.file={protected.file}") as running:
        yield running


def job(exporter: Serving, name: str, directory: Path, **changes: Any) -> dict[str, Any]:
    """Give a scrape configuration that is good but for the changes."""
    client = {"cert_file": str(directory / "client.pem"), "key_file": str(directory / "client.key")}
    return {
        "job_name": name,
        "scheme": "https",
        "tls_config": {"ca_file": str(directory / "ca.pem"), **client},
        "basic_auth": {"username": "prometheus", "password": PASSWORD},
        "static_configs": [{"targets": [exporter.url.removeprefix("https://")]}],
        **changes,
    }


def targets(url: str) -> dict[str, tuple[str, str]]:
    """Give health and error of each job's target."""
    active = json.loads(fetch(f"{url}/api/v1/targets"))["data"]["activeTargets"]
    return {target["labels"]["job"]: (target["health"], target["lastError"]) for target in active}


def test_prometheus_scrapes_with_certificate_and_password(
    exporter: Serving, directory: Path, tmp_path: Path
) -> None:
    assert exporter.url.startswith(f"https://{HOST}:")
    jobs = [
        job(exporter, "good", directory),
        job(exporter, "password", directory, basic_auth={"username": "prometheus", "password": "x"}),
        job(exporter, "certificate", directory, tls_config={"ca_file": str(directory / "ca.pem")}),
        job(exporter, "plain", directory, scheme="http"),
    ]
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    with run_prometheus(tmp_path, configuration, f"--storage.tsdb.path={tmp_path / 'data'}") as running:
        eventually(lambda: len(targets(running.url)) == len(jobs))
        eventually(lambda: "unknown" not in {health for health, _ in targets(running.url).values()})
        health = targets(running.url)
        assert health["good"] == ("up", "")
        assert health["password"] == ("down", "server returned HTTP status 401 Unauthorized")
        assert health["certificate"][0] == health["plain"][0] == "down"
    told = {line["msg"] for line in exporter.log if line["level"] != "info"}
    assert told <= {"collection failed"}  # for there is no engine; not a word about bad clients


def test_it_ends_while_a_connection_is_kept(exporter: Serving) -> None:
    port = int(exporter.url.rpartition(":")[2])
    with (
        socket.create_connection((HOST, port)) as plain,
        trusting(AUTHORITY, CLIENT).wrap_socket(plain, server_hostname=HOST) as kept,
    ):
        kept.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: exporter\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 401 ")
        asked = time.monotonic()
        exporter.signal(signal.SIGTERM)
        assert exporter.process.wait(30) == 0
        assert time.monotonic() - asked < 10
    assert [line["msg"] for line in exporter.log if line["level"] != "info"] == []


@pytest.mark.parametrize("secured", [True, False])
def test_a_new_file_is_followed_and_a_bad_one_refused(secured: bool, tmp_path: Path) -> None:
    protected = Protected(tmp_path, {"ada": PASSWORD})
    if secured:
        protected.certify(AUTHORITY)
    with serving(NO_ENGINE, tmp_path, f"--web.config.file={protected.file}") as exporter:
        port = int(exporter.url.rpartition(":")[2])
        protected.write("web.yml", b"basic_auth_users: [\n")
        for _ in range(3):
            assert answer(port, secured).startswith(b"HTTP/1.1 401 ")
        eventually(lambda: exporter.messages("web configuration refused"))
    (told,) = exporter.messages("web configuration refused")
    assert told["level"] == "error"
    assert told["problems"].startswith(f"{protected.file}:2: cannot be read as YAML")


def answer(port: int, secured: bool) -> bytes:
    with socket.create_connection((HOST, port)) as plain:
        context = trusting(AUTHORITY)
        connection = context.wrap_socket(plain, server_hostname=HOST) if secured else plain
        with connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n")
            return connection.recv(1000)


def test_a_bad_file_at_the_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("tls_server_config:\n  cert_file: server.pem\nrate_limit: {}\n")
    done = subprocess.run(
        [*(sys.executable, "-W", "error", "-m", "plimsoll", "serve"), "--web.config.file=web.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    missing = "the file cannot be read: No such file or directory"
    assert done.stderr.splitlines() == [
        "web.yml:1: tls_server_config.key_file: is required",
        f"web.yml:2: tls_server_config.cert_file: {missing} (the path is relative to {tmp_path})",
        "web.yml:3: rate_limit: is a key of exporter-toolkit that Plimsoll does not support",
    ]
