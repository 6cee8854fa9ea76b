"""The pages of containers, and of one, tell the truth about the world that they are tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from boards import Board, Data
from clicking import filled, form
from dashboards import Panel
from fix_dashboards import OpenBoard
from world_parts import (
    CRASHED,
    DB,
    HUNGRY,
    ILL,
    LOOPING,
    STOPPED,
    WEB,
    WEB_CORES,
    WEB_MEMORY_LIMIT,
)

pytestmark = pytest.mark.long

BANNER = "Container alerts that fire"
RANK, SINCE, PERCENT, COUNT, EXIT_CODE, SILENCED = "ABCDEF"
LIST = "Containers"
STATE, HEALTH, CPU, MEMORY, MEMORY_USED, RESTARTS, RESTARTS_NOW, ENDED_WITH, STARTED = "ABCDEFGHI"
CRITICAL, HIGH, WARNING = 0, 1, 2
ALL = {WEB, DB, LOOPING, CRASHED, ILL, HUNGRY, STOPPED}
KILLED = 137
PROJECT, SERVICE = (f"container_label_com_docker_compose_{label}" for label in ("project", "service"))
RESTARTED_OFTEN = 3
"""More than this is a loop."""


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("containers")


@pytest.fixture
def web(open_board: OpenBoard) -> Board:
    return open_board("container").pick(engine="local", name=WEB)


def words(panel: Panel, column: str | None = None) -> dict[float, str]:
    """Give the words that a panel, or a column of a table, shows for values."""
    config = panel.json["fieldConfig"]
    mappings = config["defaults"].get("mappings", [])
    for override in config.get("overrides", ()):
        if override["matcher"]["options"] == column:
            mappings = next(each["value"] for each in override["properties"] if each["id"] == "mappings")
    shown: Mapping[str, Any] = {key: each for mapping in mappings for key, each in mapping["options"].items()}
    return {float(key): str(each["text"]) for key, each in shown.items()}


def column(board: Board, ref: str, title: str | None = None) -> dict[str, Any]:
    """Give a column of the list of containers by their names, in words if it has a title."""
    found = board.answer(LIST, ref).by("name")
    text = words(board.dashboard.panel(LIST), title) if title else {}
    return {name: text.get(value, value) for (name,), value in found.items()}


def test_alerts_in_the_banner(board: Board, world: Data) -> None:
    about = ("alertname", "name")
    ranks = board.answer(BANNER, RANK).by(*about)
    assert ranks == {
        ("ContainerDown", CRASHED): CRITICAL,
        ("ContainerRestartLoop", LOOPING): HIGH,
        ("ContainerUnhealthy", ILL): HIGH,
        ("ContainerOomKilled", HUNGRY): HIGH,
        ("ContainerMemoryHigh", WEB): WARNING,
    }
    since, silenced = (board.answer(BANNER, ref).by(*about) for ref in (SINCE, SILENCED))
    assert since.keys() == silenced.keys() == ranks.keys()
    assert all(0 < world.now - at / 1000 < 3600 for at in since.values())
    assert silenced.pop(("ContainerUnhealthy", ILL)) == 2
    assert set(silenced.values()) == {0}


def test_the_banner_has_what_was_measured(board: Board) -> None:
    (of_web,) = board.answer(BANNER, PERCENT).by("name").items()
    assert of_web == ((WEB,), column(board, MEMORY)[WEB])
    counts = board.answer(BANNER, COUNT).by("name")
    assert counts.keys() == {(LOOPING,), (HUNGRY,)}
    assert counts[LOOPING,] > RESTARTED_OFTEN
    assert counts[HUNGRY,] >= 1
    assert board.answer(BANNER, EXIT_CODE).by("name")[CRASHED,] == KILLED


def test_dismiss_silences_one_alert(board: Board) -> None:
    (link,) = [each for each in board.dashboard.panel(BANNER).links if "silences/new" in each.url]
    alerts = [sample.labels for sample in board.answer(BANNER, RANK).samples]
    for alert in alerts:
        asked = form(filled(link.url, board, {}, alert["dismiss"]))
        assert (asked.page, asked.comment) == ("/silences/new", "ACK! ")
        assert [other for other in alerts if asked.holds_for(other)] == [alert]
        assert not asked.holds_for({**alert, "name": "another"})


def test_counts(board: Board) -> None:
    states = column(board, STATE, "State")
    running = [name for name, state in states.items() if state == "● running"]
    assert board.value("Running") == len(running)
    assert {WEB, DB, ILL, HUNGRY} <= set(running) <= {WEB, DB, ILL, HUNGRY, LOOPING}
    for title in ("Down", "Restarting", "Unhealthy"):
        assert board.value(title) == 1, title
    assert board.value("OOM kills in 24 h") >= 1
    assert board.value("Engines away") == 0


def test_nothing_is_counted_as_zero(board: Board) -> None:
    """What is chosen has nothing of the kind."""
    of_db = board.pick(name=DB)
    for title in ("Down", "Restarting", "Unhealthy", "OOM kills in 24 h"):
        assert of_db.value(title) == 0, title
    assert of_db.value("Running") == 1


def test_states_and_health(board: Board) -> None:
    states = column(board, STATE, "State")
    assert states.keys() == ALL
    assert states.pop(LOOPING) in ("▲ restarting", "● running", "▲▲ exited, should run")
    assert states == {
        **dict.fromkeys((WEB, DB, ILL, HUNGRY), "● running"),
        CRASHED: "▲▲ exited, should run",
        STOPPED: "○ exited",
    }
    health = column(board, HEALTH, "Health")
    health.pop(LOOPING, None)
    assert health == {WEB: "● healthy", ILL: "▲▲ unhealthy", DB: "no check", HUNGRY: "no check"}


def test_the_worst_states_come_first(board: Board) -> None:
    options = board.dashboard.panel(LIST).json["options"]
    assert options["sortBy"] == [{"displayName": "State", "desc": True}]
    states = column(board, STATE)
    assert max(states, key=lambda name: states[name]) == CRASHED


def test_use_of_limits(board: Board, world: Data) -> None:
    used = column(board, MEMORY_USED)[WEB]
    assert 0 < used < WEB_MEMORY_LIMIT
    percent = "container:container_memory_working_set_bytes:percent_of_limit"
    assert column(board, MEMORY)[WEB] == world.prometheus.instant(f'{percent}{{name="{WEB}"}}').value()
    assert {DB, ILL, CRASHED}.isdisjoint(column(board, MEMORY)), "they have no limit, or do not run"
    assert {CRASHED, STOPPED}.isdisjoint(column(board, CPU))
    assert column(board, CPU)[WEB] > 0


def test_restarts_and_ends(board: Board, world: Data) -> None:
    restarts = column(board, RESTARTS)
    assert restarts.pop(LOOPING) > RESTARTED_OFTEN
    assert set(restarts.values()) == {0}
    assert column(board, RESTARTS_NOW)[LOOPING] > RESTARTED_OFTEN
    ended = column(board, ENDED_WITH)
    assert {WEB, DB, ILL, HUNGRY}.isdisjoint(ended)
    assert ended[CRASHED] == KILLED
    assert all(0 < world.now - at / 1000 < 3600 for at in column(board, STARTED).values())


def test_compose_projects_and_services(board: Board) -> None:
    assert board.options[PROJECT] == ["shop"]
    assert board.options[SERVICE] == ["db", "web", "worker"]
    of_project = board.pick(**{PROJECT: "shop"})
    assert set(column(of_project, STATE)) == set(of_project.options["name"]) == {WEB, DB, LOOPING}
    assert set(column(of_project.pick(**{SERVICE: "web"}), STATE)) == {WEB}
    assert of_project.answer(BANNER, RANK).by("name").keys() == {(LOOPING,), (WEB,)}


def test_states_over_time(board: Board) -> None:
    panel = board.dashboard.panel("States")
    last = {name: words(panel)[value] for (name,), value in board.answer("States").by("name").items()}
    assert last.keys() == ALL
    assert last[CRASHED] == "▲▲ exited, should run"
    assert last[STOPPED] == "○ exited"


def test_thresholds(board: Board) -> None:
    for title, alert in (
        ("CPU, of what it may use", "ContainerCpuHigh"),
        ("Memory, of its limit", "ContainerMemoryHigh"),
        ("Held back by its quota", "ContainerThrottled"),
        ("Restarts within 15 minutes", "ContainerRestartLoop"),
    ):
        threshold = f'plimsoll:alert_threshold{{alertname="{alert}"}}'
        expected = board.data.prometheus.instant(threshold).by("override")
        assert board.answer(title, "B").by("override") == expected != {}


def test_network_and_block_io(board: Board) -> None:
    assert board.answer("Network").by("name")[WEB,] > 0
    assert board.answer("Block I/O").by("name")[WEB,] > 0


def test_engines(board: Board, world: Data) -> None:
    answers = board.answers("Engines")
    running = board.value("Running")
    cores = world.prometheus.instant("machine_cpu_cores").value()
    assert [answer.value(engine="local") for answer in answers.values()][:2] == [1, cores]
    assert answers["D"].value() + answers["E"].value() + answers["F"].value() == pytest.approx(running, abs=1)
    assert board.value("Does each engine answer?") == 1


def test_each_container_has_a_page(board: Board, web: Board) -> None:
    links = [link for link in board.dashboard.panel(LIST).links if link.url.startswith("/d/")]
    (link,) = links
    assert link.url.startswith(f"/d/{web.dashboard.uid}?")
    for name in ("engine", "name"):
        assert f"var-{name}=${{__data.fields.{name}:percentencode}}" in link.url
        assert name in web.dashboard.variables


def test_one_container(web: Board, board: Board, world: Data) -> None:
    assert words(web.dashboard.panel("State"))[web.value("State")] == "● running"
    assert web.value("Restarts in 24 h") == web.value("OOM kills in 24 h") == 0
    assert web.value("Memory, of its limit") == column(board, MEMORY)[WEB]
    assert web.value("CPU, of what it may use") == column(board, CPU)[WEB]
    assert web.value("Last started") == column(board, STARTED)[WEB]
    assert web.value("CPU, in cores", "C") == WEB_CORES
    memory = web.answers("Memory")
    assert memory["A"].value() == column(board, MEMORY_USED)[WEB]
    assert memory["E"].value() == WEB_MEMORY_LIMIT


def test_alerts_of_one_container(web: Board) -> None:
    banner = "Alerts about this container and its engine"
    assert web.answer(banner, "A").by("alertname") == {("ContainerMemoryHigh",): WARNING}
    assert web.pick(name=CRASHED).answer(banner, "A").by("alertname") == {("ContainerDown",): CRITICAL}


def test_trouble_of_one_container(web: Board) -> None:
    looping, hungry = web.pick(name=LOOPING), web.pick(name=HUNGRY)
    assert looping.value("Restarts in 24 h") > RESTARTED_OFTEN
    assert looping.value("Restarts and OOM kills within 15 minutes", "A") > RESTARTED_OFTEN
    assert hungry.value("OOM kills in 24 h") >= 1
    assert hungry.value("Restarts and OOM kills within 15 minutes", "B") >= 1
    crashed = web.pick(name=CRASHED)
    assert words(crashed.dashboard.panel("State"))[crashed.value("State")] == "▲▲ exited, should run"


@pytest.mark.parametrize(("name", "said"), [(WEB, "● healthy"), (ILL, "▲▲ unhealthy"), (DB, "no check")])
def test_health_over_time(name: str, said: str, web: Board) -> None:
    board = web.pick(name=name)
    panel = board.dashboard.panel("State and health")
    assert words(panel)[board.value(panel.title, "A")] == "● running"
    assert words(panel)[board.value(panel.title, "B")] == said


def test_traffic_of_one_container(web: Board) -> None:
    network = web.answers("Network")
    assert network["A"].by("interface").keys() == network["B"].by("interface").keys() == {("eth0",)}
    assert network["B"].value() > 0
    assert {answer.value() for answer in web.answers("Packets lost").values()} == {0}
    assert sum(web.answer("Block I/O", "B").by("device").values()) > 0


def test_what_a_container_is_made_from(web: Board, world: Data) -> None:
    """It was deployed anew, so it had another id before."""
    answers = web.answers("What it is made from")
    (made,) = answers["A"].samples
    assert (made.labels["image"], made.labels[PROJECT], made.labels[SERVICE]) == (
        "busybox:test",
        "shop",
        "web",
    )
    assert 0 < world.now - made.value / 1000 < 3600
    assert answers["D"].value(id=made.labels["id"]) == WEB_MEMORY_LIMIT
    assert answers["E"].value(id=made.labels["id"]) == WEB_CORES
    (deployments,) = [each for each in web.dashboard.annotations if each.ref == "Deployments"]
    assert web.ask(deployments).value(name=WEB, image="busybox:test") == made.value
