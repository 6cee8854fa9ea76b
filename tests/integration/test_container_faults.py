"""What is lost, and what is not, when a real engine goes away and comes back."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engines import Engine
from fix_engines import OwnEngine
from serving import Samples, Serving, serving
from waiting import eventually

NOWHERE = "unix:///nowhere/engine.sock"


def config(host: str) -> dict[str, Any]:
    return {"containers": [{"name": "local", "docker_host": host}]}


def succeeds(samples: Samples) -> bool:
    return samples.get("plimsoll_collector_success", collector="containers", engine="local") == 1


@contextmanager
def scraping(exporter: Serving) -> Iterator[list[Samples]]:
    """Scrape without pause meanwhile; every scrape is answered with 200 and in time, or `scrape` fails."""
    pages: list[Samples] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def scrape() -> None:
        try:
            while not done.is_set():
                pages.append(exporter.scrape(3))
        except BaseException as failure:  # noqa: BLE001 - it is raised in the test
            failures.append(failure)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield pages
    finally:
        done.set()
        thread.join()
    assert failures == []


def values(pages: list[Samples], metric: str, name: str) -> list[float]:
    found = (page.get(metric, name=name) for page in pages)
    return [value for value in found if value is not None]


@pytest.mark.parametrize("end", [Engine.kill, Engine.stop], ids=["killed", "stopped"])
def test_a_daemon_that_comes_back(
    own_docker: OwnEngine, tmp_path: Path, end: Callable[[Engine], None]
) -> None:
    """No scrape fails, no restart is lost, no counter is falsely 0, and the next scrape shows all again."""
    docker = own_docker()
    looping, lasting, plain = (docker.name(kind) for kind in ("looping", "lasting", "plain"))
    docker.run("--restart=always", name=looping, command=("sh", "-c", "sleep 0.2; exit 1"))
    docker.run("--restart=always", name=lasting)
    docker.run(name=plain)
    with serving(config(docker.host), tmp_path) as exporter:
        eventually(lambda: (exporter.scrape().get("container_restarts_total", name=looping) or 0) >= 2, 60)
        with scraping(exporter) as pages:
            end(docker)
            eventually(lambda: pages and not succeeds(pages[-1]))
            gone = pages[-1]
            docker.start()
            assert succeeds(exporter.scrape())  # the very next one
            seen = len(pages)
            eventually(lambda: len(pages) > seen + 2)
        last = exporter.scrape()

    assert gone.all("container_state") == {}
    assert gone.all("container_cpu_usage_seconds_total") == {}
    assert gone.all("machine_cpu_cores") == {}
    restarts = values(pages, "container_restarts_total", looping)
    assert restarts == sorted(restarts)
    assert restarts[0] >= 2
    # Without a restart policy, nobody has started it again, and nobody ordered it to stop.
    assert last.get("container_expected_running", name=plain) == 1
    assert last.get("container_state", name=plain, state="exited") == 1
    assert last.get("container_state", name=lasting, state="running") == 1
    complaints = [
        line for line in exporter.messages("collection failed") if line["collector"] == "containers"
    ]
    assert {line["target"] for line in complaints} == {"local"}
    # It may break off amid an answer before nobody listens any more; but the same is told once.
    assert len({line["error"] for line in complaints}) == len(complaints)
    assert exporter.messages("collection works again")


def test_a_host_without_an_engine(docker: Engine, tmp_path: Path) -> None:
    link = tmp_path / "engine.sock"
    with serving(config(f"unix://{link}"), tmp_path) as exporter:
        for _ in range(3):
            samples = exporter.scrape()
            assert not succeeds(samples)
            assert samples.all("container_state") == {}
            assert samples.get("plimsoll_collector_success", collector="usage") is None
        (line,) = exporter.messages("no engine listens on")
        assert line["level"] == "warning"
        link.symlink_to(docker.socket)
        assert succeeds(exporter.scrape())


def test_a_socket_without_permission(docker: Engine, tmp_path: Path) -> None:
    owner = docker.socket.stat().st_uid
    root_that_obeys_modes = ("setpriv", "--bounding-set=-dac_override")
    os.chown(docker.socket, 65534, -1)
    docker.socket.chmod(0o600)
    try:
        with serving(config(docker.host), tmp_path, through=root_that_obeys_modes) as exporter:
            for _ in range(2):
                assert not succeeds(exporter.scrape())
            assert len(exporter.messages("not permitted to use unix://")) == 1
            os.chown(docker.socket, owner, -1)
            assert succeeds(exporter.scrape())
    finally:
        os.chown(docker.socket, owner, -1)


def test_an_engine_that_is_gone_costs_nobody_else(docker: Engine, tmp_path: Path) -> None:
    name = docker.name("here")
    docker.run(name=name)
    here, gone = config(docker.host)["containers"][0], {"name": "gone", "docker_host": NOWHERE}
    with serving({"containers": [gone, here]}, tmp_path) as exporter:
        samples = exporter.scrape()

    assert samples.get("container_state", name=name, engine="local", state="running") == 1
    assert samples.get("plimsoll_collector_success", collector="containers", engine="gone") == 0


def test_a_reload_forgets_nothing(docker: Engine, tmp_path: Path) -> None:
    removed, looping = docker.name("removed"), docker.name("looping")
    docker.run(name=removed)
    docker.run("--restart=always", name=looping, command=("sh", "-c", "sleep 0.2; exit 1"))
    with serving(config(docker.host), tmp_path) as exporter:
        eventually(lambda: (exporter.scrape().get("container_restarts_total", name=looping) or 0) >= 2, 60)
        docker.cli("restart", "--time=0", looping)
        docker.cli("rm", "--force", removed)
        before = exporter.scrape()
        changed = config(docker.host)
        changed["containers"][0]["static_labels"] = {"site": "here"}
        (tmp_path / "plimsoll.yml").write_text(json.dumps(changed))
        assert exporter.fetch("/-/reload", method="POST")[0] == 200
        after = exporter.scrape()

    assert before.get("container_state", name=removed, state="removed") == 1
    assert after.get("container_state", name=removed, state="removed", site="here") == 1
    assert after.get("container_expected_running", name=removed, site="here") == 1
    counts = [page.get("container_restarts_total", name=looping) or 0 for page in (before, after)]
    assert counts == sorted(counts)
