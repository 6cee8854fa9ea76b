"""What is read of an engine's answers: of captured ones, of odd ones, and of those that make no sense.

The answers below tests/fixtures/engine were given by running engines on cgroup v1 and v2, and were cut down.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.serve.sources import answers
from plimsoll.serve.sources.answers import Details, Event, Listed, Machine
from plimsoll.serve.sources.docker import EngineError
from plimsoll.serve.sources.usage import Traffic, Usage

FIXTURES = Path(__file__).parents[1] / "fixtures/engine"
DOCKER, DOCKER_V2 = "docker-20.10-v1", "docker-20.10-v2"
PODMAN, PODMAN_V2 = "podman-4.3-v1", "podman-4.3-v2"


@cache
def captured(engine: str) -> Any:
    return json.loads((FIXTURES / f"{engine}.json").read_text())


def inspection(*path: str, becomes: Any) -> Any:
    """Give a captured inspection in which one value is another."""
    answer = copy.deepcopy(captured(DOCKER)["inspect"]["web"])
    place = answer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = becomes
    return answer


# --- the host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "machine"),
    [
        (DOCKER, Machine(2, 25276510208, "cgroupfs")),
        (PODMAN, Machine(2, 25276510208, "cgroupfs")),
        (DOCKER_V2, Machine(2, 2062479360, "systemd")),
        (PODMAN_V2, Machine(2, 2060410880, "systemd")),
    ],
)
def test_the_host(engine: str, machine: Machine) -> None:
    assert answers.machine(captured(engine)["info"]) == machine


def test_a_host_that_does_not_tell_who_makes_cgroups() -> None:
    assert answers.machine({"NCPU": 4, "MemTotal": 8}) == Machine(4, 8, "")
    assert answers.machine({"NCPU": 4, "MemTotal": 8, "CgroupDriver": None}) == Machine(4, 8, "")


# --- the list ---------------------------------------------------------------------------------------------

LISTS: dict[str, dict[str, tuple[str, str | None]]] = {
    DOCKER: {
        "web": ("running", "unhealthy"),
        "plain": ("running", None),
        "shares": ("running", None),
        "oomed": ("running", None),
        "oomain": ("exited", None),
        "crash": ("exited", None),
        "temp": ("running", None),
        "fresh": ("created", None),
    },
    DOCKER_V2: {
        "ev-health-unhealthy": ("running", "unhealthy"),
        "ev-restart-policy-always": ("restarting", None),
        "ev-pause-unpause": ("paused", None),
    },
    PODMAN: {
        "web": ("running", None),  # its list never tells
        "plain": ("paused", None),
        "shares": ("running", None),
        "oomed": ("running", None),
        "oomain": ("exited", None),
        "crash": ("exited", None),
        "temp": ("running", None),
        "fresh": ("created", None),
    },
    PODMAN_V2: {
        "ev-health-unhealthy": ("running", None),
        "ev-restart-policy-always": ("exited", None),  # "stopped"
        "ev-pause-unpause": ("paused", None),
    },
}


@pytest.mark.parametrize("engine", LISTS)
def test_a_list(engine: str) -> None:
    listing = answers.listing(captured(engine)["list"])
    assert {one.name: (one.state, one.health) for one in listing} == LISTS[engine]
    assert all(len(one.id) == 64 for one in listing)


def entry(**known: Any) -> Any:
    return {"Id": "1", "Names": ["/web"], "State": "running", "Status": "Up 2 hours", **known}


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 hours (healthy)", "healthy"),
        ("Up 2 hours (unhealthy)", "unhealthy"),
        ("Up 3 seconds (health: starting)", "starting"),
        ("Up 2 hours (Paused)", None),
        ("Up 2 hours", None),
        ("Exited (0) 3 seconds ago", None),
        ("", None),
    ],
)
def test_the_health_that_a_list_tells(status: str, health: str | None) -> None:
    assert answers.listing([entry(Status=status)]) == [Listed("1", "web", "running", health)]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web"], "web"),
        (["/db/backend", "/web"], "web"),  # another container's link to it
        (["/web", "/db/backend", "/proxy/web-1"], "web"),
        ([], ""),
        (None, ""),
    ],
)
def test_links_to_a_container_are_not_its_name(names: list[str] | None, name: str) -> None:
    (listed,) = answers.listing([entry(Names=names)])
    assert listed.name == name


@pytest.mark.parametrize(
    ("told", "state"),
    [
        *(
            (state, state)
            for state in ("created", "running", "paused", "restarting", "removing", "exited", "dead")
        ),
        ("configured", "created"),  # Podman's own words
        ("initialized", "created"),
        ("stopping", "running"),
        ("stopped", "exited"),
        ("Running", "running"),
    ],
)
def test_states_have_one_name_whoever_tells_of_them(told: str, state: str) -> None:
    (listed,) = answers.listing([entry(State=told)])
    assert listed.state == state
    assert answers.details(inspection("State", "Status", becomes=told)).state == state


# --- inspections ------------------------------------------------------------------------------------------


def test_an_inspection_by_docker() -> None:
    assert answers.details(captured(DOCKER)["inspect"]["web"]) == Details(
        id="f557f932b9de46964e4a0c737fcfbac80fa000ce058198d6e42d4289387fa3f6",
        name="web",
        image="busybox:test",
        labels={"com.docker.compose.project": "shop", "team": "blue"},
        state="running",
        health="healthy",
        pid=24504,
        exit_code=0,
        oom_killed=False,
        restart_count=0,
        created_at=1795269400.945025,
        started_at=1795269402.452864,
        finished_at=None,
        restart_policy="unless-stopped",
        auto_remove=False,
        network_mode="none",
        cgroup_parent="",
        memory_limit=64 * 2**20,
        memory_reservation=32 * 2**20,
        cpu_shares=0,
        cpu_quota=50_000,  # half a processor, of 100 ms
        cpu_period=100_000,
    )


def test_an_inspection_by_podman() -> None:
    assert answers.details(captured(PODMAN)["inspect"]["web"]) == Details(
        id="d0ab9c6939bf55984ac0d610635fe39442a3bd87f01ada7e8f7948d57210c204",
        name="web",
        image="localhost/busybox:test",
        labels={"com.docker.compose.project": "shop", "team": "blue"},
        state="running",
        health="starting",
        pid=28009,
        exit_code=0,
        oom_killed=False,
        restart_count=0,
        created_at=1795269448.954569,
        started_at=1795269449.402741,
        finished_at=None,
        restart_policy="unless-stopped",
        auto_remove=False,
        network_mode="none",
        cgroup_parent="",
        memory_limit=64 * 2**20,
        memory_reservation=32 * 2**20,
        cpu_shares=0,
        cpu_quota=50_000,
        cpu_period=100_000,
    )


@pytest.mark.parametrize(
    ("engine", "name", "known"),
    [
        (DOCKER, "fresh", {"state": "created", "started_at": None, "finished_at": None, "pid": 0}),
        (DOCKER, "crash", {"state": "exited", "exit_code": 3, "finished_at": 1795269408.189278, "pid": 0}),
        (DOCKER, "oomain", {"state": "exited", "exit_code": 137, "oom_killed": True}),
        (DOCKER, "paused", {"state": "paused", "pid": 24619, "restart_policy": "no"}),
        (DOCKER, "unhealthy", {"state": "running", "health": "unhealthy"}),
        (DOCKER, "web-stopped", {"state": "exited", "exit_code": 137, "health": None}),  # told: unhealthy
        (DOCKER, "shares", {"cpu_quota": 25_000, "cpu_period": 50_000, "cpu_shares": 512, "memory_limit": 0}),
        (DOCKER, "loop", {"restart_count": 2, "restart_policy": "on-failure"}),
        (DOCKER, "loop-again", {"restart_count": 0, "state": "running", "finished_at": 1795269439.550797}),
        (DOCKER, "temp", {"auto_remove": True}),
        (DOCKER_V2, "busy", {"cpu_quota": 50_000, "cpu_period": 100_000, "health": None}),
        (DOCKER_V2, "starting", {"state": "running", "health": "starting"}),
        (DOCKER_V2, "restarting", {"state": "restarting", "exit_code": 4, "restart_count": 8, "pid": 0}),
        (DOCKER_V2, "killed-within", {"state": "exited", "exit_code": 5, "oom_killed": True}),
        (DOCKER_V2, "unstartable", {"state": "created", "exit_code": 127, "started_at": None}),
        (PODMAN, "fresh", {"state": "created", "started_at": None, "finished_at": None, "health": None}),
        (PODMAN, "crash", {"state": "exited", "exit_code": 3, "restart_policy": "no"}),  # told: ""
        (PODMAN, "paused", {"state": "paused", "pid": 28041}),
        (PODMAN, "shares", {"cpu_quota": 25_000, "cpu_period": 50_000, "cpu_shares": 512}),
        (PODMAN, "loop", {"restart_count": 2, "restart_policy": "on-failure"}),
        (PODMAN, "temp", {"auto_remove": True}),
        (PODMAN_V2, "busy", {"cpu_quota": 50_000, "health": None}),  # told: ""
        (PODMAN_V2, "healthy", {"state": "running", "health": "healthy"}),
        (PODMAN_V2, "unhealthy", {"state": "running", "health": "unhealthy"}),
        (PODMAN_V2, "stopped", {"state": "exited", "exit_code": 4, "finished_at": 1795267919.128}),
        (PODMAN_V2, "leaving", {"state": "exited", "exit_code": 3, "auto_remove": True}),
    ],
)
def test_other_inspections(engine: str, name: str, known: dict[str, Any]) -> None:
    details = answers.details(captured(engine)["inspect"][name])
    assert {key: getattr(details, key) for key in known} == known


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-21T13:56:40.945025854Z", 1795269400.945025),
        ("2026-11-21T15:56:40.945025854+02:00", 1795269400.945025),
        ("2026-11-21T08:26:40.945025854-05:30", 1795269400.945025),
        ("2026-11-21T13:56:40Z", 1795269400.0),
        ("2026-11-21T13:56:40.128Z", 1795269400.128),
        ("1970-01-01T00:00:00Z", 0.0),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00.000000001+02:00", None),
        ("", None),
        (None, None),
    ],
)
def test_moments(text: str | None, seconds: float | None) -> None:
    answer = inspection("Created", becomes=text)
    answer["State"] |= {"StartedAt": text, "FinishedAt": text}
    details = answers.details(answer)
    assert (details.created_at, details.started_at, details.finished_at) == (seconds, seconds, seconds)


def test_moments_that_nobody_tells() -> None:
    answer = inspection("Created", becomes=None)
    del answer["Created"], answer["State"]["StartedAt"], answer["State"]["FinishedAt"]
    details = answers.details(answer)
    assert (details.created_at, details.started_at, details.finished_at) == (None, None, None)


@pytest.mark.parametrize("state", ["running", "paused"])
@pytest.mark.parametrize(
    ("told", "health"),
    [
        ({"Health": {"Status": "healthy"}}, "healthy"),
        ({"Health": {"Status": "unhealthy"}}, "unhealthy"),
        ({"Health": {"Status": "starting"}}, "starting"),
        ({"Health": {"Status": "none"}}, None),
        ({"Health": {"Status": ""}}, None),
        ({"Health": {}}, None),
        ({"Health": None}, None),
        ({}, None),
        ({"Healthcheck": {"Status": "healthy"}}, "healthy"),  # Podman, before 4
    ],
)
def test_health(told: dict[str, Any], health: str | None, state: str) -> None:
    assert answers.details(inspection("State", becomes={"Status": state, **told})).health == health


@pytest.mark.parametrize("state", ["created", "restarting", "removing", "exited", "dead"])
def test_what_does_not_run_has_no_health(state: str) -> None:
    told = {"Status": state, "Health": {"Status": "unhealthy"}}
    assert answers.details(inspection("State", becomes=told)).health is None


@pytest.mark.parametrize(
    ("told", "quota", "period"),
    [
        ({"NanoCpus": 1_500_000_000, "CpuQuota": 0, "CpuPeriod": 0}, 150_000, 100_000),
        ({"NanoCpus": 500_000_000, "CpuQuota": 50_000, "CpuPeriod": 100_000}, 50_000, 100_000),
        ({"NanoCpus": 10_000_000, "CpuQuota": 0, "CpuPeriod": 0}, 1000, 100_000),
        ({"NanoCpus": 0, "CpuQuota": 25_000, "CpuPeriod": 50_000}, 25_000, 50_000),
        ({"NanoCpus": 0, "CpuQuota": 25_000, "CpuPeriod": 0}, 25_000, 100_000),
        ({"NanoCpus": 0, "CpuQuota": -1, "CpuPeriod": 0}, -1, 100_000),  # without a limit, as 0 is
        ({"NanoCpus": 0, "CpuQuota": 0, "CpuPeriod": 0}, 0, 100_000),
        ({"NanoCpus": None, "CpuQuota": None, "CpuPeriod": None}, 0, 100_000),
        ({}, 0, 100_000),
    ],
)
def test_limits_of_cpu_time(told: dict[str, int | None], quota: int, period: int) -> None:
    details = answers.details(inspection("HostConfig", becomes=told))
    assert (details.cpu_quota, details.cpu_period) == (quota, period)


@pytest.mark.parametrize(
    ("told", "limit"), [(4096, 4096), (0, 0), (-1, 0), (None, 0), (2**63 - 1, 2**63 - 1)]
)
def test_limits_of_memory(told: int | None, limit: int) -> None:
    details = answers.details(inspection("HostConfig", becomes={"Memory": told, "MemoryReservation": told}))
    assert (details.memory_limit, details.memory_reservation) == (limit, limit)


def test_what_an_inspection_may_leave_out() -> None:
    details = answers.details(
        {
            "Id": "1",
            "Name": "/web",
            "State": {"Status": "created"},
            "Config": {"Labels": None},
            "HostConfig": {"RestartPolicy": None, "NetworkMode": None, "CgroupParent": None},
        }
    )
    assert (details.name, details.image, details.labels) == ("web", "", {})
    assert (details.restart_policy, details.network_mode, details.cgroup_parent) == ("no", "", "")
    assert (details.pid, details.exit_code, details.restart_count) == (0, 0, 0)
    assert (details.oom_killed, details.auto_remove) == (False, False)


# --- events -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "told", "name", "action", "code"),
    [
        (DOCKER, "start", "web", "start", None),
        (DOCKER, "die", "oomain", "die", 137),
        (DOCKER, "stop", "web", "stop", None),
        (DOCKER, "oom", "oomed", "oom", None),
        (DOCKER, "destroy", "plain", "destroy", None),
        (DOCKER, "restart", "plain", "restart", None),
        (DOCKER, "health_status: healthy", "web", "health_status", None),
        (PODMAN, "die", "oomain", "die", 137),
        (PODMAN, "stop", "st2", "stop", 0),
        (PODMAN, "remove", "plain", "destroy", 0),
        (PODMAN, "init", "web", "create", 0),
    ],
)
def test_an_event(engine: str, told: str, name: str, action: str, code: int | None) -> None:
    (line,) = (
        line
        for line in captured(engine)["events"]
        if (line["Action"], line["Actor"]["Attributes"]["name"]) == (told, name)
    )
    assert answers.event(line) == Event(line["id"], action, code, line["timeNano"])
    assert answers.event(line).at == line["timeNano"] / 1e9


def occurrence(action: str = "die", **known: Any) -> Any:
    return {"Action": action, "Actor": {"ID": "1", "Attributes": {}}, "time": 1795269407, **known}


@pytest.mark.parametrize(
    ("told", "action"),
    [
        ("died", "die"),  # Podman's older word
        ("remove", "destroy"),
        ("exec_create: /bin/sh -c 'a: b'", "exec_create"),
        ("health_status: unhealthy", "health_status"),
        ("something new", "something new"),
    ],
)
def test_actions_have_one_name_whoever_tells_of_them(told: str, action: str) -> None:
    assert answers.event(occurrence(told)).action == action


def test_an_event_without_nanoseconds() -> None:
    assert answers.event(occurrence()).nanoseconds == 1795269407 * 10**9
    assert answers.event(occurrence(timeNano=0)).nanoseconds == 1795269407 * 10**9


def test_an_event_without_attributes() -> None:
    assert answers.event(occurrence(Actor={"ID": "1"})).exit_code is None
    assert answers.event(occurrence(Actor={"ID": "1", "Attributes": None})).exit_code is None


# --- usage ------------------------------------------------------------------------------------------------


def test_usage_by_docker_with_cgroup_v1() -> None:
    assert answers.usage(captured(DOCKER)["stats"]["web"]) == Usage(
        cpu_seconds=0.2206076,
        cpu_user_seconds=0.13,
        cpu_system_seconds=0.08,
        cfs_periods=26,
        cfs_throttled_periods=0,
        cfs_throttled_seconds=0.0,
        memory_usage=13602816,
        memory_working_set=13602816,
        memory_rss=118784,
        memory_cache=12582912,
        threads=2,
    )


def test_usage_of_a_container_that_hit_its_limit() -> None:
    usage = answers.usage(captured(DOCKER)["stats"]["oomed"])
    assert usage
    assert (usage.memory_failcnt, usage.oom_kills, usage.processes) == (55, None, None)


def test_usage_by_docker_with_cgroup_v2() -> None:
    assert answers.usage(captured(DOCKER_V2)["stats"]["limited"]) == Usage(
        cpu_seconds=5.383308,
        cpu_user_seconds=1.556334,
        cpu_system_seconds=3.826974,
        cfs_periods=0,
        cfs_throttled_periods=0,
        cfs_throttled_seconds=0.0,
        memory_usage=26234880,
        memory_working_set=13627392,
        memory_rss=114688,
        memory_cache=25362432,
        threads=2,
        read_bytes={"254:0": 12779520},
        written_bytes={"254:0": 25165824},
    )


def test_usage_of_a_container_that_its_quota_holds_back() -> None:
    usage = answers.usage(captured(DOCKER_V2)["stats"]["busy"])
    assert usage
    throttled = usage.cfs_periods, usage.cfs_throttled_periods, usage.cfs_throttled_seconds
    assert throttled == (1835, 1703, 68.593715)
    assert (usage.read_bytes, usage.written_bytes, usage.network) == ({}, {}, {})


def test_usage_of_a_container_with_a_network() -> None:
    usage = answers.usage(captured(DOCKER_V2)["stats"]["netted"])
    assert usage
    assert usage.network == {"eth0": Traffic(1392, 16, 0, 0, 0, 0, 0, 0)}


def test_each_counter_of_an_interface_has_its_place() -> None:
    names = (f"{way}_{what}" for way in ("tx", "rx") for what in ("dropped", "packets", "bytes", "errors"))
    told = {"read": "2026-11-21T13:23:14Z", "networks": {"eth0": dict(zip(names, range(8), strict=True))}}
    usage = answers.usage(told)
    assert usage
    assert usage.network["eth0"]._asdict() == {
        "receive_bytes": 6,
        "receive_packets": 5,
        "receive_errors": 7,
        "receive_dropped": 4,
        "transmit_bytes": 2,
        "transmit_packets": 1,
        "transmit_errors": 3,
        "transmit_dropped": 0,
    }


@pytest.mark.parametrize(
    ("engine", "name", "believed"),
    [
        (PODMAN, "web", Usage(cpu_seconds=0.062102552, memory_usage=13406208, threads=2)),
        (PODMAN_V2, "limited", Usage(cpu_seconds=8.538516, memory_usage=118784, threads=2)),
        (PODMAN_V2, "netted", Usage(cpu_seconds=0.915323, memory_usage=49152, threads=1)),
    ],
)
def test_usage_by_podman_of_which_not_all_is_believed(engine: str, name: str, believed: Usage) -> None:
    usage = answers.usage(captured(engine)["stats"][name])
    assert usage
    assert answers.believed_of_podman(usage) == believed


def test_one_that_has_ended_uses_nothing_known_rather_than_0() -> None:
    assert answers.usage(captured(DOCKER)["stats"]["crash"]) is None


def test_of_an_answer_that_tells_nothing_nothing_is_known() -> None:
    assert answers.usage({"read": "2026-11-21T13:23:14Z"}) == Usage()
    groups = ("cpu_stats", "memory_stats", "pids_stats", "blkio_stats", "networks")
    assert answers.usage({"read": "2026-11-21T13:23:14Z", **dict.fromkeys(groups)}) == Usage()
    assert answers.usage({"read": "2026-11-21T13:23:14Z", **{group: {} for group in groups}}) == Usage()


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({"usage": 100, "stats": {"total_inactive_file": 30, "inactive_file": 7}}, (100, 70)),  # v1
        ({"usage": 100, "stats": {"inactive_file": 30}}, (100, 70)),  # v2
        ({"usage": 100, "stats": {"inactive_file": 130}}, (100, 0)),  # read one after the other
        ({"usage": 100, "stats": {}}, (100, None)),
        ({"usage": 100}, (100, None)),
        ({"stats": {"inactive_file": 30}}, (None, None)),
    ],
)
def test_the_working_set(told: dict[str, Any], known: tuple[int | None, int | None]) -> None:
    usage = answers.usage({"read": "2026-11-21T13:23:14Z", "memory_stats": told})
    assert usage
    assert (usage.memory_usage, usage.memory_working_set) == known


def test_blocks_by_cgroup_v1_are_told_in_other_words() -> None:
    """By the documentation: it counts both ways in total, too."""
    entries = [
        {"major": 8, "minor": 0, "op": op, "value": value}
        for op, value in (("Read", 1), ("Write", 2), ("Sync", 3), ("Async", 0), ("Discard", 0), ("Total", 3))
    ]
    blocks = {"io_service_bytes_recursive": entries}
    usage = answers.usage({"read": "2026-11-21T13:23:14Z", "blkio_stats": blocks})
    assert usage
    assert (usage.read_bytes, usage.written_bytes) == ({"8:0": 1}, {"8:0": 2})


@pytest.mark.parametrize(
    "told",
    [
        {"cpu_stats": {"cpu_usage": {"total_usage": "much"}}},
        {"cpu_stats": {"throttling_data": {"periods": []}}},
        {"memory_stats": {"usage": "much"}},
        {"memory_stats": {"stats": {"anon": {}}}},
        {"pids_stats": {"current": "many"}},
    ],
)
def test_usage_is_numbers(told: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="was not answered as an engine would"):
        answers.usage({"read": "2026-11-21T13:23:14Z", **told})


# --- what makes no sense ----------------------------------------------------------------------------------

Reader = Callable[[Any], object]
READERS: dict[str, tuple[Reader, Any]] = {
    "/info": (answers.machine, captured(DOCKER)["info"]),
    "/containers/json": (answers.listing, captured(DOCKER)["list"][:2]),
    "/containers/<id>/json": (answers.details, captured(DOCKER)["inspect"]["crash"]),
    "/events": (answers.event, captured(DOCKER)["events"][0]),
    "/containers/<id>/stats": (answers.usage, captured(DOCKER_V2)["stats"]["netted"]),
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["2026-11-21T13:56:40Z", "0001-01-01T00:00:00Z", "running", "/", "1e3", "\x00", "\ud800"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(answer: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the way to every value in an answer."""
    inner = (
        answer.items() if isinstance(answer, dict) else enumerate(answer) if isinstance(answer, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def replaced(answer: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(answer)
    changed[path[0]] = replaced(answer[path[0]], path[1:], value)
    return changed


@pytest.mark.parametrize("path", READERS)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_an_answer_in_which_something_is_wrong(path: str, data: st.DataObject) -> None:
    reader, answer = READERS[path]
    answer = replaced(answer, data.draw(st.sampled_from(places(answer))), data.draw(JSON))
    with contextlib.suppress(EngineError):
        reader(answer)


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("answer", [None, True, 1, "no", ["no"], [None], {"message": "no"}], ids=repr)
def test_an_answer_to_another_question(path: str, answer: Any) -> None:
    reader, _ = READERS[path]
    if reader is answers.usage and answer in (None, {"message": "no"}):  # of one that has ended
        assert reader(answer) is None
        return
    with pytest.raises(EngineError, match=f"^GET {path} was not answered as an engine would: "):
        reader(answer)
