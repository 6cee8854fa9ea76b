"""What is made of the texts of the kernel's files, and of texts that no kernel would write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plimsoll.serve.sources import cgroup_files as files
from plimsoll.serve.sources.usage import Pressure, Traffic, Usage

ID = "0c1e45a1d9cf4b63a85250687749fcb23ca5b41eeecf78d22afbee709e3df532"
OTHER = "e31896af666791258090ededd529821802d67f2060261a49732db9cb0c27a2f0"

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   56893     599    0    0    0     0          0         0    56893     599    0    0    0     0       0          0
  eth0: 818088956   19173    1    2    3     4          5         6  1018990   12678    7    8    9    10      11         12
"""  # noqa: E501 - as it is
ETH0 = Traffic(818088956, 19173, 1, 2, 1018990, 12678, 7, 8)

IO_STAT = """\
254:0 rbytes=12582912 wbytes=25169920 rios=101 wios=28 dbytes=0 dios=0
7:0
8:16 wbytes=4096
"""
BLKIO = """\
254:0 Read 12582912
254:0 Write 25169920
254:0 Sync 37748736
254:0 Async 4096
254:0 Discard 0
254:0 Total 37752832
Total 37752832
"""
PSI = """\
some avg10=50.48 avg60=18.54 avg300=4.46 total=14291408
full avg10=50.46 avg60=18.52 avg300=4.45 total=14285872
"""


def as_it_is(numbers: str) -> str:
    return numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0\n", 0),
        ("9223372036854771712\n", 9223372036854771712),
        ("18446744073709551615", 2**64 - 1),
        (" 7 \n", 7),
        ("", None),
        ("\n", None),
        ("max\n", None),
        ("-1\n", None),
        ("+1\n", None),
        ("1_000\n", None),
        ("1 2\n", None),
        ("1.5\n", None),
        ("²", None),
        ("9" * 21, None),
        ("9" * 5000, None),
    ],
)
def test_numbers(text: str, value: int | None) -> None:
    assert files.number(text) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("anon", 1),
        ("file", 4),
        ("inactive_file", 5),
        ("file_mapped", None),  # not understood
        ("fil", None),
        ("ile", None),
        ("absent", None),
        ("", None),
    ],
)
def test_entries_of_a_list(key: str, value: int | None) -> None:
    text = "anon 1\nanon_thp 2\n\ngarbage\nfile_mapped many\nunevictable file 9\nfile 4\ninactive_file 5"

    assert files.entry(text, key) == value


def test_pressure_is_given_in_seconds() -> None:
    assert files.pressure(PSI) == Pressure(14.291408, 14.285872)


def test_before_linux_5_13_the_cpu_has_no_full_pressure() -> None:
    assert files.pressure(PSI.partition("full")[0]) == Pressure(14.291408, None)


@pytest.mark.parametrize("text", ["", "some\n", "some avg10=0.00\n", "full total=1\n", "some total=x\n"])
def test_pressure_that_makes_no_sense_is_unknown(text: str) -> None:
    assert files.pressure(text) is None


def test_io_stat_may_leave_out_what_it_likes() -> None:
    read, written = files.io_stat(IO_STAT, as_it_is)

    assert read == {"254:0": 12582912}
    assert written == {"254:0": 25169920, "8:16": 4096}


def test_io_stat_passes_over_what_it_does_not_understand() -> None:
    text = "garbage\n8:0 rbytes=x wbytes=7\n../..:1 rbytes=1\n\n8:1 rbytes wbytes==\n8:2 rbytes=3"

    assert files.io_stat(text, as_it_is) == ({"8:2": 3}, {"8:0": 7})


def test_devices_are_given_their_names() -> None:
    names = {"254:0": "/dev/vda", "7:0": "/dev/loop0", "8:16": "/dev/sdb"}

    assert files.io_stat(IO_STAT, names.__getitem__)[1] == {"/dev/vda": 25169920, "/dev/sdb": 4096}
    assert files.blkio(BLKIO, names.__getitem__) == ({"/dev/vda": 12582912}, {"/dev/vda": 25169920})


def test_blkio_passes_over_what_it_does_not_understand() -> None:
    text = "8:0 Read x\n8:0 Write\n8:0 Read 1 2\nRead 3\n8:0 Discard 4\n8:1 Read 5\nTotal 0\n"

    assert files.blkio(text, as_it_is) == ({"8:1": 5}, {})


@pytest.mark.parametrize(
    ("present", "read"),
    [
        ({"throttle.io_service_bytes_recursive": 1, "throttle.io_service_bytes": 2}, 1),
        ({"throttle.io_service_bytes": 2, "bfq.io_service_bytes_recursive": 3}, 2),
        ({"bfq.io_service_bytes_recursive": 3, "bfq.io_service_bytes": 4}, 3),
        ({"bfq.io_service_bytes": 4}, 4),
        ({"throttle.io_service_bytes_recursive": None, "bfq.io_service_bytes_recursive": 3}, 3),
        ({"throttle.io_service_bytes_recursive": 0, "bfq.io_service_bytes_recursive": 3}, 3),
        ({"throttle.io_service_bytes_recursive": 0, "bfq.io_service_bytes_recursive": 0}, None),
        ({"throttle.io_service_bytes_recursive": None}, None),
        ({}, None),
    ],
)
def test_of_the_counters_of_v1_those_that_count_are_taken(
    present: dict[str, int | None], read: int | None
) -> None:
    texts = {
        f"blkio.{name}": "Total 0\n" if count is None else f"8:0 Read {count}\n"
        for name, count in present.items()
    }
    usage = files.usage_v1(lambda file: texts.get(file, ""), name=as_it_is)

    assert usage.read_bytes == ({} if read is None else {"8:0": read})


def test_interfaces_without_lo() -> None:
    assert files.interfaces(NET_DEV) == {"eth0": ETH0}


@pytest.mark.parametrize("name", ["veth4", "docker0", "nerdctl0", "lo"])
def test_interfaces_of_containers_inside_are_not_ours(name: str) -> None:
    assert files.interfaces(f"{NET_DEV}{name}:{' 1' * 16}\n") == {"eth0": ETH0}


def test_interfaces_pass_over_what_they_do_not_understand() -> None:
    text = f"{NET_DEV}  eth1: 1 2 3\n  eth2:{' 1' * 17}\n  eth3:{' x' * 16}\n  :{' 1' * 16}\neth4:{' 1' * 16}"

    assert files.interfaces(text) == {"eth0": ETH0, "eth4": Traffic(*[1] * 8)}


def test_interfaces_of_old_kernels_leave_no_space_after_the_colon() -> None:
    assert files.interfaces("eth0:818088956 19173 1 2 3 4 5 6 1018990 12678 7 8 9 10 11 12\n") == {
        "eth0": ETH0
    }


def test_processes_that_we_may_not_see_are_counted() -> None:
    assert files.pids("0\n0\n4711\n") == ["0", "0", "4711"]
    assert files.pids("") == []
    assert files.pids("x\n12\n-1\n") == ["12"]


@pytest.mark.parametrize(
    ("listed", "current", "processes"),
    [
        (["7", "8"], "5\n", 2),
        (["7", "8"], "", 2),
        ([], "0\n", 0),
        ([], "5\n", None),  # v1, in a PID namespace of our own
        ([], "", None),
    ],
)
def test_processes_that_are_not_listed_are_unknown(
    listed: list[str], current: str, processes: int | None
) -> None:
    texts = {"pids.current": current}
    usage = files.usage_v1(lambda file: texts.get(file, ""), name=as_it_is, pids=listed)

    assert usage.processes == processes


@pytest.mark.parametrize("version", [files.usage_v1, files.usage_v2])
def test_the_working_set_is_never_below_zero(version: Callable[..., Usage]) -> None:
    texts = {
        "memory.current": "4096\n",
        "memory.usage_in_bytes": "4096\n",
        "memory.stat": "inactive_file 8192\ntotal_inactive_file 8192\n",
    }
    usage = version(lambda file: texts.get(file, ""), name=as_it_is)

    assert (usage.memory_usage, usage.memory_working_set) == (4096, 0)


def test_device_names() -> None:
    assert files.device_name("MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n") == "vda"
    assert files.device_name("MAJOR=104\nDEVNAME=cciss/c0d0p1\n") == "cciss/c0d0p1"
    assert files.device_name("MAJOR=0\nMINOR=43\n") is None
    assert files.device_name("DEVNAME=\n") is None


@pytest.mark.parametrize(
    "name",
    [
        ID,
        f"docker-{ID}.scope",
        f"libpod-{ID}",
        f"libpod-{ID}.scope",
        f"libpod-payload-{ID}",
        f"cri-containerd-{ID}.scope",
        f"crio-{ID}.scope",
        f"kubelet-kubepods-besteffort-pod1_2.slice:cri-containerd:{ID}",
    ],
)
def test_directories_of_containers(name: str) -> None:
    assert files.container_of(name) == ID


@pytest.mark.parametrize(
    "name",
    [
        "",
        "system.slice",
        ID[:-1],
        ID[:12],
        f"0{ID}",
        ID.upper(),
        f"libpod-conmon-{ID}",
        f"libpod-conmon-{ID}.scope",
        f"crio-conmon-{ID}.scope",
        f"{ID}.service",  # Podman's health check
        f"{ID}-5c2f.timer",
        f"var-lib-docker-containers-{ID}-mounts-shm.mount",
        f"{ID}\n",
    ],
)
def test_directories_of_something_else(name: str) -> None:
    assert files.container_of(name) is None


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"0::/docker/{ID}\n", {ID}),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", {ID}),
        (f"0::/../{ID}\n", {ID}),  # seen from a cgroup namespace beside it
        (f"0::/system.slice/docker-{OTHER}.scope/docker/{ID}/init.scope\n", {ID}),
        (f"9:name=systemd:/\n4:memory:/docker/{ID}\n3:cpu,cpuacct:/docker/{ID}\n0::/\n", {ID}),
        (f"2:cpu:/docker/{ID}\n1:memory:/docker/{OTHER}\n", {ID, OTHER}),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope\n", set()),
        ("0::/\n", set()),
        ("", set()),
    ],
)
def test_containers_of_a_process(text: str, ids: set[str]) -> None:
    assert files.containers_of_process(text) == ids


WORDS = st.sampled_from(
    [
        *("usage_usec", "nr_periods", "user", "anon", "file", "total_rss", "oom_kill", "some", "full", "max"),
        *("avg10=0.00", "total=", "total=7", "rbytes=", "rbytes=1", "wbytes=x", "8:0", "8:", "Read", "Write"),
        *("eth0:", "lo:", ":", "DEVNAME=", "DEVNAME=sda", "0::/docker/", ID, f"docker-{ID}.scope", "/", "-"),
        *("0", "1", "-1", "1e9", "9" * 30, "²", "٣", "\x00", "\ufffd", "\n", "\r\n", "\t", "\u2028", "  "),
    ]
)
TEXTS = st.text() | st.lists(WORDS, max_size=40).map(" ".join) | st.lists(WORDS, max_size=40).map("".join)


@given(TEXTS)
@example(NET_DEV)
@example(BLKIO * 100)
@example("9" * 5000)
def test_no_text_raises(text: str) -> None:
    for version in (files.usage_v1, files.usage_v2):
        usage = version(lambda _: text, name=as_it_is, pids=files.pids(text), network=files.interfaces(text))
        assert hash((usage.cpu_seconds, usage.memory_usage)) is not None
    files.device_name(text)
    files.container_of(text)
    files.containers_of_process(text)


@given(TEXTS)
def test_no_count_is_negative_or_more_than_the_kernel_has(text: str) -> None:
    value = files.number(text)

    assert value is None or 0 <= value < 10**20


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.integers(0, 2**64 - 1)))
def test_a_list_is_read_back(entries: dict[str, int]) -> None:
    text = "".join(f"{key} {value}\n" for key, value in entries.items())

    assert {key: files.entry(text, key) for key in entries} == entries
