"""The container engines of the tests run, come back, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines import Engine, cgroups_of, users_of
from fix_engines import KINDS, OwnEngine, running
from plimsoll.demo.processes import alive
from waiting import eventually

RUN_UNTIL_KILLED = """
import sys
from fix_engines import KINDS, running
with running(KINDS[sys.argv[1]]) as engine:
    print(engine.folder, engine.run(), flush=True)
    sys.stdin.read()
"""


def states(engine: Engine) -> dict[str, str]:
    """Give the state of each container by its id."""
    return {container["Id"]: container["State"] for container in engine.get("/containers/json", all="1")}


def left_of(folder: Path, containers: set[str]) -> list[object]:
    """Give what is still there of an engine and its containers."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder.name in line]
    return [*users_of(folder), *cgroups_of(containers), *mounts, *([folder] if folder.exists() else [])]


def test_a_container_runs_and_is_removed(engine: Engine) -> None:
    name = engine.name("busy")

    container = engine.run("--memory=32m", command=["sh", "-c", "echo hello; sleep 9999"], name=name)

    told = engine.inspect(name)
    assert told["Id"] == container
    assert told["State"]["Status"] == "running"
    assert container in Path(f"/proc/{told['State']['Pid']}/cgroup").read_text()
    eventually(lambda: engine.cli("logs", name) == "hello\n")
    assert engine.get("/version")["ApiVersion"] == "1.41"
    engine.remove_all()
    assert states(engine) == {}


def test_a_test_finds_no_container_of_the_one_before(engine: Engine) -> None:
    assert states(engine) == {}


def test_dockers_own_command_line_is_to_be_had(docker: Engine, docker_client: Path) -> None:
    told = subprocess.check_output([docker_client, "--host", docker.host, "ps", "--all"], text=True)
    assert told.splitlines()[0].startswith("CONTAINER ID")


def test_a_killed_docker_comes_back_with_its_containers(own_docker: OwnEngine) -> None:
    engine = own_docker()
    stays = engine.run("--restart=always")
    goes = engine.run()
    process = engine.inspect(stays)["State"]["Pid"]

    engine.kill()
    assert not engine.answers()
    assert alive(process)

    engine.start()
    eventually(lambda: states(engine) == {stays: "running", goes: "exited"})
    assert not alive(process)


def test_a_killed_podman_comes_back_and_its_containers_went_on(own_podman: OwnEngine) -> None:
    engine = own_podman()
    container = engine.run()
    process = engine.inspect(container)["State"]["Pid"]

    engine.kill()
    assert not engine.answers()
    engine.start()

    assert engine.inspect(container)["State"]["Pid"] == process
    assert states(engine) == {container: "running"}
    assert alive(process)


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_leaves_nothing(kind: str) -> None:
    with running(KINDS[kind]) as engine:
        containers = {engine.run(), engine.run(name="paused")}
        engine.cli("pause", "paused")
        assert len(list(users_of(engine.folder))) > 2
        assert cgroups_of(containers)
        engine.kill()

    assert left_of(engine.folder, containers) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_leaves_nothing_when_the_tests_are_killed(kind: str, docker_client: Path) -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        text=True,
    )
    assert user.stdout is not None
    folder, container = user.stdout.readline().split()
    assert Path(folder).exists()

    user.kill()
    user.communicate()

    eventually(lambda: left_of(Path(folder), {container}) == [])
