"""What happens to hosts and services reaches a webhook: real node_exporters, and a real blackbox_exporter.

The thresholds of a user's file are so low that this machine's own disk, memory and processors pass them.
What no test can bring about, a failed unit, a disk that fills for hours and one that becomes read-only, a
node_exporter reads from a text file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hosts import ClosedService, Exporter, blackbox_exporter, node_exporter, probing, write_text_file
from judging import BUSY, Job, Judging, at_once, job, judging, user_file
from plimsoll.demo.history import History
from plimsoll.demo.service import fetch
from support import missing
from waiting import eventually

pytestmark = pytest.mark.long

TOLD = {
    "HostOffline",
    "HostDiskFull",
    "HostDiskHigh",
    "HostDiskFilling",
    "HostInodesFull",
    "HostDiskReadOnly",
    "HostMemoryHigh",
    "HostCpuHigh",
    "HostServiceFailed",
    "ProbeFailing",
    "ProberOffline",
}
"""Presets that fire and resolve here."""

FAILED = 'node_systemd_unit_state{name="backup.service",state="failed",type="oneshot"}'
DISK = 'device="/dev/sdb1",fstype="ext4",mountpoint="/srv"'
GB = 10**9
OF_FILLING = ("HostDiskHigh", "HostDiskFilling", "HostDiskReadOnly")
COUNTED = r'node_filesystem_files{[^}]*fstype="(ext4|xfs)"'


class Machines:
    """Three hosts: this machine as it is, one whose disk fills, and one that goes offline."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self.this = self._run(stack, "this", "cpu", "filesystem", "meminfo", "textfile")
        self.filling = self._run(stack, "filling", "textfile")
        self.offline = self._run(stack, "offline", "textfile")
        self.blackbox = stack.enter_context(blackbox_exporter(directory))
        self.service = stack.enter_context(ClosedService())
        self.set_disk(20 * GB)
        self.set_unit_failed(True)

    def _run(self, stack: ExitStack, name: str, *collectors: str) -> Exporter:
        return stack.enter_context(node_exporter(self._directory / name, *collectors))

    def set_disk(self, free: float, *, readonly: bool = False) -> None:
        samples = {"size_bytes": 100 * GB, "free_bytes": free, "avail_bytes": free, "readonly": readonly}
        write_text_file(
            self._directory / "filling",
            {f"node_filesystem_{name}{{{DISK}}}": int(value) for name, value in samples.items()},
        )

    def set_unit_failed(self, failed: bool) -> None:
        write_text_file(self._directory / "this", {FAILED: int(failed)})

    def history(self) -> History:
        """Let the disk have lost 2 GB an hour, and have been writable."""
        history = History(span=6 * 3600, step=60)
        labels = f'{DISK},instance="{self.filling.address}"'
        name = "filesystem:node_filesystem_avail_bytes:max"
        history.add(name, labels, lambda age: 20 * GB + 2 * GB * age / 3600)
        history.add("node_filesystem_readonly", f'{labels},job="node"', lambda _: 0)
        return history

    def jobs(self) -> list[Job]:
        return [
            job("node", self.this.address, self.filling.address, self.offline.address),
            job("http", f"http://{self.service.address}/", **probing(self.blackbox, "http_2xx")),
            job("tcp", self.service.address, **probing(self.blackbox, "tcp_connect")),
        ]

    def alerts(self, threshold: int) -> dict[str, object]:
        """Give a section `alerts` with this threshold, in percent, for what is used.

        A disk that HostDiskFull tells of has no HostDiskHigh, so they are about different hosts.
        """
        lower = {"threshold": f"{threshold} %"}
        of_this = {"overrides": [{"match": f'{{instance="{self.this.address}"}}', **lower}]}
        disk = dict.fromkeys(("HostDiskFull", "HostInodesFull"), of_this)
        of_filling = {"match": f'{{instance="{self.filling.address}"}}', **lower}
        high = {"HostDiskHigh": {"threshold": "100 %", "overrides": [of_filling]}}
        loads = dict.fromkeys(("HostMemoryHigh", "HostCpuHigh"), lower)
        offline = dict.fromkeys(("HostOffline", "ProberOffline"), BUSY)
        return {"alerts": at_once({**disk, **high, **loads, **offline})}

    def expected(self) -> dict[str, dict[str, str]]:
        """Give labels of the alerts that are to fire."""
        return {
            **{name: {"instance": self.this.address} for name in TOLD},
            "HostOffline": {"instance": self.offline.address},
            **{name: {"instance": self.filling.address, "mountpoint": "/srv"} for name in OF_FILLING},
            "HostServiceFailed": {"instance": self.this.address, "name": "backup.service"},
            "ProbeFailing": {},
            "ProberOffline": {},
        }


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as stack:
        folder = tmp_path / "machines"
        folder.mkdir()
        machines = Machines(folder, stack)
        if not re.search(COUNTED, fetch(f"http://{machines.this.address}/metrics")):
            missing("no disk of this machine has ext4 or XFS, whose inodes can be used up")
        yield machines


def test_what_happens_to_hosts_is_told_and_resolved(machines: Machines, tmp_path: Path) -> None:
    with (
        user_file(tmp_path, machines.alerts(threshold=0)) as file,
        judging(file, machines.jobs(), machines.history()) as watcher,
    ):
        expected = machines.expected()
        get_into_trouble(watcher, machines)
        watcher.wait_for("firing", expected)
        check_texts(watcher, machines)
        get_out_of_trouble(watcher, machines)
        watcher.wait_for("resolved", expected)
        eventually(lambda: not watcher.query('ALERTS{alertstate="firing"}'))
        eventually(lambda: not unresolved(watcher))
        watcher.check_told(expected)


def unresolved(watcher: Judging) -> set[str]:
    """Give those of which only the start was told: some fire for several disks or jobs, one by one."""
    alerts = watcher.all_told()
    fired = {alert["fingerprint"] for alert in alerts if alert["status"] == "firing"}
    return fired - {alert["fingerprint"] for alert in alerts if alert["status"] == "resolved"}


def get_into_trouble(watcher: Judging, machines: Machines) -> None:
    """Let end what has been seen: what never was well is no news."""
    eventually(lambda: watcher.query(f'up{{instance="{machines.offline.address}"}} == 1'))
    eventually(lambda: watcher.query("filesystem:node_filesystem_readonly:max == 0"))
    eventually(lambda: len(watcher.query("probe:probe_success:max == 0")) == len(("http", "tcp")))
    machines.offline.end()
    machines.set_disk(20 * GB, readonly=True)
    machines.blackbox.end()


def get_out_of_trouble(watcher: Judging, machines: Machines) -> None:
    watcher.change(machines.alerts(threshold=100))
    machines.set_disk(60 * GB)
    machines.set_unit_failed(False)
    machines.service.open()
    machines.blackbox.start()
    machines.offline.start()


def check_texts(watcher: Judging, machines: Machines) -> None:
    (filling,) = watcher.told("HostDiskFilling")
    assert float(filling["annotations"]["value"].removesuffix(" hours")) == pytest.approx(10, rel=0.05)
    assert "It is 80.0 % full: 18.63GiB are left." in filling["annotations"]["description"]
    assert {
        alert["labels"]["job"]: alert["labels"]["instance"] for alert in watcher.told("ProbeFailing")
    } == {
        "http": f"http://{machines.service.address}/",
        "tcp": machines.service.address,
    }
    for name in TOLD - {"ProbeFailing", "ProberOffline"}:
        for alert in watcher.told(name):
            assert f'"{alert["labels"]["instance"]}"' in alert["annotations"]["description"]
