"""What is published about the containers of real engines."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engines import Engine
from serving import Samples, Serving, serving
from support import missing
from waiting import eventually

MIB = 2**20
BUSY = ("sh", "-c", "while :; do :; done")
KILLED_BY_KERNEL = ("sh", "-c", "sleep 1; exec tail /dev/zero")


def config(engine: Engine, **own: Any) -> dict[str, Any]:
    return {"containers": [{"name": "local", "docker_host": engine.host, **own}]}


@pytest.fixture(scope="module")
def exporters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Engine], Serving]]:
    """Give a function that gives the exporter of an engine, which knows it already."""
    running: dict[str, Serving] = {}
    with ExitStack() as stack:

        def start(engine: Engine) -> Serving:
            if engine.kind not in running:
                folder = tmp_path_factory.mktemp(engine.kind)
                running[engine.kind] = stack.enter_context(serving(config(engine), folder))
                running[engine.kind].scrape()
            return running[engine.kind]

        yield start


@pytest.fixture
def exporter(engine: Engine, exporters: Callable[[Engine], Serving]) -> Serving:
    """Give an exporter that watches Docker, and then one that watches Podman."""
    return exporters(engine)


@pytest.fixture
def on_docker(docker: Engine, exporters: Callable[[Engine], Serving]) -> Serving:
    """Give an exporter that watches Docker."""
    return exporters(docker)


def state(samples: Samples, name: str) -> str | None:
    """Give the one state that a container is in; None if it is not published."""
    states = samples.all("container_state", name=name, engine="local")
    found = [dict(labels)["state"] for labels, value in states.items() if value == 1]
    assert len(found) == (1 if states else 0)
    return found[0] if found else None


def wait_for_state(exporter: Serving, name: str, wanted: str | None) -> Samples:
    """Scrape until a container is in a state, and give that page."""
    pages: list[Samples] = []

    def is_in_state() -> bool:
        pages.append(exporter.scrape())
        return state(pages[-1], name) == wanted

    eventually(is_in_state, 30)
    return pages[-1]


def facts(samples: Samples, name: str) -> tuple[str | None, float | None, float | None]:
    """Give state, exit code, and whether the container ought to run."""
    code = samples.get("container_exit_code", name=name)
    return state(samples, name), code, samples.get("container_expected_running", name=name)


# --- how containers fare --------------------------------------------------------------------------------


def test_one_that_runs(engine: Engine, exporter: Serving) -> None:
    name = engine.name("runs")
    identity = engine.run(
        "--label=com.docker.compose.project=shop", "--label=com.docker.compose.service=web", name=name
    )

    samples = wait_for_state(exporter, name, "running")

    assert facts(samples, name) == ("running", None, 1)
    ((labels, started),) = samples.all("container_start_time_seconds", name=name).items()
    assert time.time() - 60 < started <= time.time()
    path = "/docker/" if engine.kind == "docker" else "/libpod_parent/libpod-"
    assert dict(labels) == {
        "engine": "local",
        "id": path + identity,
        "image": engine.inspect(name)["Config"]["Image"],
        "container_label_com_docker_compose_project": "shop",
        "container_label_com_docker_compose_service": "web",
    }
    assert samples.get("container_restarts_total", name=name) == 0
    assert samples.get("container_oom_events_total", name=name) == 0
    assert samples.get("container_processes", name=name) == 1
    assert samples.get("machine_cpu_cores", engine="local") == os.cpu_count()
    assert samples.get("plimsoll_containers_measured", source="cgroup") == 1
    assert samples.get("plimsoll_containers_measured", source="none") == 0


def test_one_that_ended(engine: Engine, exporter: Serving) -> None:
    crashed, done = engine.name("crashed"), engine.name("done")
    engine.run(name=crashed, command=("sh", "-c", "exit 3"))
    engine.run(name=done, command=("true",))

    wait_for_state(exporter, crashed, "exited")
    samples = wait_for_state(exporter, done, "exited")

    assert facts(samples, crashed) == ("exited", 3, 1)
    assert facts(samples, done) == ("exited", 0, 0)
    assert samples.get("container_cpu_usage_seconds_total", name=crashed) is None
    assert samples.get("container_health_state", name=crashed) is None


def test_one_that_was_never_started(engine: Engine, exporter: Serving) -> None:
    name = engine.name("created")
    engine.cli("create", "--network=none", f"--name={name}", "busybox:test", "true")

    samples = wait_for_state(exporter, name, "created")

    assert facts(samples, name) == ("created", None, 0)
    assert samples.get("container_start_time_seconds", name=name) is None


def test_one_that_is_stopped_and_started_again(engine: Engine, exporter: Serving) -> None:
    name = engine.name("stopped")
    engine.run(name=name)
    wait_for_state(exporter, name, "running")

    engine.cli("stop", name)
    wait_for_state(exporter, name, "exited")
    eventually(lambda: exporter.scrape().get("container_expected_running", name=name) == 0)

    engine.cli("start", name)
    assert facts(wait_for_state(exporter, name, "running"), name) == ("running", None, 1)


def test_one_that_is_paused(engine: Engine, exporter: Serving) -> None:
    name = engine.name("paused")
    engine.run(name=name)
    engine.cli("pause", name)

    samples = wait_for_state(exporter, name, "paused")

    assert facts(samples, name) == ("paused", None, 1)
    assert samples.get("container_cpu_usage_seconds_total", name=name) is not None
    engine.cli("unpause", name)
    wait_for_state(exporter, name, "running")


def test_one_that_is_killed(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("killed")
    docker.run(name=name)
    wait_for_state(on_docker, name, "running")

    docker.cli("kill", name)

    assert facts(wait_for_state(on_docker, name, "exited"), name) == ("exited", 137, 1)


def test_one_that_is_removed_by_force(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("removed")
    docker.run(name=name)
    seen = wait_for_state(on_docker, name, "running")

    docker.cli("rm", "--force", name)
    samples = wait_for_state(on_docker, name, "removed")

    assert facts(samples, name) == ("removed", 137, 1)
    last_seen = samples.get("container_last_seen", name=name)
    assert last_seen is not None
    assert last_seen >= (seen.get("container_last_seen", name=name) or 0)
    assert on_docker.scrape().get("container_last_seen", name=name) == last_seen


def test_one_that_is_recreated(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("recreated")
    docker.run(name=name)
    wait_for_state(on_docker, name, "running")

    docker.cli("rm", "--force", name)
    wait_for_state(on_docker, name, "removed")
    identity = docker.run(name=name)

    samples = wait_for_state(on_docker, name, "running")
    (labels,) = samples.all("container_expected_running", name=name)
    assert dict(labels)["id"] == f"/docker/{identity}"


def test_a_project_that_is_taken_down_in_order(on_docker: Serving, docker: Engine) -> None:
    names = [docker.name("project") for _ in range(3)]
    for name in names:
        docker.run("--label=com.docker.compose.project=shop", name=name)
        wait_for_state(on_docker, name, "running")

    docker.cli("stop", *names)
    docker.cli("rm", *names)

    for name in names:
        samples = wait_for_state(on_docker, name, "removed")
        assert samples.get("container_expected_running", name=name) == 0


def test_one_that_removes_itself(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("one-off")
    docker.run("--rm", name=name, command=("sleep", "2"))

    assert facts(wait_for_state(on_docker, name, "running"), name)[2] == 0
    wait_for_state(on_docker, name, None)


def test_one_that_is_renamed(engine: Engine, exporter: Serving) -> None:
    name, later = engine.name("before"), engine.name("after")
    engine.run(name=name)
    wait_for_state(exporter, name, "running")

    engine.cli("rename", name, later)

    assert facts(wait_for_state(exporter, later, "running"), later) == ("running", None, 1)
    assert state(exporter.scrape(), name) is None


def test_restarts_count_up_and_never_go_back(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("looping")
    docker.run("--restart=always", name=name, command=("sh", "-c", "sleep 0.3; exit 1"))

    def restarts() -> float:
        count = on_docker.scrape().get("container_restarts_total", name=name)
        assert count is not None
        return count

    eventually(lambda: restarts() >= 3, 60)
    before = restarts()
    docker.cli("restart", "--time=0", name)  # which lets Docker itself begin anew at 0
    assert docker.inspect(name)["RestartCount"] < before
    assert restarts() >= before
    eventually(lambda: restarts() > before, 60)


def test_a_health_check_that_fails(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("ill")
    docker.run("--health-cmd=test ! -e /ill", "--health-interval=1s", "--health-retries=1", name=name)

    def health() -> tuple[dict[str, float], float | None]:
        samples = on_docker.scrape()
        statuses = samples.all("container_health_status", name=name).items()
        return (
            {dict(labels)["status"]: value for labels, value in statuses},
            samples.get("container_health_state", name=name),
        )

    eventually(lambda: health() == ({"starting": 0, "healthy": 1, "unhealthy": 0}, 1), 30)
    docker.cli("exec", name, "touch", "/ill")
    eventually(lambda: health() == ({"starting": 0, "healthy": 0, "unhealthy": 1}, 0), 30)
    docker.cli("exec", name, "rm", "/ill")
    eventually(lambda: health() == ({"starting": 0, "healthy": 1, "unhealthy": 0}, 1), 30)


# --- out of memory --------------------------------------------------------------------------------------


def kills(samples: Samples, name: str) -> float | None:
    return samples.get("container_oom_events_total", name=name)


def test_the_first_kill_of_a_container_that_we_know(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("oom")
    docker.run("--memory=20m", name=name, command=("sh", "-c", "sleep 3; exec tail /dev/zero"))
    assert kills(wait_for_state(on_docker, name, "running"), name) == 0

    samples = wait_for_state(on_docker, name, "exited")

    eventually(lambda: kills(on_docker.scrape(), name) == 1)
    assert facts(samples, name) == ("exited", 137, 1)


def test_the_first_kill_of_a_newborn_container(on_docker: Serving, docker: Engine) -> None:
    """A counter that is born at 1 has an increase() of 0, so that nobody would be told."""
    name = docker.name("oom")
    docker.run("--memory=20m", name=name, command=("tail", "/dev/zero"))
    eventually(lambda: docker.inspect(name)["State"]["OOMKilled"])

    first = on_docker.scrape()

    assert kills(first, name) == 0
    assert state(first, name) == "exited"
    eventually(lambda: kills(on_docker.scrape(), name) == 1)


def test_the_kill_of_a_child(on_docker: Serving, docker: Engine) -> None:
    """Docker says nothing of it in the container's state."""
    name = docker.name("oom")
    docker.run("--memory=20m", name=name, command=("sh", "-c", "sleep 2; (tail /dev/zero); sleep 999"))
    assert kills(wait_for_state(on_docker, name, "running"), name) == 0

    eventually(lambda: kills(on_docker.scrape(), name) == 1, 30)

    assert docker.inspect(name)["State"]["OOMKilled"] is False
    assert state(on_docker.scrape(), name) == "running"


def test_kills_add_up_over_restarts(on_docker: Serving, docker: Engine) -> None:
    name = docker.name("oom")
    docker.run("--memory=20m", "--restart=on-failure:2", name=name, command=KILLED_BY_KERNEL)
    wait_for_state(on_docker, name, "exited")

    eventually(lambda: kills(on_docker.scrape(), name) == 3, 30)
    assert on_docker.scrape().get("container_restarts_total", name=name) == 2


# --- what containers use --------------------------------------------------------------------------------


def cpu_seconds(samples: Samples, name: str) -> float:
    value = samples.get("container_cpu_usage_seconds_total", name=name, cpu="total")
    assert value is not None
    return value


def cpu_seconds_of_process(pid: int) -> float:
    nanoseconds, *_ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(nanoseconds) / 1e9


def test_cpu_is_what_was_used(engine: Engine, exporter: Serving) -> None:
    """To within 5 % of what the kernel says of its one process, which may use a fifth of a processor."""
    name = engine.name("busy")
    engine.run("--cpus=0.2", name=name, command=BUSY)
    wait_for_state(exporter, name, "running")
    pid = engine.inspect(name)["State"]["Pid"]

    first, really_first = exporter.scrape(), cpu_seconds_of_process(pid)
    eventually(lambda: cpu_seconds_of_process(pid) >= really_first + 2, 60)
    last, really_last = exporter.scrape(), cpu_seconds_of_process(pid)

    used = cpu_seconds(last, name) - cpu_seconds(first, name)
    assert used == pytest.approx(really_last - really_first, rel=0.05)
    assert last.get("container_spec_cpu_quota", name=name) == 20000
    assert last.get("container_spec_cpu_period", name=name) == 100000
    user = last.get("container_cpu_user_seconds_total", name=name)
    system = last.get("container_cpu_system_seconds_total", name=name)
    assert user is not None
    assert system is not None
    assert user + system == pytest.approx(cpu_seconds(last, name), rel=0.05, abs=0.05)
    periods = last.get("container_cpu_cfs_periods_total", name=name)
    throttled = last.get("container_cpu_cfs_throttled_periods_total", name=name)
    assert periods is not None
    assert throttled is not None
    assert 0 < throttled <= periods


def test_memory_is_what_was_used(engine: Engine, exporter: Serving) -> None:
    name = engine.name("full")
    fill = f"head -c {30 * MIB} /dev/zero > /dev/shm/fill; sleep 999"
    engine.run("--memory=64m", "--shm-size=40m", name=name, command=("sh", "-c", fill))
    wait_for_state(exporter, name, "running")

    def used() -> float:
        return exporter.scrape().get("container_memory_usage_bytes", name=name) or 0

    eventually(lambda: used() >= 30 * MIB)
    samples = exporter.scrape()
    usage = samples.get("container_memory_usage_bytes", name=name)
    working_set = samples.get("container_memory_working_set_bytes", name=name)
    assert usage == pytest.approx(30 * MIB, rel=0.1)
    assert working_set == pytest.approx(30 * MIB, rel=0.1)
    assert samples.get("container_spec_memory_limit_bytes", name=name) == 64 * MIB


def test_what_is_shown_agrees_with_docker_stats(on_docker: Serving, docker: Engine) -> None:
    """The comparison: our figures, those of `docker stats`, and the arithmetic of the cgroup's own files."""
    name = docker.name("compared")
    work = f"head -c {20 * MIB} /dev/zero >/dev/shm/fill; head -c {2 * MIB} /dev/zero >/file; touch /done"
    identity = docker.run(
        "--memory=100m", "--shm-size=40m", name=name, command=("sh", "-c", f"{work}; sleep 999")
    )
    eventually(lambda: "done" in docker.cli("exec", name, "ls", "/"))

    samples = on_docker.scrape()
    shown = docker.cli("stats", "--no-stream", "--format={{.MemUsage}} {{.MemPerc}} {{.PIDs}}", name)
    used, limit, percent, pids = re.fullmatch(  # type: ignore[union-attr]
        r"([0-9.]+)MiB / ([0-9.]+)MiB ([0-9.]+)% ([0-9]+)\n", shown
    ).groups()

    working_set = samples.get("container_memory_working_set_bytes", name=name) or 0
    assert working_set / MIB == pytest.approx(float(used), rel=0.02, abs=0.1)
    assert samples.get("container_spec_memory_limit_bytes", name=name) == float(limit) * MIB
    assert 100 * working_set / (100 * MIB) == pytest.approx(float(percent), rel=0.02, abs=0.1)
    assert samples.get("container_threads", name=name) == int(pids)
    stats = docker.get(f"/containers/{identity}/stats", stream="false", **{"one-shot": "true"})
    nanoseconds = stats["cpu_stats"]["cpu_usage"]["total_usage"]
    assert cpu_seconds(samples, name) == pytest.approx(nanoseconds / 1e9, abs=0.02)
    memory = stats["memory_stats"]
    inactive = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file"))
    assert working_set == pytest.approx(memory["usage"] - inactive, rel=0.02)


def test_network_is_what_passed_the_interface(on_docker: Serving, docker: Engine) -> None:
    name, network = docker.name("networked"), docker.name("network")
    docker.cli("network", "create", network)
    identity = docker.run(f"--network={network}", name=name)
    gateway = docker.inspect(name)["NetworkSettings"]["Networks"][network]["Gateway"]
    wait_for_state(on_docker, name, "running")

    docker.cli("exec", name, "ping", "-c", "3", "-s", "1000", gateway)

    samples = on_docker.scrape()
    lines = docker.cli("exec", identity, "cat", "/proc/net/dev").splitlines()
    (counters,) = [line.split()[1:] for line in lines if line.split()[0] == "eth0:"]
    # What the kernel sends of its own accord may pass between the two looks.
    for direction, counter in (("receive", counters[0]), ("transmit", counters[8])):
        shown = samples.get(f"container_network_{direction}_bytes_total", name=name, interface="eth0")
        assert shown == pytest.approx(int(counter), abs=500)
    assert int(counters[0]) > 3000
    assert samples.get("container_network_receive_bytes_total", name=name, interface="lo") is None
    docker.cli("rm", "--force", name)
    docker.cli("network", "rm", network)


def test_block_io_is_what_was_written(on_docker: Serving, docker: Engine) -> None:
    """Some kernels count for cgroup v1 only what they hold back, so there is a limit, a high one."""
    name, device = docker.name("writing"), device_of(docker.folder)
    write = f"dd if=/dev/zero of=/file bs={MIB} count=8 conv=fsync; touch /done; sleep 999"
    docker.run(f"--device-write-bps={device}:1gb", name=name, command=("sh", "-c", write))
    eventually(lambda: "done" in docker.cli("exec", name, "ls", "/"))

    written = on_docker.scrape().get("container_fs_writes_bytes_total", name=name, device=device)

    assert written is not None
    assert 8 * MIB <= written < 16 * MIB


def device_of(path: Path) -> str:
    number = path.stat().st_dev
    uevent = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/uevent")
    if not uevent.is_file():
        missing(f"{path} is on no block device")
    (name,) = re.findall(r"^DEVNAME=(.*)$", uevent.read_text(), re.MULTILINE)
    return f"/dev/{name}"


def test_without_cgroup_files_the_engine_is_asked(engine: Engine, tmp_path: Path) -> None:
    """What the stats API says agrees with what the files say; the scrape is slower, and says who served."""
    name = engine.name("asked")
    engine.run("--memory=64m", "--cpus=0.2", name=name, command=BUSY)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    with (
        serving(config(engine), other) as from_files,
        serving(config(engine, host_root=str(nowhere)), tmp_path) as from_engine,
    ):
        before = wait_for_state(from_files, name, "running")
        asked = wait_for_state(from_engine, name, "running")
        eventually(lambda: from_engine.scrape().get("plimsoll_containers_measured", source="stats") == 1)
        after = from_files.scrape()

    assert asked.get("plimsoll_containers_measured", source="cgroup") == 0
    assert before.get("plimsoll_containers_measured", source="cgroup") == 1
    assert cpu_seconds(before, name) <= cpu_seconds(asked, name) <= cpu_seconds(after, name)
    # Podman does not say how much of the memory is page cache.
    memory = f"container_memory_{'working_set' if engine.kind == 'docker' else 'usage'}_bytes"
    assert asked.get(memory, name=name) == pytest.approx(before.get(memory, name=name), abs=MIB)


# --- selection and labels -------------------------------------------------------------------------------


def test_labels_and_selection(docker: Engine, tmp_path: Path) -> None:
    shown, hidden = docker.name("shown"), docker.name("hidden")
    docker.run("--label=com.acme.org=acme", "--label=tier=db", "--label=secret=x", name=shown)
    docker.run(name=hidden)
    own = {
        "exclude": ["hidden-.*"],
        "labels": ["tier"],
        "labels_as": {"organization": "com.acme.org"},
        "static_labels": {"site": 'the "old" one'},
    }
    with serving(config(docker, **own), tmp_path) as exporter:
        samples = wait_for_state(exporter, shown, "running")

    assert state(samples, hidden) is None
    (labels,) = samples.all("container_restarts_total", name=shown)
    assert {key: value for key, value in labels if key not in ("id", "image")} == {
        "engine": "local",
        "site": 'the "old" one',
        "organization": "acme",
        "container_label_tier": "db",
    }
    assert samples.get("plimsoll_collector_success", collector="containers", site='the "old" one') == 1
