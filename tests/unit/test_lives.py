"""Whether a container ought to run, and how it ended, by lists, inspections and events."""

from __future__ import annotations

import dataclasses

import pytest

from fix_inventory import DIE_AND_STOP, Watch, details, event, exited
from plimsoll.serve.sources.answers import Details, Event

# --- is it expected to run? -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_what_runs_is_expected_to(watch: Watch, state: str) -> None:
    shown = watch.look(details(state))
    assert (shown["web"].state, shown["web"].expected_running) == (state, True)


def test_what_was_never_started_is_not_expected_to(watch: Watch) -> None:
    shown = watch.look(details("created"))["web"]
    assert (shown.expected_running, shown.exit_code) == (False, None)


ALWAYS = {"restart_policy": "always"}
ENDINGS: dict[str, tuple[tuple[Event, ...], Details, bool]] = {
    "docker stop": (DIE_AND_STOP, exited(143), False),
    "docker stop of a program that obeys": (
        (event("die", code=0), event("stop")),
        exited(0, **ALWAYS),
        False,
    ),
    "docker stop of a program that does not": ((event("die", code=137), event("stop")), exited(137), False),
    "docker stop of a program that fails then": ((event("die", code=1), event("stop")), exited(1), False),
    "Podman's stop, which tells of it first": ((event("stop"), event("die", code=143)), exited(143), False),
    "a crash": ((event("die", code=1),), exited(1), True),
    "a crash that the policy gave up on": (
        tuple(event(action, code=1) for action in ("die", "start", "die", "start", "die")),
        exited(1, restart_policy="on-failure", restart_count=2),
        True,
    ),
    "docker kill": ((event("kill"), event("die", code=137)), exited(137), True),
    "a kill for want of memory": (
        (event("oom"), event("die", code=137)),
        exited(137, oom_killed=True),
        True,
    ),
    "a one-off that is done": ((event("die", code=0),), exited(0), False),
    "a one-off that is done, after failures": (
        (event("die", code=1), event("start"), event("die", code=0)),
        exited(0, restart_policy="on-failure", restart_count=1),
        False,
    ),
    "an end with 0 that the policy does not want": ((event("die", code=0),), exited(0, **ALWAYS), True),
    "the same, unless stopped": (
        (event("die", code=0),),
        exited(0, restart_policy="unless-stopped"),
        True,
    ),
    "--rm, on its way out": ((event("die", code=1),), exited(1, auto_remove=True), False),
    "docker restart": (
        (*DIE_AND_STOP, event("start"), event("restart")),
        details(started_at=1031.0, finished_at=1030.0),
        True,
    ),
    "stopped, started again, crashed": (
        (*DIE_AND_STOP, event("start"), event("die", code=1)),
        exited(1, started_at=1031.0),
        True,
    ),
    "crashed, started again, stopped": (
        (event("die", code=1), event("start"), *DIE_AND_STOP),
        exited(143, started_at=1029.0),
        False,
    ),
    "stopped, started again by hand, done": (
        (*DIE_AND_STOP, event("start"), event("die", code=0)),
        exited(0, started_at=1029.0),
        False,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_how_it_ended_says_whether_it_ought_to_run(watch: Watch, ending: str) -> None:
    events, left, expected = ENDINGS[ending]
    before = details(restart_policy=left.restart_policy, auto_remove=left.auto_remove)
    watch.look(before)
    watch.hear(*events)
    assert watch.look(left)["web"].expected_running is expected
    assert watch.look(left)["web"].expected_running is expected, "and it stays so"


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_began_and_ended_between_two_looks_is_judged_the_same(watch: Watch, ending: str) -> None:
    events, left, expected = ENDINGS[ending]
    watch.look()
    watch.hear(event("create", 1001), event("start", 1002), *events)
    assert watch.look(left)["web"].expected_running is expected


def test_a_list_between_the_end_and_the_order(watch: Watch) -> None:
    """Docker tells of the end first, and of the order when the command has returned."""
    die, stop = DIE_AND_STOP
    watch.look(details())
    watch.hear(die)
    assert watch.look(exited(143))["web"].expected_running, "for all we know now"
    watch.hear(stop)
    assert not watch.look(exited(143))["web"].expected_running


def test_an_order_that_arrives_while_it_is_inspected(watch: Watch) -> None:
    die, stop = DIE_AND_STOP
    watch.look(details())
    watch.hear(die)
    assert not watch.look(exited(143), while_inspecting=[stop])["web"].expected_running


REMOVALS = {
    "docker rm -f": ((event("kill"), event("die", code=137), event("destroy")), True),
    "compose down": ((*DIE_AND_STOP, event("destroy")), False),
    "a crash, and docker rm": ((event("die", code=1), event("destroy")), True),
    "a one-off that is done, and docker rm": ((event("die", code=0), event("destroy")), False),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_removed_between_two_looks(watch: Watch, removal: str) -> None:
    events, expected = REMOVALS[removal]
    watch.look(details())
    watch.hear(*events)
    shown = watch.look()["web"]
    assert (shown.state, shown.expected_running) == ("removed", expected)
    assert shown.exit_code == events[-2].exit_code or events[-2].action == "stop"


@pytest.mark.parametrize("removal", REMOVALS)
def test_ended_at_one_look_and_removed_at_the_next(watch: Watch, removal: str) -> None:
    (*ending, destroy), expected = REMOVALS[removal]
    code = next(one.exit_code for one in ending if one.action == "die")
    watch.look(details())
    watch.hear(*ending)
    watch.look(exited(code or 0))
    watch.hear(destroy)
    shown = watch.look()["web"]
    assert (shown.state, shown.expected_running, shown.exit_code) == ("removed", expected, code)


def test_removing_what_was_never_started_is_no_loss(watch: Watch) -> None:
    watch.look(details("created"))
    watch.hear(event("destroy"))
    assert not watch.look()["web"].expected_running


def test_a_redeployment_leaves_one_container_of_the_name(watch: Watch) -> None:
    """Compose makes the new one under another name, stops and removes the old one, and renames."""
    watch.look(details())
    watch.hear(event("create", of="2"))
    new = details("created", id="2", name="f00_web", image="nginx:1.26", created_at=1001.0)
    shown = watch.look(details(), new)
    assert {name: one.expected_running for name, one in shown.items()} == {"web": True, "f00_web": False}

    watch.hear(*DIE_AND_STOP, event("destroy"), event("rename", of="2"), event("start", of="2"))
    shown = watch.look(dataclasses.replace(new, name="web", state="running", started_at=1070.0))
    assert list(shown) == ["web"]
    assert (shown["web"].state, shown["web"].details.image) == ("running", "nginx:1.26")
    assert shown["web"].expected_running


def test_one_that_was_removed_gives_way_to_its_successor(watch: Watch) -> None:
    watch.look(details())
    watch.hear(event("die", code=1), event("destroy"))
    assert watch.look()["web"].state == "removed"
    (shown,) = watch.look(details(id="2", created_at=1100.0)).values()
    assert (shown.details.id, shown.state) == ("2", "running")
    (shown,) = watch.look(details(id="2", created_at=1100.0)).values()
    assert shown.details.id == "2"


def test_a_rename_is_no_removal(watch: Watch) -> None:
    watch.look(details())
    watch.hear(event("rename"))
    shown = watch.look(details(name="web-old"))
    assert list(shown) == ["web-old"]
    assert shown["web-old"].expected_running


# --- what ended before anybody listened -------------------------------------------------------------------


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (exited(143), False),  # SIGTERM: docker stop
        (exited(137), False),  # SIGKILL: docker stop, when it does not obey
        (exited(130), False),  # SIGINT: Ctrl-C
        (exited(137, oom_killed=True), True),
        (exited(1), True),
        (exited(139), True),  # SIGSEGV
        (exited(0), False),
        (exited(0, restart_policy="on-failure"), False),
        (exited(1, restart_policy="on-failure", restart_count=3), True),
        (exited(1, restart_policy="always"), False),  # the engine would have started it again
        (exited(0, restart_policy="always"), False),
        (exited(1, restart_policy="unless-stopped"), False),
        (exited(1, auto_remove=True), False),
        (details("dead", exit_code=1), True),
        (details("removing", exit_code=143), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else f"{value.exit_code}-{value.restart_policy}",
)
def test_what_had_ended_before_is_judged_by_how(left: Details, expected: bool, heard: bool) -> None:
    watch = Watch(heard=heard)
    assert watch.look(left)["web"].expected_running is expected
    assert watch.look(left)["web"].expected_running is expected


def test_what_had_ended_before_is_judged_by_events_once_there_are_some(watch: Watch) -> None:
    assert not watch.look(exited(143))["web"].expected_running
    watch.hear(event("start", 1010))
    assert watch.look(details(started_at=1010.0))["web"].expected_running
    watch.hear(event("die", 1070, code=143))
    assert watch.look(exited(143, started_at=1010.0))["web"].expected_running, "nobody ordered this end"


@pytest.mark.parametrize(("code", "expected"), [(143, False), (137, False), (1, True), (0, False)])
def test_without_events_ends_are_judged_by_how(code: int, expected: bool) -> None:
    watch = Watch(heard=False)
    assert watch.look(details())["web"].expected_running
    assert watch.look(exited(code))["web"].expected_running is expected


def test_without_events_a_removal_was_ordered() -> None:
    watch = Watch(heard=False)
    watch.look(details())
    shown = watch.look()["web"]
    assert (shown.state, shown.expected_running, shown.exit_code) == ("removed", False, None)


def test_an_end_of_which_nothing_is_heard_was_not_ordered_or_we_had_heard_of_it(watch: Watch) -> None:
    watch.look(details())
    assert watch.look(exited(137))["web"].expected_running
    watch.hear(event("die", code=137))
    assert watch.look(exited(137))["web"].expected_running


def test_what_ended_before_events_could_be_heard_is_judged_by_how(watch: Watch) -> None:
    watch.heard = False
    watch.look(details(), details(id="2", name="db"))
    watch.heard = True
    shown = watch.look(exited(143), exited(1, id="2", name="db"))
    assert {name: one.expected_running for name, one in shown.items()} == {"web": False, "db": True}


def test_an_order_of_which_only_the_end_was_heard(watch: Watch) -> None:
    watch.look(details())
    watch.hear(event("stop", 1030))
    assert not watch.look(exited(143))["web"].expected_running
    watch.look(details(started_at=1500.0), everything=True)
    assert watch.look(exited(1, started_at=1500.0))["web"].expected_running, "that was for another run"


def test_a_start_that_nobody_heard_ends_what_an_order_was_for(watch: Watch) -> None:
    watch.look(details())
    watch.hear(*DIE_AND_STOP)
    watch.look(exited(143))
    watch.look(details(started_at=1500.0), everything=True)  # the stream was lost meanwhile

    crashed = watch.look(exited(1, started_at=1500.0))["web"]

    assert (crashed.expected_running, crashed.exit_code) == (True, 1)


# --- the engine's own end ---------------------------------------------------------------------------------


def test_what_the_engine_stops_on_its_way_out_was_not_ordered(watch: Watch) -> None:
    watch.look(details(), details(id="2", name="db"), details(id="3", name="job"))
    watch.hear(event("die", 1010, code=143), event("stop", 1010))  # an hour's work, done
    watch.hear(event("die", 1041, of="2", code=143), event("stop", 1041, of="2"))
    watch.hear(event("die", 1070, of="3", code=137), event("stop", 1070, of="3"))
    watch.inventory.engine_ended(1070.5)
    left = exited(143), exited(143, id="2", name="db"), exited(137, id="3", name="job")
    shown = watch.look(*left, everything=True)
    expected = {name: one.expected_running for name, one in shown.items()}
    assert expected == {"web": False, "db": True, "job": True}


def test_an_order_after_the_engines_return_counts(watch: Watch) -> None:
    watch.look(details())
    watch.hear(*DIE_AND_STOP)
    watch.inventory.engine_ended(1031)
    watch.hear(event("start", 1060))
    assert watch.look(details(started_at=1060.0), everything=True)["web"].expected_running
    watch.hear(event("die", 1100, code=143), event("stop", 1100))
    assert not watch.look(exited(143, started_at=1060.0))["web"].expected_running


def test_what_a_new_daemon_does_not_start_again_was_stopped_by_order(watch: Watch) -> None:
    watch.look(details(restart_policy="always"))
    watch.hear(*DIE_AND_STOP)
    watch.inventory.engine_ended(1031)
    assert not watch.look(exited(143, restart_policy="always"))["web"].expected_running


def test_an_end_of_which_the_events_were_missed_is_judged_by_how(watch: Watch) -> None:
    watch.look(details(), details(id="2", name="db"), details(id="3", name="job"))
    watch.inventory.events_missed()
    left = exited(143), exited(1, id="2", name="db"), details(id="3", name="job")
    shown = watch.look(*left, everything=True)
    assert {name: one.expected_running for name, one in shown.items()} == {
        "web": False,
        "db": True,
        "job": True,
    }
    shown = watch.look(*left[:2], exited(143, id="3", name="job"))
    assert shown["job"].expected_running, "of this end we would have heard"


# --- exit codes -------------------------------------------------------------------------------------------


def test_the_exit_code_is_known_while_it_does_not_run(watch: Watch) -> None:
    assert watch.look(details())["web"].exit_code is None
    watch.hear(event("die", code=3))
    assert watch.look(exited(3))["web"].exit_code == 3
    watch.hear(event("start"))
    assert watch.look(details(finished_at=900.0, exit_code=3))["web"].exit_code is None


def test_a_container_that_restarts_shows_with_what_it_ended(watch: Watch) -> None:
    assert watch.look(details("restarting", exit_code=4))["web"].exit_code == 4


def test_the_exit_code_of_one_that_was_removed_running(watch: Watch) -> None:
    watch.look(details())
    assert watch.look()["web"].exit_code is None, "nobody saw it end"
