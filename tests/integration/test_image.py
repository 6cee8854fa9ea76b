"""The container image: built from its Dockerfile, and run by a real Docker as the README says."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docker_proxy import SocketProxy, only_reading
from engines import IMAGE as BUSYBOX
from engines import Engine
from images import BASE, IMAGE, ROOT, build_image
from plimsoll import __version__
from plimsoll.demo.processes import ProcessError, workspace
from serving import Samples
from waiting import eventually

USER = 65532
MIB = 2**20
HEALTH_SOON = "--health-interval=3s"
"""Asks what the image asks, but more often."""

FETCH = "import sys; from plimsoll.demo.service import fetch; print(fetch(sys.argv[1]))"


@pytest.mark.long
async def test_the_image_measures_containers_and_is_locked_down(docker: Engine, tmp_path: Path) -> None:
    await asyncio.to_thread(build_image, docker, tmp_path)
    is_described(docker)
    with workspace() as folder:
        async with SocketProxy(docker.socket, folder / "proxy.sock") as proxy:
            (folder / "proxy.sock").chmod(0o666)
            proxy.lets_through = only_reading
            await asyncio.to_thread(runs_as_the_readme_says, docker, folder)
            assert proxy.refused == []


def is_described(docker: Engine) -> None:
    config = docker.get(f"/images/{IMAGE}/json")["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] + config["Cmd"] == ["plimsoll", "serve", "--web.listen-address=:9745"]
    prefix = "org.opencontainers.image"
    assert config["Labels"][f"{prefix}.version"] == __version__
    assert config["Labels"][f"{prefix}.base.name"] == BASE


def runs_as_the_readme_says(docker: Engine, folder: Path) -> None:
    network, busy, name = docker.name("network"), docker.name("busy"), docker.name("plimsoll")
    configure(folder / "config")
    flags, command = readme_says(folder / "config")
    docker.cli("network", "create", network)
    try:
        fill = f"head -c {20 * MIB} /dev/zero >/dev/shm/fill; sleep 999"
        docker.run("--shm-size=40m", f"--network={network}", name=busy, command=("sh", "-c", fill))
        reaching = [f"--network={network}", f"--volume={folder}:/engine:ro", HEALTH_SOON]
        docker.cli("run", *flags, f"--name={name}", *reaching, IMAGE, *command)
        is_healthy(docker, name)
        measures(docker, name, busy)
        may_do_nothing_else(docker, name)
        ends_in_order(docker, name)
    finally:
        docker.remove_all()
        docker.cli("network", "rm", network)


def configure(folder: Path) -> None:
    folder.mkdir()
    engine = {"name": "local", "docker_host": "unix:///engine/proxy.sock", "host_root": "/host"}
    (folder / "plimsoll.yml").write_text(yaml.safe_dump({"containers": [engine]}))


def readme_says(config: Path) -> tuple[list[str], list[str]]:
    """Give the README's flags and command, with a folder of ours, and without what we give ourselves."""
    told = re.search(r"<!-- run the image -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert told
    words = shlex.split(told[1].replace("\\\n", "").replace("$PWD/config", str(config)))
    image = words.index("plimsoll")
    ours = ("--name=", "--network=", "--publish=", "--restart=")
    return [word for word in words[2:image] if not word.startswith(ours)], words[image + 1 :]


def is_healthy(docker: Engine, name: str) -> None:
    def healthy() -> bool:
        state = docker.inspect(name)["State"]
        assert state["Running"], state
        return bool(state["Health"]["Status"] == "healthy")

    eventually(healthy)


def measures(docker: Engine, name: str, busy: str) -> None:
    """Check that all is known of both containers, itself and the busy one, and from cgroup files."""
    eventually(lambda: scrape(docker, name).get("plimsoll_containers_measured", source="cgroup") == 2)
    eventually(lambda: scrape(docker, name).get("container_health_status", name=name, status="healthy") == 1)
    eventually(lambda: (memory_of(docker, name, busy) or 0) >= 20 * MIB)
    samples = scrape(docker, name)
    assert samples.get("plimsoll_collector_success", collector="usage") == 1
    assert samples.get("container_cpu_usage_seconds_total", name=busy, cpu="total")
    assert samples.get("container_network_receive_bytes_total", name=busy, interface="eth0") is not None


def scrape(docker: Engine, name: str) -> Samples:
    """Scrape from beside the container, as Prometheus would: its loopback is not enough."""
    (network,) = docker.inspect(name)["NetworkSettings"]["Networks"].values()
    url = f"http://{network['IPAddress']}:9745/metrics"
    fetch = [*docker._enter(), sys.executable, "-c", FETCH, url]
    return Samples(subprocess.run(fetch, check=True, capture_output=True, text=True, timeout=30).stdout)


def memory_of(docker: Engine, exporter: str, name: str) -> float | None:
    return scrape(docker, exporter).get("container_memory_usage_bytes", name=name)


def may_do_nothing_else(docker: Engine, name: str) -> None:
    process = Path(f"/proc/{docker.inspect(name)['State']['Pid']}")
    status = dict(line.split(":\t") for line in (process / "status").read_text().splitlines())
    assert status["Uid"].split() == status["Gid"].split() == 4 * [str(USER)]
    assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    root = next(line.split() for line in (process / "mountinfo").read_text().splitlines() if " / / " in line)
    assert "ro" in root[5].split(",")
    # What Docker makes itself: the places where folders of the host are mounted.
    made = {f"A {path}" for path in ("/engine", "/host", "/host/proc", "/host/sys")}
    assert set(docker.cli("diff", name).splitlines()) <= made
    docker.cli("exec", name, "python", "-c", "")
    with pytest.raises(ProcessError, match=r"sh -c true: 12[67]:"):  # cannot be run, or found
        docker.cli("exec", name, "sh", "-c", "true")


def ends_in_order(docker: Engine, name: str) -> None:
    docker.cli("stop", "--time=20", name)
    state = docker.inspect(name)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_the_build_gets_what_it_installs_from_and_nothing_else(docker: Engine, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM {BUSYBOX}\nCOPY . /context\n")
    docker.cli("build", f"--file={file}", "--tag=context:test", ROOT)
    listed = docker.cli("run", "--rm", "--network=none", "context:test", "find", "/context", "-type", "f")
    files = {Path(line).relative_to("/context") for line in listed.splitlines()}

    tops = {"exporter/plimsoll", "rules", "alertmanager", "grafana/provisioning", "grafana/dashboards"}
    alone = {"pyproject.toml", "README.md", "LICENSE"}
    strange = {
        file
        for file in files
        if str(file) not in alone and not any(file.is_relative_to(top) for top in {*tops, "wheels"})
    }
    assert strange == set()
    assert {str(file) for file in files} >= alone
    assert all(any(file.is_relative_to(top) for file in files) for top in tops)
    assert not [file for file in files if "__pycache__" in file.parts]
