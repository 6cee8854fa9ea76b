"""Real container engines for the tests: dockerd and Podman's service, from Debian's packages, as root.

An engine lives in a mount and a network namespace, which vanish with it. It finds an /etc, a /run, a /var/lib
and a /dev/shm of its own at the usual places, so nothing of the system's Docker or Podman is read or changed.
Process ids and cgroups are the system's, as an exporter beside an engine finds them.

As a script this file is the keeper of one engine's folder; see `keep`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from plimsoll.demo import processes
from plimsoll.demo.processes import ProcessError

PROGRAMS = Path(__file__).parents[1] / ".tools" / "debian" / "engines"
IMAGE = "busybox:test"
"""The one image that every engine has."""

_INIT = PROGRAMS / "usr" / "bin" / "tini-static"
"""What `--init` puts into a container, where there are no libraries."""

_OWN = ("etc", "run", "var/lib", "dev/shm")
"""What an engine has of its own: each is a folder within its folder."""


def unmet() -> str:
    """Tell why no engine can run here; empty when one can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "only root on Linux can run a container engine of its own"
    if not (PROGRAMS / ".packages").is_file():
        return "Docker and Podman are not set up: `make setup` fetches them, for root on Debian"
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"this root may not make namespaces, as in most containers: {tried.stderr.strip()}"
    return ""


class Engine(ABC):
    """An engine with an image and no containers, in a folder of its own.

    Within `with` it runs, and may be stopped, killed and started again. At the end, also when we are killed,
    every process of it and of its containers is ended, and their cgroups and the folder are removed.
    """

    kind: str
    _containers = "/containers"

    def __init__(self, folder: Path, *flags: str) -> None:
        """Take a folder that exists, of a short path since it is to hold sockets, and the daemon's flags."""
        self.folder = folder.resolve()
        self.socket = self.folder / f"{self.kind}.sock"
        self.host = f"unix://{self.socket}"
        self.log = self.folder / "log"
        self._keepers_log = self.folder / "keeper"
        self._flags = flags
        self._keeper: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._holder = ""

    def __enter__(self) -> Self:
        for name in (*_OWN, "home"):
            (self.folder / name).mkdir(parents=True)
        self._wrap_programs()
        self._configure()
        log = self._keepers_log
        self._keeper = processes.spawn([sys.executable, __file__, self.folder], log=log)
        try:
            self._holder = processes.wait_until(
                lambda: processes.tail(log), what="namespaces", process=self._keeper, log=log
            )
            self.start()
            self._import_image()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        assert not self.folder.exists(), processes.tail(self._keepers_log)

    def _end(self) -> None:
        assert self._keeper is not None
        processes.end(self._keeper, patience=60)
        if self._daemon is not None:
            processes.end(self._daemon)  # which the keeper has killed, but only we can reap

    # --- the daemon -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._daemon is not None
        return self._daemon.pid

    def start(self) -> None:
        """Start the daemon, for the first time or again, and wait until it answers."""
        assert self._daemon is None or self._daemon.poll() is not None, "it runs already"
        self._daemon = processes.spawn(
            [*self._enter(), *self._command(), *self._flags], log=self.log, env=self._environment()
        )
        processes.wait_until(
            self.answers, what=f"{self.kind} in {self.folder}", process=self._daemon, log=self.log, timeout=60
        )

    def stop(self) -> None:
        """End the daemon in order: dockerd then ends its containers, and Podman leaves them alone."""
        assert self._daemon is not None
        processes.end(self._daemon, patience=60)

    def kill(self) -> None:
        """End the daemon as a crash would, together with the containerd that it started; containers go on."""
        assert self._daemon is not None
        helpers = processes.children(self._daemon.pid)
        processes.end(self._daemon, signals=(signal.SIGKILL,))
        processes.wait_until(
            lambda: not any(map(processes.alive, helpers)), what=f"the helpers of {self.kind} ending"
        )

    def answers(self) -> bool:
        """Tell whether the daemon answers a ping."""
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    def _configure(self) -> None:  # noqa: B027  (not every engine needs it)
        """Write the engine's configuration below `etc`."""

    # --- what a test does with it ---------------------------------------------------------------------------

    def name(self, prefix: str = "test") -> str:
        """Return a name that no container has had; each call returns another."""
        return f"{prefix}-{uuid.uuid4().hex[:8]}"

    def run(self, *flags: str, command: Sequence[str] = ("sleep", "9999"), name: str | None = None) -> str:
        """Start a container in the background, and return its id.

        It has no network and 1 second to obey a stop, unless `flags` say otherwise.
        """
        options = ["--detach", "--stop-timeout=1", *([f"--name={name}"] if name else [])]
        if not any(flag.startswith("--net") for flag in flags):
            options.append("--network=none")
        return self.cli("run", *options, *flags, IMAGE, *command).strip()

    def cli(self, *arguments: str | Path) -> str:
        """Run the engine's own command line, and return what it printed; raises ProcessError if it fails."""
        command = [*self._enter(), *self._client(), *map(str, arguments)]
        done = subprocess.run(
            command, env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=120
        )
        if done.returncode != 0:
            told = done.stderr.decode(errors="replace").strip()
            raise ProcessError(f"{self.kind} {' '.join(map(str, arguments))}: {done.returncode}: {told}")
        return done.stdout.decode()

    @abstractmethod
    def _client(self) -> list[str]: ...

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what Docker's API tells of a container, by name or id."""
        found: dict[str, Any] = self.get(f"/containers/{quote(name)}/json")
        return found

    def get(self, path: str, **parameters: str) -> Any:
        """Ask Docker's API, which Podman speaks too; raises ProcessError when that is refused."""
        return self._call("GET", path, **parameters)

    def remove_all(self) -> None:
        """Remove every container, whatever state it is in."""
        for container in self.get("/containers/json", all="1"):
            self._call("DELETE", f"{self._containers}/{container['Id']}", force="1", v="1", timeout="0")

    def _call(self, method: str, path: str, **parameters: str) -> Any:
        status, body = self.request(method, f"{path}?{urlencode(parameters)}")
        if status >= 400:
            raise ProcessError(f"{self.kind} {method} {path}: {status}: {body.decode(errors='replace')}")
        return json.loads(body) if body else None

    def request(self, method: str, target: str) -> tuple[int, bytes]:
        """Send one request to the socket, and return status and body; raises OSError when nobody listens."""
        connection = _Connection(self.socket)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    # --- its programs ---------------------------------------------------------------------------------------

    @property
    def _programs(self) -> Path:
        return self.folder / "bin"

    def _wrap_programs(self) -> None:
        """Write a script for every program that makes it find the libraries which the system may lack.

        A variable for the daemon alone does not do: Podman runs its OCI runtime with an empty environment.
        """
        libraries = sorted({str(path.parent) for path in PROGRAMS.glob("**/*-linux-gnu*/lib*.so.*")})
        self._programs.mkdir()
        for program in (*PROGRAMS.glob("usr/sbin/*"), *PROGRAMS.glob("usr/bin/*")):
            script = self._programs / program.name
            script.write_text(
                f"#!/bin/sh\nexport LD_LIBRARY_PATH='{':'.join(libraries)}'\nexec '{program}' \"$@\"\n"
            )
            script.chmod(0o755)

    def _enter(self) -> list[str]:
        """Return what makes a command run where the engine's own folders are in place."""
        return ["nsenter", f"--target={self._holder}", "--mount", "--net", "--"]

    def _environment(self) -> dict[str, str]:
        """Return an environment without DOCKER_HOST and the like, of those who work with containers daily."""
        path = os.pathsep.join([str(self._programs), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        return {"PATH": path, "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder)}

    def _import_image(self) -> None:
        archive = self.folder / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(PROGRAMS / "bin" / "busybox", "bin/busybox")
            applets = subprocess.check_output([PROGRAMS / "bin" / "busybox", "--list"], text=True).split()
            for applet in applets:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                if applet != "busybox":
                    tar.addfile(link)
            users = tarfile.TarInfo("etc/passwd")
            content = b"root:x:0:0:root:/:/bin/sh\n"
            users.size = len(content)
            tar.addfile(users, io.BytesIO(content))
        self.cli("import", archive, IMAGE)
        archive.unlink()


class Docker(Engine):
    """A dockerd with a containerd of its own."""

    kind = "docker"

    def _command(self) -> list[str | Path]:
        # What killed ones left: their ids may be others' by now, or wait as zombies for a slow init.
        for stale in ("run/docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / stale).unlink(missing_ok=True)
        return [
            self._programs / "dockerd",
            f"--host={self.host}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            "--exec-opt=native.cgroupdriver=cgroupfs",  # the other one would ask the system's systemd
            f"--init-path={_INIT}",
            "--bridge=none",
            "--iptables=false",  # a program that may be missing
            "--ip6tables=false",
        ]

    def _client(self) -> list[str]:
        return [str(self._programs / "docker"), "--host", self.host]


class Podman(Engine):
    """Podman's API service. There is no daemon behind a container, so that it outlives the service's end."""

    kind = "podman"
    _containers = "/v4.0.0/libpod/containers"  # Docker's way heeds no timeout, and waits for 10 s

    def _configure(self) -> None:
        etc = self.folder / "etc" / "containers"
        etc.mkdir()
        (etc / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        (etc / "storage.conf").write_text(f"""\
[storage]
driver = "overlay"
graphroot = "{self.folder / "data"}"
runroot = "{self.folder / "exec"}"
""")
        # Podman would raise the limits, which root in a sandbox may not. The runtime is runc here too, since
        # crun refuses the "hybrid" cgroups of some systems.
        (etc / "containers.conf").write_text(f"""\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=16384:16384"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["{self._programs / "conmon"}"]
init_path = "{_INIT}"
[engine.runtimes]
runc = ["{self._programs / "runc"}"]
""")

    def _command(self) -> list[str | Path]:
        self.socket.unlink(missing_ok=True)
        return [self._programs / "podman", "system", "service", "--time=0", self.host]

    def _client(self) -> list[str]:
        return [str(self._programs / "podman"), "--remote", "--url", self.host]


class _Connection(http.client.HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


# --- the end of an engine -----------------------------------------------------------------------------------


def keep(folder: Path) -> None:
    """Hold an engine's namespaces, print who has them, and remove everything of the engine on SIGTERM.

    We run beside the process that uses the engine, and get SIGTERM when it ends, so that nothing stays behind
    even if it is killed.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    mounts = [f"mount --bind '{folder / name}' '/{name}'" for name in _OWN]
    script = " && ".join([*mounts, "echo ready", "exec cat"])  # cat ends with its input, and that with us
    holder = subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation=private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():
        sys.exit(f"unshare and mount ended with status {holder.wait()}")
    print(holder.pid, flush=True)
    signal.sigwait({signal.SIGTERM})
    sweep(folder)
    holder.wait()


def sweep(folder: Path) -> None:
    """Kill every process of the engine and of its containers, then remove their cgroups and the folder."""
    ids = {path.name for path in folder.glob("data/*containers/*")}
    around_us = _containers_of(os.getpid())  # when the tests run in a container themselves
    deadline = time.monotonic() + 30
    while running := list(users_of(folder)):
        if time.monotonic() > deadline:
            sys.exit(f"these processes do not end: {running}")
        for pid in running:
            ids |= _containers_of(pid) - around_us
        _thaw(ids)
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    while groups := cgroups_of(ids):
        if time.monotonic() > deadline:
            sys.exit(f"these cgroups cannot be removed: {groups}")
        for group in groups:
            with contextlib.suppress(OSError):  # busy for a moment after its last process
                group.rmdir()
    shutil.rmtree(folder)


def users_of(folder: Path) -> Iterator[int]:
    """Give the processes which see a mount from within `folder`: those of its engine and of its containers.

    Outside of the engine's mount namespace there is no such mount.
    """
    needle = f"/{folder.name}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle in (process / "mountinfo").read_bytes():
                yield int(process.name)


def _containers_of(pid: int) -> set[str]:
    """Return the ids of containers in the names of a process' cgroups."""
    try:
        return set(re.findall(r"\b[0-9a-f]{64}\b", Path(f"/proc/{pid}/cgroup").read_text()))
    except OSError:
        return set()


def cgroups_of(containers: set[str]) -> list[Path]:
    """Return the cgroups of containers, given by their ids, and those below: a child before its parent."""
    folders = (folder for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False))
    return [Path(folder) for folder in folders if any(container in folder for container in containers)]


def _thaw(containers: set[str]) -> None:
    """Let paused containers go on: what is frozen by the older freezer cannot even be killed."""
    for group in cgroups_of(containers):
        with contextlib.suppress(OSError):
            (group / "freezer.state").write_text("THAWED")


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
