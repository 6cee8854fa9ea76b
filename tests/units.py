"""A real systemd for the units of docs/systemd: the first process of namespaces of its own.

It finds the program at /opt/plimsoll, the files of a test at /etc/plimsoll, and no unit but those that it is
given. It has the host's network, in which PostgreSQL listens.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plimsoll.demo import processes

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "docs" / "systemd"
UNPACKED = ROOT / ".tools" / "debian" / "systemd"
"""Debian's package, where the system lacks systemd."""

_UNPACKED_INSIDE = "/opt/plimsoll/systemd"

_TARGETS = ("default", "sysinit", "basic", "shutdown", "network-online", "multi-user")
"""What units refer to: nothing is behind it here."""

_PROGRAM = """\
#!/bin/sh
export PYTHONPATH=/opt/plimsoll/source:/opt/plimsoll/packages LD_LIBRARY_PATH=/opt/plimsoll/python/lib
exec /opt/plimsoll/python/bin/python{version} -m plimsoll "$@"
"""


@dataclass(frozen=True)
class Program:
    """A program of systemd's, and where it finds its libraries; empty where those are the system's, too."""

    path: str
    libraries: str = ""

    def command(self, *arguments: str | Path) -> list[str]:
        """Give a command line."""
        libraries = [f"LD_LIBRARY_PATH={self.libraries}"] if self.libraries else []
        return ["env", *libraries, self.path, *map(str, arguments)]

    def command_inside(self, *arguments: str | Path) -> list[str]:
        """Give a command line for where systemd runs."""
        return [part.replace(str(UNPACKED), _UNPACKED_INSIDE) for part in self.command(*arguments)]


def program(name: str) -> Program | None:
    """Find a program of the system's, or of the package that `make setup` has unpacked."""
    places = ["/usr/lib/systemd", "/lib/systemd", os.environ.get("PATH", os.defpath)]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return Program(found)
    places = [str(UNPACKED / folder) for folder in ("lib/systemd", "bin", "usr/bin")]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        libraries = sorted({str(path.parent) for path in UNPACKED.glob("**/lib*.so*")})
        return Program(found, os.pathsep.join(libraries))
    return None


def unmet() -> str:
    """Tell why systemd cannot be run here; empty when it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "only root on Linux can run a systemd of its own"
    if not program("systemd"):
        return "systemd is not there: `make setup` fetches it on Debian"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"this root may not make namespaces, as in most containers: {tried.stderr.strip()}"
    return "" if _unified() else "the kernel has no cgroup v2, or it is not mounted"


class Systemd:
    """It runs within `with`, and ends with all that it has started.

    Args:
        folder: for its files, empty. What is in `etc` becomes /etc/plimsoll, and `units` holds the units.
    """

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "etc"
        self.units = folder / "units"
        self._folder = folder
        self._manager = program("systemd")
        self._pid = 0
        for made in (self.etc, self.units, folder / "bin"):
            made.mkdir()
        for target in _TARGETS:
            (self.units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        script = folder / "bin" / "plimsoll"
        script.write_text(_PROGRAM.format(version=f"{sys.version_info.major}.{sys.version_info.minor}"))
        script.chmod(0o755)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it, and wait until it answers."""
        assert self._manager is not None
        with _own_cgroup() as group:
            log = self._folder / "log"
            unshare = "unshare --fork --kill-child --mount --pid --cgroup --uts --ipc --mount-proc"
            join = f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))}"
            line = f"{join} && exec {unshare} sh -ec {shlex.quote(self._inside())}"
            outer = processes.spawn(["sh", "-c", line], log=log)
            try:
                self._pid = processes.wait_until(
                    lambda: next(iter(processes.children(outer.pid)), 0), what="unshare", process=outer
                )
                processes.wait_until(self._answers, what="systemd", process=outer, log=log)
                yield
            finally:
                processes.end(outer, signals=())

    def _answers(self) -> bool:
        return self.systemctl("is-system-running", check=False) == "running"

    def _inside(self) -> str:
        """Give the script that makes the file system, and becomes systemd."""
        assert self._manager is not None
        folders = {
            sys.base_prefix: "python",
            sysconfig.get_path("purelib"): "packages",
            str(ROOT / "exporter"): "source",
            str(self._folder / "bin"): "bin",
            **({str(UNPACKED): Path(_UNPACKED_INSIDE).name} if UNPACKED.is_dir() else {}),
        }
        mounts = [
            "mount --make-rprivate /",
            "umount --recursive --lazy /sys/fs/cgroup",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            *(f"mount -t tmpfs -o mode=755 tmpfs {place}" for place in ("/run", "/opt")),
            "mount -t tmpfs tmpfs /var/tmp",
            "mkdir -p /run/own/etc /run/own/work /run/own/units",
            "mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/own/etc,workdir=/run/own/work /etc",
            "mkdir -p /etc/plimsoll",
            f"mount --bind {shlex.quote(str(self.etc))} /etc/plimsoll",
            f"mount --bind {shlex.quote(str(self.units))} /run/own/units",
            *(
                f"mkdir -p /opt/plimsoll/{name} && mount --bind {shlex.quote(source)} /opt/plimsoll/{name}"
                for source, name in folders.items()
            ),
            "mount -t tmpfs tmpfs /tmp",
            "mount --make-rshared /",  # as on a host: systemd hands credentials over by mounting them
        ]
        manager = self._manager.command_inside("--system", "--unit=default.target")
        variables = ["env", "container=test", "SYSTEMD_UNIT_PATH=/run/own/units"]
        return "\n".join([*mounts, f"exec {shlex.join([*variables, *manager])}"])

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program where systemd does, and give what it printed."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--"]
        done = subprocess.run(
            [*enter, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout.strip()

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl."""
        found = program("systemctl")
        assert found is not None
        return self.run(*found.command_inside(*arguments), check=check)

    def install(self, name: str) -> None:
        """Install a unit of ours that listens on a port of the system's choice, and logs to `log`."""
        text = (UNITS / f"{name}.service").read_text()
        start = re.search(r"^ExecStart=.*$", text, re.MULTILINE)
        assert start
        (self.units / f"{name}.service").write_text(text)
        drop_in = self.units / f"{name}.service.d"
        drop_in.mkdir()
        lines = [f"{stream}=append:/run/{name}.log" for stream in ("StandardOutput", "StandardError")]
        lines += ["ExecStart=", f"{start[0]} --web.listen-address=127.0.0.1:0 --log.format=json"]
        (drop_in / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))

    def log(self, name: str) -> str:
        """Give what a service has logged."""
        return Path(f"/proc/{self._pid}/root/run/{name}.log").read_text()

    def url(self, name: str) -> str:
        """Wait until a service listens, and give its URL."""
        lines = processes.wait_until(
            lambda: [line for line in self.log(name).splitlines() if '"listening"' in line],
            what=f"{name} listening",
        )
        return str(json.loads(lines[-1])["url"])


def _unified() -> Path | None:
    """Give where cgroup v2 is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


@contextlib.contextmanager
def _own_cgroup() -> Iterator[Path]:
    """Give a cgroup below ours, in which systemd may do what it likes; remove it when it is empty."""
    unified = _unified()
    assert unified is not None
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    ours = next(line.removeprefix("0::/") for line in lines if line.startswith("0::"))
    group = unified / ours / f"plimsoll-{uuid.uuid4().hex[:12]}"
    group.mkdir()
    try:
        yield group
    finally:
        processes.wait_until(lambda: _removed(group), what=f"{group} being empty")


def _removed(group: Path) -> bool:
    """Remove a cgroup and those below, and tell whether it could be done: processes take a moment to go."""
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
    return not group.exists()
