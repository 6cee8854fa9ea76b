"""Where the kernel keeps what containers use: the cgroup trees, v1 or v2, /proc and /sys of the host."""

from __future__ import annotations

import math
import os
import posixpath
import stat
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from plimsoll.serve.sources.cgroup_files import (
    container_of,
    containers_of_process,
    device_name,
    interfaces,
    pids,
    usage_v1,
    usage_v2,
)
from plimsoll.serve.sources.usage import Traffic, Usage

_SEARCH_AGAIN = 30.0
"""Seconds after which a container that is nowhere in the tree is searched again."""

_PARENTS = {
    ("docker", False): "/docker",
    ("docker", True): "system.slice",
    ("podman", False): "/libpod_parent",
    ("podman", True): "machine.slice",
}
"""Where an engine puts containers that have no parent of their own, without and with systemd."""

_CONTROLLERS = ("memory", "cpuacct", "cpu", "pids", "blkio", "systemd")
"""Hierarchies of v1 that a container can be found in; the first one that has it also lists its processes."""

_READ_SIZE = 16 * 1024
"""Bytes to ask for at once."""

_READ_MORE = 2048
"""Bytes; having got fewer, we have got all. The kernel gives long lists page by page, each of as many whole
lines as fit into 4096 bytes; all other files come whole."""


class Wanted(NamedTuple):
    """A container to be read."""

    id: str
    """64 hexadecimal digits."""
    path: str
    """Where its cgroup most likely is, such as /docker/<id>; see `likely_path`."""
    pid: int
    """Its first process as the host counts, 0 if unknown."""
    network: bool
    """Whether its network namespace is its own, and so are the counters in it."""


def likely_path(
    *,
    engine: Literal["docker", "podman"],
    driver: str,
    parent: str,
    id: str,  # noqa: A002 - the engines' own word
) -> str:
    """Give the path below the root of the cgroup tree where the engine puts a container.

    This is the label `id` of cAdvisor. Sources: WithCgroups in Moby's daemon/oci_linux.go, getOCICgroupPath
    in Podman's libpod/container_internal_linux.go, ExpandSlice in runc's libcontainer.

    Args:
        engine: Which engine; Podman not rootless.
        driver: What the engine calls its cgroup driver or manager: systemd, or else cgroupfs.
        parent: The container's HostConfig.CgroupParent; "" for the engine's default. A relative one of
            cgroupfs would lie in the cgroup of the engine itself, which we do not know.
        id: The container's full id.
    """
    systemd = driver == "systemd"
    directory = parent or _PARENTS[engine, systemd]
    if systemd:
        # Podman gives a whole path, but systemd wants the last name only, and finds the way itself.
        directory = _expanded(posixpath.basename(directory))
    prefix = {"docker": "docker-" if systemd else "", "podman": "libpod-"}[engine]
    name = f"{prefix}{id}{'.scope' if systemd else ''}"
    return posixpath.normpath("/" + f"{directory}/{name}".lstrip("/"))


def _expanded(slice_name: str) -> str:
    """Give the path of a systemd slice: a-b.slice lies in a.slice, and -.slice is the root."""
    names = slice_name.removesuffix(".slice").split("-")
    if not slice_name.endswith(".slice") or not all(names):
        return "" if slice_name == "-.slice" else slice_name
    return "/".join("-".join(names[:end]) + ".slice" for end in range(1, len(names) + 1))


class Cgroups:
    """The cgroup trees, /proc and /sys of the host, below `host_root`.

    That is / or, in a container, where the host's trees are mounted, such as /host. One thread at a time may
    read.
    """

    def __init__(self, host_root: Path) -> None:
        # Paths are strings here: with 100 containers some 1500 files are read, and pathlib would double that.
        root = str(host_root).rstrip("/")
        self._cgroup, self._proc, self._sys = f"{root}/sys/fs/cgroup", f"{root}/proc", f"{root}/sys"
        self._paths: dict[str, str] = {}
        self._missed: dict[str, float] = {}
        self._names: dict[str, str] = {}

    def read(self, wanted: Iterable[Wanted]) -> dict[str, Usage]:
        """Read what the containers have used, by id; one that is not found, or has just gone, is missing.

        Never raises for what it finds or does not find: a file that cannot be read, or makes no sense, costs
        its own values only.
        """
        # Names of devices are remembered no longer than this: numbers are given anew when disks are swapped.
        self._names = {}
        tree = _Tree(self._cgroup)
        by_id = {one.id: one for one in wanted}
        self._find(tree, by_id)
        usages = {id_: self._usage(tree, path, by_id[id_]) for id_, path in self._paths.items()}
        return {id_: usage for id_, usage in usages.items() if usage is not None}

    def _find(self, tree: _Tree, wanted: Mapping[str, Wanted]) -> None:
        """Bring the remembered paths up to date; one walk is for all that are not where they should be."""
        now = time.monotonic()
        found = {id_: path for id_, one in wanted.items() if (path := self._expected(tree, one))}
        lost = wanted.keys() - found.keys()
        due = any(now >= self._missed.get(id_, -math.inf) + _SEARCH_AGAIN for id_ in lost)
        if due:
            found |= tree.search(lost)
        self._missed = {id_: now if due else self._missed[id_] for id_ in lost - found.keys()}
        self._paths = found

    def _expected(self, tree: _Tree, wanted: Wanted) -> str | None:
        for path in (self._paths.get(wanted.id), wanted.path):
            # A path without the id, perhaps of a parent, would give values that are not the container's.
            if path and container_of(posixpath.basename(path)) == wanted.id and tree.directory(path):
                return path
        return None

    def _usage(self, tree: _Tree, path: str, wanted: Wanted) -> Usage | None:
        if not (directory := tree.directory(path)):
            return None
        listed = _processes(directory)
        usage = tree.usage(
            partial(tree.text, path),
            name=self._name,
            pids=listed,
            network=self._traffic(wanted, listed) if wanted.network else {},
        )
        return usage if _links(directory) else None

    def _traffic(self, wanted: Wanted, listed: Sequence[str]) -> dict[str, Traffic]:
        """Read the counters of the container's network; none unless its process is seen to be in it."""
        try:
            process = os.open(f"{self._proc}/{wanted.pid}", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return {}
        try:
            # Both files through one descriptor: should the process end, and its pid be another's, it says so.
            cgroups = _text("cgroup", process)
            inside = wanted.id in containers_of_process(cgroups) or self._is_our_own(cgroups, listed)
            return interfaces(_text("net/dev", process)) if inside else {}
        finally:
            os.close(process)

    def _is_our_own(self, cgroups: str, listed: Sequence[str]) -> bool:
        """Tell whether a process is beside us in our own container, which has the processes `listed`.

        Where we have a cgroup namespace of our own, the path of our cgroup is / and names no container.
        """
        return str(os.getpid()) in listed and cgroups == _text(f"{self._proc}/self/cgroup")

    def _name(self, numbers: str) -> str:
        if numbers not in self._names:
            name = device_name(_text(f"{self._sys}/dev/block/{numbers}/uevent"))
            self._names[numbers] = f"/dev/{name}" if name else numbers
        return self._names[numbers]


class _Tree:
    """A mounted cgroup tree: v2, or the hierarchies of v1, perhaps with v2 beside them.

    Where nothing is mounted, nothing is found in it.
    """

    def __init__(self, root: str) -> None:
        try:
            names = os.listdir(root)  # noqa: PTH208 - see Cgroups
        except OSError:
            names = []
        # A directory can be of several controllers of v1, such as cpu,cpuacct.
        self._roots = {controller: f"{root}/{name}" for name in names for controller in name.split(",")}
        self._unified = root if "cgroup.controllers" in names else None
        self._tops = [self._roots[controller] for controller in _CONTROLLERS if controller in self._roots]
        if self._unified is not None:
            self._tops = [root]
        self.usage = usage_v1 if self._unified is None else usage_v2

    def directory(self, path: str) -> str:
        """Give the container's directory, in the first hierarchy that has it; "" if it is nowhere."""
        return next((directory for top in self._tops if _links(directory := top + path)), "")

    def text(self, path: str, file: str) -> str:
        """Read a file of the cgroup at `path`; "" if that is not possible."""
        top = self._unified
        if top is None:
            top = self._roots.get("unified" if file.endswith(".pressure") else file.partition(".")[0])
        return "" if top is None else _text(f"{top}{path}/{file}")

    def search(self, ids: Collection[str]) -> dict[str, str]:
        """Walk the tree for the containers with these ids; give the path of each that was found."""
        found: dict[str, str] = {}
        waiting = deque([""] if self._tops else [])
        while waiting and len(found) < len(ids):
            path = waiting.popleft()
            for name in _subdirectories(self._tops[0] + path):
                waiting.append(f"{path}/{name}")
                if (id_ := container_of(name)) is not None and id_ in ids:
                    found.setdefault(id_, f"{path}/{name}")
        return found


def _processes(directory: str) -> list[str]:
    """List the processes of a cgroup and of those below it: crun and systemd put them there."""
    listed: list[str] = []
    waiting = [directory]
    while waiting:
        cgroup = waiting.pop()
        listed += pids(_text(f"{cgroup}/cgroup.procs"))
        waiting += [f"{cgroup}/{name}" for name in _subdirectories(cgroup)]
    return listed


def _subdirectories(directory: str) -> list[str]:
    """Name the directories in a directory; none if it cannot be read."""
    # The kernel counts a link for each. Not all other file systems do: those that do not, say 1.
    if _links(directory) in (0, 2):
        return []
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _links(directory: str) -> int:
    """Count the links of a directory; 0 if it is none, or not there for us."""
    try:
        status = os.stat(directory)  # noqa: PTH116 - see Cgroups
    except (OSError, ValueError):  # no path at all: with a NUL in it, say
        return 0
    return status.st_nlink if stat.S_ISDIR(status.st_mode) else 0


def _text(path: str, directory: int | None = None) -> str:
    """Read a file, below an open directory or not; "" if that is not possible."""
    try:
        descriptor = os.open(path, os.O_RDONLY, dir_fd=directory)
    except OSError:
        return ""
    try:
        data = part = os.read(descriptor, _READ_SIZE)
        while len(part) >= _READ_MORE:
            part = os.read(descriptor, _READ_SIZE)
            data += part
        return data.decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
