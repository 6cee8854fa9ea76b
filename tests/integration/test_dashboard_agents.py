"""The dashboard of the agents tells the truth about the world that it is tested on."""

from __future__ import annotations

import pytest

from boards import Board, Data
from fix_dashboards import OpenBoard
from world_parts import AGENTS

pytestmark = pytest.mark.long

BANNER, TABLE = "Agent alerts that fire", "Agents"
SEVERITY, SINCE, SILENCED = "ABC"
CRITICAL, WARNING, INFO = 0, 2, 5


def about(seconds: float) -> object:
    """Give what equals an age that was this when the agents' tables were filled, and has been read since."""
    return pytest.approx(seconds + 150, abs=150)


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("agents")


def test_the_banner_names_what_is_wrong_with_which_agent(board: Board) -> None:
    alerts = board.answer(BANNER, SEVERITY)
    assert alerts.by("alertname", "agent") == {
        ("AgentDown", "silent"): CRITICAL,
        ("AgentGatewayDisconnected", "cut off"): CRITICAL,
        ("AgentErrorRateHigh", "cut off"): WARNING,
        ("AgentContextWindowHigh", "full"): WARNING,
        ("AgentTaskStuck", "full"): WARNING,
        ("AgentCostHigh", "full"): INFO,
    }
    assert {(each.labels["server"], each.labels["datname"]) for each in alerts.samples} == {
        ("main", "billing")
    }
    assert board.value("Critical alerts") == 2
    assert board.value("Other alerts") == 4


def test_the_banner_says_since_when_and_that_everybody_is_told(board: Board, world: Data) -> None:
    since, silenced = (board.answer(BANNER, ref).by("alertname") for ref in (SINCE, SILENCED))
    assert since.keys() == silenced.keys()
    assert all(0 < world.now - at / 1000 < 3600 for at in since.values())
    assert set(silenced.values()) == {0}


def test_what_is_bad_is_counted(board: Board) -> None:
    titles = ("Silent", "Disconnected", "With failing runs", "With a full context", "With a stuck task")
    assert [board.value(title) for title in titles] == [1] * 5
    assert board.value("Cost of the last hour") == 10 * 0.25 + 6
    fine = board.pick(agent="fine")
    assert [fine.value(title) for title in titles] == [0] * 5


def test_the_table_has_each_signal_of_each_agent(board: Board, world: Data) -> None:
    asked, silent, gateway, runs, failed, context, tasks, oldest, cost = (
        {agent: value for (agent,), value in board.answer(TABLE, ref).by("agent").items()}
        for ref in "ABCDEFGHI"
    )
    assert asked.keys() == AGENTS
    assert all(abs(world.now - at / 1000) < 600 for at in asked.values())
    assert silent == {"fine": 0, "cut off": 0, "full": 0, "silent": about(10 * 60)}
    assert gateway == {"fine": 1, "full": 1, "cut off": 0}
    assert runs == {"fine": 10, "full": 1, "cut off": 3, "silent": 0}
    assert failed == {"fine": 10, "full": 0, "cut off": pytest.approx(200 / 3)}
    assert context == {"fine": 10, "full": 95}
    assert tasks == {"fine": 1, "full": 1, "cut off": 0, "silent": 0}
    assert oldest == {"fine": about(60), "full": about(31 * 60)}
    assert cost == {"fine": 2.5, "full": 6, "silent": 0}


@pytest.mark.parametrize(
    ("title", "agent", "value", "threshold"),
    [
        ("Time since the last sign of life", "silent", about(10 * 60), 240),
        ("Failed runs", "cut off", pytest.approx(200 / 3), 10),
        ("Oldest task in progress", "full", about(31 * 60), 30 * 60),
        ("Context used", "full", 95, 90),
        ("Cost in an hour", "full", 6, 5),
    ],
)
def test_graphs_have_the_signals_and_thresholds(
    board: Board, title: str, agent: str, value: object, threshold: float
) -> None:
    found = board.answer(title, "A").by("server", "datname", "agent")
    assert found["main", "billing", agent] == value
    assert board.value(title, "B") == threshold


def test_disconnections_are_those_of_who_was_cut_off(board: Board) -> None:
    disconnected = "Agents without their gateway"
    assert board.value(disconnected, "A") == 0
    assert board.answer(disconnected, "B").by("agent") == {("cut off",): 0}


def test_one_agent_can_be_chosen(board: Board) -> None:
    assert board.options["server"] == ["main"]
    assert board.options["datname"] == ["billing"]
    assert set(board.options["agent"]) == AGENTS
    chosen = board.pick(server="main", datname="billing", agent="cut off")
    assert chosen.answer(TABLE, "A").by("agent").keys() == {("cut off",)}
    assert chosen.value("Critical alerts") == 1
