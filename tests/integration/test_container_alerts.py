"""What happens to containers reaches a webhook: a real engine, the committed rules, Prometheus, Alertmanager.

An alert waits some minutes before it fires. Here the invented past says that it has waited already, and for
rates that things were as they are now; whether it fires is decided by what the engine does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engines import Engine
from plimsoll.demo.history import History, Past, Sample, samples_of, shipped_rule
from plimsoll.demo.service import fetch
from waiting import eventually
from watching import Watching, watching

pytestmark = pytest.mark.long

TROUBLES = {
    "ContainerDown",
    "ContainerRestartLoop",
    "ContainerCpuHigh",
    "ContainerThrottled",
    "ContainerMemoryHigh",
    "ContainerOomKilled",
    "ContainerUnhealthy",
}
UNREACHABLE = "ContainerEngineUnreachable"
TOLD = TROUBLES | {UNREACHABLE}
"""Presets that fire and resolve here."""

MIB = 2**20
BUSY = ("sh", "-c", "while :; do :; done")
SINCE = 1200.0
"""Seconds before the start since when an invented alert has waited: longer than any of them has to."""

KILLS = "container_oom_events_total"
KILLED_BEFORE = 14 * 60.0
"""Seconds before the start when a container was killed, as we invent it; a kill is told for 15 minutes."""


def invent_alert(history: History, alert: str, value: float, **labels: str) -> None:
    """Add that an alert has waited long enough, with the value that its signal had."""
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    history.add(shipped_rule(alert).signal, text, lambda _: value, since=SINCE)
    history.add_alert(alert, text, since=SINCE)


def invent_past(
    history: History, page: str, target: dict[str, str], name: str, metric: str, past: Callable[[float], Past]
) -> None:
    """Add the past of one of a container's metrics, made of its present value."""
    scraped = ",".join(f'{key}="{value}"' for key, value in target.items())
    found = [s for s in samples_of(page) if s.name == metric and f'name="{name}"' in s.labels]
    assert found, f"{metric} of {name} is not on the page"
    for sample in found:
        history.add(metric, f"{sample.labels},{scraped}", past(sample.value), since=SINCE)


def grown_by(rate: float) -> Callable[[float], Past]:
    """Let a counter have grown steadily, by `rate` a second."""
    return lambda now: lambda age: now - rate * age


def from_zero(now: float) -> Past:
    """Let a counter have stood at 0 until a minute ago."""
    return lambda age: now if age < 60 else 0


def one_less_before(moment: float) -> Callable[[float], Past]:
    """Let a counter have counted its last event some seconds ago."""
    return lambda now: lambda age: now if age <= moment else now - 1


def state_on(page: str, name: str) -> str:
    def is_state(sample: Sample) -> bool:
        return sample.name == "container_state" and f'name="{name}"' in sample.labels and sample.value == 1

    (found,) = filter(is_state, samples_of(page))
    return found.labels.rpartition('state="')[2].rstrip('"')


class Troubled:
    """Containers in every trouble, and others in none."""

    def __init__(self, docker: Engine) -> None:
        self.docker = docker
        self.crashed, self.removed, self.looping = map(docker.name, ("crashed", "removed", "looping"))
        self.busy, self.full, self.killed, self.ill = map(docker.name, ("busy", "full", "killed", "ill"))
        self.stopped, self.done, self.recreated = map(docker.name, ("stopped", "done", "recreated"))
        self.project = [docker.name("project") for _ in range(2)]
        self.healthy = [self.stopped, self.done, self.recreated, *self.project]

    def start(self) -> None:
        """Start all; those that fill their memory or fail their check do so soon."""
        run = self.docker.run
        for name in (self.crashed, self.removed, self.stopped, self.recreated, *self.project):
            run(name=name)
        run(name=self.done, command=("sh", "-c", "sleep 2"))
        run("--restart=always", name=self.looping, command=("sh", "-c", "sleep 0.1; exit 1"))
        run("--cpus=0.1", name=self.busy, command=BUSY)
        # What is left has to suffice for a process that takes it away again.
        fill = f"head -c {240 * MIB} /dev/zero >/dev/shm/fill; sleep 9999"
        run("--memory=256m", "--shm-size=256m", name=self.full, command=("sh", "-c", fill))
        wait = "until [ -e /full ]; do sleep 0.1; done"
        run("--memory=20m", name=self.killed, command=("sh", "-c", f"{wait}; (tail /dev/zero); sleep 9999"))
        run("--health-cmd=false", "--health-interval=1s", "--health-retries=1", name=self.ill)

    def get_into_trouble(self) -> None:
        """Do to them what an operator, or bad luck, would do."""
        self.docker.cli("kill", self.crashed)
        self.docker.cli("exec", self.killed, "touch", "/full")
        self.docker.cli("rm", "--force", self.removed, self.recreated)
        self.docker.run(name=self.recreated)
        self.docker.cli("stop", self.stopped, *self.project)
        self.docker.cli("rm", *self.project)

    def is_on(self, page: str) -> bool:
        """Say whether the exporter knows of all that has happened."""
        wanted = {self.removed: "removed", **dict.fromkeys((self.crashed, self.stopped, self.done), "exited")}
        kills = [s.value for s in samples_of(page) if s.name == KILLS and f'name="{self.killed}"' in s.labels]
        return all(state_on(page, name) == state for name, state in wanted.items()) and kills == [1]

    def get_out_of_trouble(self) -> None:
        """Take the causes away."""
        self.docker.cli("start", self.crashed)
        self.docker.run(name=self.removed)
        self.docker.cli("rm", "--force", self.looping)
        self.docker.run(name=self.looping)
        self.docker.cli("stop", self.busy)
        self.docker.cli("exec", self.full, "rm", "/dev/shm/fill")
        self.docker.cli("rm", "--force", self.ill)
        self.docker.run(name=self.ill)

    @property
    def expected(self) -> list[tuple[str, str]]:
        """Which alerts are to fire, and for whom."""
        return [
            ("ContainerDown", self.crashed),
            ("ContainerDown", self.removed),
            ("ContainerRestartLoop", self.looping),
            ("ContainerCpuHigh", self.busy),
            ("ContainerThrottled", self.busy),
            ("ContainerMemoryHigh", self.full),
            ("ContainerOomKilled", self.killed),
            ("ContainerUnhealthy", self.ill),
        ]


def test_what_happens_to_containers_is_told_and_resolved(docker: Engine, tmp_path: Path) -> None:
    troubled = Troubled(docker)
    troubled.start()

    def invent(history: History, page: str, target: dict[str, str]) -> None:
        exporter = f"http://{target['instance']}/metrics"
        for name in (troubled.crashed, troubled.removed, troubled.stopped, troubled.recreated):
            assert state_on(page, name) == "running"
        troubled.get_into_trouble()
        eventually(lambda: troubled.is_on(fetch(exporter)), 60)
        page = fetch(exporter)
        for name in (troubled.crashed, troubled.removed):
            invent_alert(history, "ContainerDown", 0, engine="local", name=name)
        for alert, name, value in (
            ("ContainerCpuHigh", troubled.busy, 100),
            ("ContainerThrottled", troubled.busy, 90),
            ("ContainerMemoryHigh", troubled.full, 95),
            ("ContainerUnhealthy", troubled.ill, 1),
        ):
            invent_alert(history, alert, value, engine="local", name=name)
        for name, metric, past in (
            (troubled.looping, "container_restarts_total", from_zero),
            (troubled.busy, "container_cpu_usage_seconds_total", grown_by(0.1)),
            (troubled.busy, "container_cpu_cfs_periods_total", grown_by(10)),
            (troubled.busy, "container_cpu_cfs_throttled_periods_total", grown_by(9)),
            (troubled.killed, KILLS, one_less_before(KILLED_BEFORE)),
        ):
            invent_past(history, page, target, name, metric, past)

    with watching({}, tmp_path, invent, docker_host=docker.host) as watcher:
        for alert, name in troubled.expected:
            eventually(partial(watcher.told, alert, name=name), 90)
        check_texts(watcher, troubled)
        troubled.get_out_of_trouble()
        for alert, name in troubled.expected:
            eventually(partial(watcher.told, alert, "resolved", name=name), 120)
        assert alerts_told(watcher) == set(troubled.expected)
        watcher.check_lives(TROUBLES)
        for name in troubled.healthy:
            # Not even pending, at any time since the start.
            assert watcher.query(f'max_over_time(ALERTS{{name="{name}"}}[10m])') == []


def alerts_told(watcher: Watching) -> set[tuple[str, str]]:
    alerts = [alert for notification in watcher.notifications for alert in notification["alerts"]]
    return {(alert["labels"]["alertname"], alert["labels"]["name"]) for alert in alerts}


def check_texts(watcher: Watching, troubled: Troubled) -> None:
    def text(alert: str, name: str) -> dict[str, str]:
        found = watcher.told(alert, name=name)[-1]
        assert found["labels"]["engine"] == "local"
        assert not {"id", "image", "instance", "job"} & found["labels"].keys()
        assert f'"{name}"' in found["annotations"]["description"]
        return dict(found["annotations"])

    assert "137" in text("ContainerDown", troubled.crashed)["description"]
    assert float(text("ContainerMemoryHigh", troubled.full)["value"].split()[0]) > 90
    assert float(text("ContainerCpuHigh", troubled.busy)["value"].split()[0]) == pytest.approx(100, abs=15)
    text("ContainerRestartLoop", troubled.looping)
    text("ContainerOomKilled", troubled.killed)
    text("ContainerUnhealthy", troubled.ill)


def test_an_unreachable_engine_explains_its_failing_collector(docker: Engine, tmp_path: Path) -> None:
    link = tmp_path / "engine.sock"
    of_collector = {"engine": "local", "collector": "containers", "target": "local"}

    def invent(history: History, _page: str, _target: dict[str, str]) -> None:
        invent_alert(history, UNREACHABLE, 0, engine="local")
        invent_alert(history, "CollectorFailing", 0, **of_collector)

    with watching({}, tmp_path, invent, docker_host=f"unix://{link}") as watcher:
        eventually(lambda: watcher.told(UNREACHABLE, engine="local"), 60)
        eventually(lambda: is_inhibited(watcher, "CollectorFailing", **of_collector), 60)
        link.symlink_to(docker.socket)
        eventually(lambda: watcher.told(UNREACHABLE, "resolved", engine="local"), 60)


def is_inhibited(watcher: Watching, name: str, **labels: str) -> bool:
    alerts = watcher.alerts(name, **labels)
    return bool(alerts) and all(alert["status"]["inhibitedBy"] for alert in alerts)
