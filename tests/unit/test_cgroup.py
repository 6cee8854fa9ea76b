"""What is read of a host's cgroup trees: golden values of captured ones, and what damaged ones still give.

The trees below tests/fixtures/cgroup were captured from running kernels and engines, and cut down to what is
read. PLIMSOLL_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before you commit it.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from plimsoll.serve.sources import cgroup
from plimsoll.serve.sources.cgroup import Cgroups, Wanted, likely_path
from plimsoll.serve.sources.usage import Traffic, Usage

TESTS = Path(__file__).parents[1]
FIXTURES = TESTS / "fixtures/cgroup"
TREES = ["v2-cgroupfs", "v2-systemd", "podman-v2", "v1-cgroupfs", "v1-systemd", "hybrid"]

ID = "0c1e45a1d9cf4b63a85250687749fcb23ca5b41eeecf78d22afbee709e3df532"
OTHER = "e31896af666791258090ededd529821802d67f2060261a49732db9cb0c27a2f0"

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:       7       1    0    0    0     0          0         0    7    1    0    0    0     0       0          0
  eth0:    1726      21    0    0    0     0          0         0  866   11    0    0    0     0       0          0
"""  # noqa: E501 - as it is
ETH0 = Traffic(1726, 21, 0, 0, 866, 11, 0, 0)

CPU = {"cpu_seconds", "cpu_user_seconds", "cpu_system_seconds"}
CFS = {"cfs_periods", "cfs_throttled_periods", "cfs_throttled_seconds"}
FED_BY_V2 = {
    "cpu.stat": CPU | CFS,
    "memory.current": {"memory_usage", "memory_working_set"},
    "memory.stat": {"memory_working_set", "memory_rss", "memory_cache"},
    "memory.swap.current": {"memory_swap"},
    "memory.events": {"memory_failcnt", "oom_kills"},
    "pids.current": {"threads"},
    "cgroup.procs": {"processes"},
    "io.stat": {"read_bytes", "written_bytes"},
    "cpu.pressure": {"cpu"},
    "memory.pressure": {"memory"},
    "io.pressure": {"io"},
    "cgroup": {"network"},
    "net/dev": {"network"},
}
FED_BY_V1: dict[str, set[str]] = {
    "cpuacct.usage": {"cpu_seconds"},
    "cpuacct.stat": {"cpu_user_seconds", "cpu_system_seconds"},
    "cpu.stat": CFS,
    "memory.usage_in_bytes": {"memory_usage", "memory_working_set"},
    "memory.stat": {"memory_working_set", "memory_rss", "memory_cache", "memory_swap"},
    "memory.failcnt": {"memory_failcnt"},
    "memory.oom_control": {"oom_kills"},
    "pids.current": {"threads"},
    "cgroup.procs": {"processes"},
    "blkio.throttle.io_service_bytes_recursive": set(),  # this kernel writes zeros there
    "blkio.bfq.io_service_bytes_recursive": {"read_bytes", "written_bytes"},
    "cgroup": {"network"},
    "net/dev": {"network"},
}
FEEDING = [("v2-systemd", file, lost) for file, lost in FED_BY_V2.items()]
FEEDING += [("v1-cgroupfs", file, lost) for file, lost in FED_BY_V1.items()]


class Host:
    """A made-up host with cgroup v2, in a folder."""

    def __init__(self, root: Path, *, version: Literal[1, 2] = 2) -> None:
        self.root = root
        self.tree = root / "sys/fs/cgroup"
        self.tree.mkdir(parents=True)
        if version == 2:
            self.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def cgroup(self, path: str, *, memory: int = 4096, processes: str = "7\n") -> None:
        self.write(f"sys/fs/cgroup{path}/memory.current", f"{memory}\n")
        self.write(f"sys/fs/cgroup{path}/cgroup.procs", processes)

    def process(self, pid: int | str, cgroups: str, net_dev: str = NET_DEV) -> None:
        self.write(f"proc/{pid}/cgroup", cgroups)
        self.write(f"proc/{pid}/net/dev", net_dev)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stand still until told otherwise."""
    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(Clock, "now", 1000.0)
    return Clock()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Record which containers each walk of the tree was for."""
    walks: list[set[str]] = []
    search = cgroup._Tree.search

    def recorded(self: cgroup._Tree, ids: Any) -> dict[str, str]:
        walks.append(set(ids))
        return search(self, ids)

    monkeypatch.setattr(cgroup._Tree, "search", recorded)
    return walks


def wanted(path: str = f"/docker/{ID}", *, id_: str = ID, pid: int = 0, network: bool = True) -> Wanted:
    return Wanted(id_, path, pid, network)


def texts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the path of each file that is read and not empty."""
    paths: list[str] = []
    text = cgroup._text

    def recorded(path: str, directory: int | None = None) -> str:
        if found := text(path, directory):
            paths.append(path)
        return found

    monkeypatch.setattr(cgroup, "_text", recorded)
    return paths


def containers(tree: str) -> dict[str, Wanted]:
    """Give what is wanted of a captured tree, by name."""
    described = json.loads((FIXTURES / tree / "wanted.json").read_text())
    return {
        name: Wanted(
            one["id"],
            likely_path(engine=one["engine"], driver=one["driver"], parent=one["parent"], id=one["id"]),
            one["pid"],
            one["network"],
        )
        for name, one in described.items()
    }


def read(root: Path, names: Mapping[str, Wanted]) -> dict[str, Usage]:
    """Read containers; give them by name."""
    usages = Cgroups(root).read(names.values())
    return {name: usages[one.id] for name, one in names.items() if one.id in usages}


@pytest.mark.parametrize("tree", TREES)
def test_captured_trees(tree: str, searches: list[set[str]]) -> None:
    usages = read(FIXTURES / tree, containers(tree))
    plain = {name: dataclasses.asdict(usage) for name, usage in usages.items()}
    for usage in plain.values():
        for group in ("network", "pressure"):
            usage[group] = {key: values._asdict() for key, values in usage[group].items()}
    text = json.dumps(plain, indent=2) + "\n"

    golden = TESTS / f"golden/cgroup/{tree}.json"
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert searches == [], "a container was not where likely_path says"


@pytest.mark.parametrize("tree", TREES)
def test_captured_trees_when_nobody_knows_where_to_look(tree: str, searches: list[set[str]]) -> None:
    names = containers(tree)
    lost = {name: one._replace(path="/nowhere") for name, one in names.items()}

    assert read(FIXTURES / tree, lost) == read(FIXTURES / tree, names)
    assert searches == [{one.id for one in names.values()}]


def empty(file: Path) -> None:
    file.write_text("")


def garble(file: Path) -> None:
    file.write_bytes(b"\x00\xff\xfe some total=\n0::/x\n: : :\nusage_usec\n" + bytes(range(256)))


def remove(file: Path) -> None:
    file.unlink()


def obstruct(file: Path) -> None:
    """Let it be opened, but not read."""
    file.unlink()
    file.mkdir()


def values(usage: Usage) -> dict[str, Any]:
    """Give all values, with those of pressure by their resource."""
    fields = dataclasses.asdict(usage)
    del fields["pressure"]
    return fields | {resource: usage.pressure.get(resource) for resource in ("cpu", "memory", "io")}


def short(value: object) -> str | None:
    """Name a case; pytest finds a name for what differs only in the rest."""
    return value if isinstance(value, str) else ""


def files_of(root: Path, one: Wanted, file: str) -> set[Path]:
    """Find a file of a container, or of its process."""
    paths = {*root.glob(f"sys/fs/cgroup/**/{file}"), *root.glob(f"proc/{one.pid}/{file}")}
    return {path for path in paths if one.id in str(path) or f"/proc/{one.pid}/" in str(path)}


@pytest.mark.parametrize("damage", [empty, garble, remove, obstruct])
@pytest.mark.parametrize(("tree", "file", "lost"), FEEDING, ids=short)
def test_a_damaged_file_costs_its_own_values_only(
    tree: str, file: str, lost: set[str], damage: Callable[[Path], None], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(FIXTURES / tree, tmp_path / tree, symlinks=True))
    names = containers(tree)
    before = read(root, names)
    for name, one in names.items():
        for path in files_of(root, one, file):
            damage(path)
        after = read(root, names)

        was, now = values(before[name]), values(after[name])
        assert {field for field in was if was[field] != now[field]} <= lost
        assert all(now[field] in (None, {}) for field in lost)
        assert {**after, name: None} == {**before, name: None}
        before = after


@pytest.mark.parametrize(("tree", "file", "lost"), FEEDING, ids=short)
def test_a_truncated_file_costs_its_own_values_only(
    tree: str, file: str, lost: set[str], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(FIXTURES / tree, tmp_path / tree, symlinks=True))
    names = containers(tree)
    (name, one), *_ = names.items()
    before = values(read(root, {name: one})[name])
    (path,) = files_of(root, one, file)
    text = path.read_text()
    for length in range(0, len(text), len(text) // 9 + 1):
        path.write_text(text[:length])
        after = values(read(root, {name: one})[name])

        assert {field for field in before if before[field] != after[field]} <= lost


@pytest.mark.parametrize("tree", ["v2-systemd", "v1-cgroupfs"])
def test_every_file_that_is_read_is_damaged_in_these_tests(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = texts_read(monkeypatch)
    read(FIXTURES / tree, containers(tree))

    files = {path if path == "net/dev" else path.rpartition("/")[2] for path in tried}
    assert files - {"uevent"} == {file for name, file, _ in FEEDING if name == tree}


@pytest.mark.parametrize("reads", range(0, 45, 4))
def test_a_container_that_goes_while_it_is_read_is_missing(
    reads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(FIXTURES / "v2-systemd", tmp_path / "root"))
    names = containers("v2-systemd")
    whole = read(root, names)
    text = cgroup._text
    count = 0

    def last_of_all(path: str, directory: int | None = None) -> str:
        nonlocal count
        count += 1
        if count == reads:
            for directory_ in root.glob(f"sys/fs/cgroup/**/*{victim.id}*"):
                shutil.rmtree(directory_)
        return text(path, directory)

    gone, victim = list(names.items())[1]
    monkeypatch.setattr(cgroup, "_text", last_of_all)
    rest = read(root, names)

    assert {name: rest[name] for name in names if name != gone} == {
        name: whole[name] for name in names if name != gone
    }
    # Gone before its last file was read: missing. Later: whole, for it was so.
    assert rest.get(gone) in (None, whole[gone])


def test_files_that_can_be_opened_but_not_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a cgroup that is just being removed, or those of pressure where that is switched off."""

    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENODEV, "No such device")

    host.cgroup(f"/docker/{ID}")
    monkeypatch.setattr(os, "read", refuse)

    assert Cgroups(host.root).read([wanted()]) == {ID: Usage()}


def test_files_that_we_may_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open all files; so the kernel's answer to others is made up."""
    names = containers("v2-systemd")
    before = {name: values(usage) for name, usage in read(FIXTURES / "v2-systemd", names).items()}
    open_ = os.open

    def refuse(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if "memory." in path or "/proc/" in path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    lost = {"memory_usage", "memory_working_set", "memory_rss", "memory_cache", "memory_swap"}
    lost |= {"memory_failcnt", "oom_kills", "memory", "network"}
    for name, usage in read(FIXTURES / "v2-systemd", names).items():
        after = values(usage)
        assert all(after[field] in (None, {}) for field in lost)
        assert {**after, **dict.fromkeys(lost)} == {**before[name], **dict.fromkeys(lost)}


def test_directories_that_we_may_not_list(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    host.cgroup(f"/docker/{ID}")
    host.cgroup(f"/docker/{ID}/below")
    host.cgroup(f"/elsewhere/{OTHER}")
    monkeypatch.setattr(os, "scandir", refuse)
    usages = Cgroups(host.root).read([wanted(), wanted(id_=OTHER)])

    assert {id_: usage.processes for id_, usage in usages.items()} == {ID: 1}


def test_no_tree_at_all(tmp_path: Path) -> None:
    assert Cgroups(tmp_path).read([wanted()]) == {}
    assert Cgroups(tmp_path / "nowhere").read([wanted()]) == {}


def test_an_empty_tree_of_v1(tmp_path: Path) -> None:
    assert Cgroups(Host(tmp_path, version=1).root).read([wanted()]) == {}


@pytest.mark.parametrize(
    "path", ["", "/", "/docker", "docker", "\x00", "/docker/\x00", "/\udcff", "//..", f"/x/{ID}"]
)
def test_paths_that_lead_nowhere(path: str, host: Host) -> None:
    host.cgroup("/docker", memory=8192)
    host.cgroup(f"/x/{OTHER}")

    assert Cgroups(host.root).read([wanted(path)]) == {}


def test_a_parents_values_are_not_the_containers(host: Host, searches: list[set[str]]) -> None:
    host.cgroup("/docker", memory=8192)
    host.cgroup(f"/docker/{ID}", memory=4096)

    assert Cgroups(host.root).read([wanted("/docker")])[ID].memory_usage == 4096
    assert len(searches) == 1


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID}",
        f"/system.slice/docker-{ID}.scope",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope",
        f"/kubepods/besteffort/pod1-2/{ID}",
        f"/docker/{OTHER}/docker/{ID}",
        f"/system.slice/runner.service/libpod-payload-{ID}",
    ],
)
def test_a_container_is_found_wherever_it_is(path: str, host: Host) -> None:
    host.cgroup(path, memory=4096)
    host.cgroup(f"{path}/init.scope", memory=1)
    host.cgroup(f"/a.slice/libpod-conmon-{ID}.scope", memory=2)
    host.cgroup(f"/a.slice/crio-conmon-{ID}.scope", memory=3)

    assert Cgroups(host.root).read([wanted("/nowhere")])[ID].memory_usage == 4096


def test_a_link_is_not_followed(host: Host) -> None:
    host.cgroup("/docker/other")
    (host.tree / "docker" / ID).symlink_to("other")

    assert Cgroups(host.root).read([wanted("/nowhere")]) == {}


def test_the_outermost_of_several_is_the_containers(host: Host) -> None:
    host.cgroup(f"/docker/{ID}", memory=4096)
    host.cgroup(f"/docker/{ID}/inner/docker-{ID}.scope", memory=1)

    assert Cgroups(host.root).read([wanted("/nowhere"), wanted(id_=OTHER)])[ID].memory_usage == 4096


def test_one_walk_is_for_all_and_is_remembered(host: Host, searches: list[set[str]]) -> None:
    host.cgroup(f"/deep/down/docker-{ID}.scope")
    host.cgroup(f"/deep/libpod-{OTHER}")
    both = [wanted(), wanted(f"/docker/{OTHER}", id_=OTHER)]
    cgroups = Cgroups(host.root)

    assert cgroups.read(both).keys() == cgroups.read(both).keys() == {ID, OTHER}
    assert searches == [{ID, OTHER}]


def test_what_is_remembered_is_forgotten_when_it_is_gone(host: Host, searches: list[set[str]]) -> None:
    host.cgroup(f"/before/{ID}", memory=1)
    cgroups = Cgroups(host.root)
    cgroups.read([wanted()])
    shutil.rmtree(host.tree / "before")
    host.cgroup(f"/after/{ID}", memory=2)

    assert cgroups.read([wanted()])[ID].memory_usage == 2
    assert len(searches) == 2


def test_a_container_that_is_nowhere_is_searched_every_half_minute(
    host: Host, searches: list[set[str]], clock: Clock
) -> None:
    cgroups = Cgroups(host.root)
    for seconds in (0, 1, 29.9, 30, 31, 59.9, 60):
        Clock.now = 1000.0 + seconds
        assert cgroups.read([wanted()]) == {}

    assert len(searches) == 3


def test_a_container_that_appears_where_it_should_be_needs_no_search(
    host: Host, searches: list[set[str]], clock: Clock
) -> None:
    cgroups = Cgroups(host.root)
    cgroups.read([wanted()])
    host.cgroup(f"/docker/{ID}")

    assert cgroups.read([wanted()]).keys() == {ID}
    assert len(searches) == 1


def test_a_new_container_does_not_wait_for_one_that_is_nowhere(
    host: Host, searches: list[set[str]], clock: Clock
) -> None:
    host.cgroup(f"/elsewhere/{OTHER}")
    cgroups = Cgroups(host.root)
    cgroups.read([wanted()])

    assert cgroups.read([wanted(), wanted("/docker", id_=OTHER)]).keys() == {OTHER}
    assert searches == [{ID}, {ID, OTHER}]


def test_what_is_not_wanted_any_more_is_forgotten(host: Host, searches: list[set[str]], clock: Clock) -> None:
    cgroups = Cgroups(host.root)
    for one in ([wanted()], [], [wanted()]):
        cgroups.read(one)

    assert len(searches) == 2


def test_processes_below_are_counted(host: Host) -> None:
    host.cgroup(f"/docker/{ID}", processes="")
    host.cgroup(f"/docker/{ID}/init.scope", processes="7\n")
    host.cgroup(f"/docker/{ID}/system.slice/sshd.service", processes="8\n9\n")
    host.cgroup(f"/docker/{ID}/{'x/' * 300}", processes="10\n")

    assert Cgroups(host.root).read([wanted()])[ID].processes == 4


def test_a_list_longer_than_a_page_is_read_to_its_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.cgroup(f"/docker/{ID}", processes="".join(f"{pid}\n" for pid in range(10_000, 20_000)))
    whole = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: whole(descriptor, min(size, 4092)))

    assert Cgroups(host.root).read([wanted()])[ID].processes == 10_000


def test_nothing_is_left_open(host: Host) -> None:
    host.cgroup(f"/docker/{ID}")
    host.process(7, f"0::/docker/{ID}\n")
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    Cgroups(host.root).read([wanted(pid=7), wanted(id_=OTHER, pid=8)])

    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize(
    ("cgroups", "network"),
    [
        (f"0::/docker/{ID}\n", {"eth0": ETH0}),
        (f"0::/docker/{ID}/init.scope\n", {"eth0": ETH0}),
        (f"0::/../{ID}\n", {"eth0": ETH0}),
        (f"0::/docker/{OTHER}\n", {}),
        (f"0::/docker/{ID}/docker/{OTHER}\n", {}),
        (f"0::/libpod-conmon-{ID}.scope\n", {}),
        ("0::/\n", {}),
        ("", {}),
    ],
)
def test_the_network_is_read_of_the_containers_own_process_only(
    cgroups: str, network: dict[str, Traffic], host: Host
) -> None:
    host.cgroup(f"/docker/{ID}")
    host.process(7, cgroups)

    assert Cgroups(host.root).read([wanted(pid=7)])[ID].network == network


@pytest.mark.parametrize("one", [wanted(pid=0), wanted(pid=8), wanted(pid=-1), wanted(pid=7, network=False)])
def test_no_network_without_a_process_or_a_wish(one: Wanted, host: Host) -> None:
    host.cgroup(f"/docker/{ID}")
    host.process(7, f"0::/docker/{ID}\n")

    assert Cgroups(host.root).read([one])[ID].network == {}


def test_a_pid_that_is_given_anew_while_it_is_read_gives_nothing_foreign(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.cgroup(f"/docker/{ID}")
    host.process(7, f"0::/docker/{ID}\n")
    text = cgroup._text

    def reuse(path: str, directory: int | None = None) -> str:
        found = text(path, directory)
        if path == "cgroup":
            shutil.rmtree(host.root / "proc/7")
            host.process(7, "0::/other\n", NET_DEV.replace("eth0", "eth1"))
        return found

    monkeypatch.setattr(cgroup, "_text", reuse)

    assert Cgroups(host.root).read([wanted(pid=7)])[ID].network == {}


@pytest.mark.parametrize(
    ("we_are_in_it", "ours", "network"),
    [
        (True, "0::/\n", {"eth0": ETH0}),
        (True, "0::/elsewhere\n", {}),
        (False, "0::/\n", {}),
    ],
)
def test_the_network_of_our_own_container_whose_cgroup_has_no_name_for_us(
    we_are_in_it: bool, ours: str, network: dict[str, Traffic], host: Host
) -> None:
    host.cgroup(f"/docker/{ID}", processes=f"0\n{os.getpid() if we_are_in_it else 1}\n")
    host.process(7, "0::/\n")
    host.process("self", ours)

    assert Cgroups(host.root).read([wanted(pid=7)])[ID].network == network


def test_devices_are_named_as_they_are_now(host: Host) -> None:
    host.cgroup(f"/docker/{ID}")
    host.write(f"sys/fs/cgroup/docker/{ID}/io.stat", "259:1 rbytes=1 wbytes=2\n7:0 rbytes=3\n")
    host.write("sys/dev/block/259:1/uevent", "MAJOR=259\nMINOR=1\nDEVNAME=nvme0n1p1\n")
    cgroups = Cgroups(host.root)

    assert cgroups.read([wanted()])[ID].read_bytes == {"/dev/nvme0n1p1": 1, "7:0": 3}

    host.write("sys/dev/block/259:1/uevent", "MAJOR=259\nMINOR=1\nDEVNAME=nvme1n1\n")

    assert cgroups.read([wanted()])[ID].written_bytes == {"/dev/nvme1n1": 2}


def test_each_device_is_looked_up_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for id_ in (ID, OTHER):
        host.cgroup(f"/docker/{id_}")
        host.write(f"sys/fs/cgroup/docker/{id_}/io.stat", "8:0 rbytes=1 wbytes=2\n")
    host.write("sys/dev/block/8:0/uevent", "DEVNAME=sda\n")
    looked_up = texts_read(monkeypatch)
    Cgroups(host.root).read([wanted(), wanted(f"/docker/{OTHER}", id_=OTHER)])

    assert len([path for path in looked_up if path.endswith("/uevent")]) == 1


@pytest.mark.parametrize("name", ["cpu,cpuacct", "cpuacct,cpu"])
def test_controllers_that_share_a_directory_need_no_links(name: str, tmp_path: Path) -> None:
    host = Host(tmp_path, version=1)
    host.write(f"sys/fs/cgroup/{name}/docker/{ID}/cpuacct.usage", "1500000000\n")
    host.write(f"sys/fs/cgroup/{name}/docker/{ID}/cpu.stat", "nr_periods 3\nthrottled_time 500000000\n")
    usage = Cgroups(host.root).read([wanted()])[ID]

    assert (usage.cpu_seconds, usage.cfs_periods, usage.cfs_throttled_seconds) == (1.5, 3, 0.5)


def test_a_host_without_the_memory_controller(tmp_path: Path) -> None:
    host = Host(tmp_path, version=1)
    host.write(f"sys/fs/cgroup/pids/docker/{ID}/pids.current", "2\n")
    host.write(f"sys/fs/cgroup/pids/docker/{ID}/cgroup.procs", "7\n")

    for path in (f"/docker/{ID}", "/nowhere"):
        usage = Cgroups(host.root).read([wanted(path)])[ID]
        assert (usage.processes, usage.threads, usage.memory_usage) == (1, 2, None)


def test_counters_of_a_limit_that_crun_sets_below(host: Host) -> None:
    host.cgroup(f"/docker/{ID}")
    stat = "usage_usec {}\nuser_usec 0\nsystem_usec 0\nnr_periods {}\nnr_throttled {}\nthrottled_usec {}\n"
    host.write(f"sys/fs/cgroup/docker/{ID}/cpu.stat", stat.format(9_000_000, 0, 0, 0))
    host.write(f"sys/fs/cgroup/docker/{ID}/container/cpu.stat", stat.format(8_000_000, 7, 6, 5_000_000))
    usage = Cgroups(host.root).read([wanted()])[ID]

    assert (usage.cpu_seconds, usage.cfs_periods) == (9.0, 7)
    assert (usage.cfs_throttled_periods, usage.cfs_throttled_seconds) == (6, 5.0)


@pytest.mark.parametrize(
    ("engine", "driver", "parent", "path"),
    [
        ("docker", "cgroupfs", "", f"/docker/{ID}"),
        ("docker", "cgroupfs", "/custom", f"/custom/{ID}"),
        ("docker", "cgroupfs", "/custom/deep/", f"/custom/deep/{ID}"),
        ("docker", "cgroupfs", "custom", f"/custom/{ID}"),
        ("docker", "cgroupfs", "/", f"/{ID}"),
        ("docker", "cgroupfs", "/../custom", f"/custom/{ID}"),
        ("docker", "none", "", f"/docker/{ID}"),
        ("docker", "", "", f"/docker/{ID}"),
        ("docker", "systemd", "", f"/system.slice/docker-{ID}.scope"),
        ("docker", "systemd", "my.slice", f"/my.slice/docker-{ID}.scope"),
        ("docker", "systemd", "my-sub.slice", f"/my.slice/my-sub.slice/docker-{ID}.scope"),
        ("docker", "systemd", "a-b-c.slice", f"/a.slice/a-b.slice/a-b-c.slice/docker-{ID}.scope"),
        ("docker", "systemd", "-.slice", f"/docker-{ID}.scope"),
        ("docker", "systemd", "a--b.slice", f"/a--b.slice/docker-{ID}.scope"),  # which systemd refuses
        ("docker", "systemd", "odd", f"/odd/docker-{ID}.scope"),
        ("podman", "cgroupfs", "", f"/libpod_parent/libpod-{ID}"),
        ("podman", "cgroupfs", "/libpod_parent", f"/libpod_parent/libpod-{ID}"),
        ("podman", "cgroupfs", "libpod_parent", f"/libpod_parent/libpod-{ID}"),
        ("podman", "cgroupfs", f"/libpod_parent/{OTHER}", f"/libpod_parent/{OTHER}/libpod-{ID}"),
        ("podman", "systemd", "", f"/machine.slice/libpod-{ID}.scope"),
        ("podman", "systemd", "machine.slice", f"/machine.slice/libpod-{ID}.scope"),
        ("podman", "systemd", "/machine.slice", f"/machine.slice/libpod-{ID}.scope"),
        ("podman", "systemd", "my-sub.slice", f"/my.slice/my-sub.slice/libpod-{ID}.scope"),
        (
            "podman",
            "systemd",
            f"machine.slice/machine-libpod_pod_{OTHER}.slice",
            f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope",
        ),
    ],
)
def test_likely_paths(engine: Literal["docker", "podman"], driver: str, parent: str, path: str) -> None:
    assert likely_path(engine=engine, driver=driver, parent=parent, id=ID) == path
