"""What is made of lists, inspections and events over time: stories of containers, told without an engine.

Times are seconds. A story begins at 1000, when the first look is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plimsoll.serve.inventory import STATES, Container, Inventory
from plimsoll.serve.lives import Orders, Tally
from plimsoll.serve.sources.answers import LIVING, Details, Event, Listed

BEGIN = 1000.0
KEEP = 3600.0


def details(state: str = "running", **known: Any) -> Details:
    """Build what an inspection says; unless told otherwise of `web`, which was started before we came."""
    plain = Details(
        id="1",
        name="web",
        image="nginx:1.25",
        labels={},
        state=state,
        health=None,
        pid=7 if state in LIVING else 0,
        exit_code=0,
        oom_killed=False,
        restart_count=0,
        created_at=500.0,
        started_at=None if state == "created" else 501.0,
        finished_at=None if state in {"created", *LIVING} else 900.0,
        restart_policy="no",
        auto_remove=False,
        network_mode="bridge",
        cgroup_parent="",
        memory_limit=0,
        memory_reservation=0,
        cpu_shares=0,
        cpu_quota=0,
        cpu_period=100_000,
    )
    return dataclasses.replace(plain, **known)


def exited(code: int, **known: Any) -> Details:
    return details("exited", exit_code=code, **known)


def listed(container: Details, **known: Any) -> Listed:
    """Build what the list says of a container that is as inspected; `known` contradicts."""
    return Listed(container.id, container.name, container.state, container.health)._replace(**known)


def event(action: str, at: float = 1030.0, *, of: str = "1", code: int | None = None) -> Event:
    return Event(of, action, code, int(at * 10**9))


class Watch:
    """An inventory that is led as the collector leads it: it lists, inspects what is due, and looks."""

    def __init__(self, *, heard: bool = True) -> None:
        self.inventory = Inventory()
        self.heard = heard
        self.unwanted: set[str] = set()
        self.now = BEGIN - 60
        self.inspected: list[str] = []

    def hear(self, *events: Event) -> None:
        for one in events:
            self.inventory.hear(one)

    def look(
        self,
        *there: Details,
        at: float | None = None,
        everything: bool = False,
        failed: Iterable[str] = (),
        ignored: Iterable[str] = (),
        while_inspecting: Iterable[Event] = (),
    ) -> dict[str, Container]:
        """Look a minute after the last time, or at a given time; give what is published by name."""
        self.now = self.now + 60 if at is None else at
        listing = [listed(container) for container in there]
        self.inspected = self.inventory.due(listing, all_of_them=everything)
        self.hear(*while_inspecting)
        self.inventory.look(
            listing,
            {one.id: one for one in there if one.id in self.inspected and one.id not in failed},
            failed=set(failed),
            ignored=set(ignored),
            orders=Orders(are_told=self.heard, are_heard=self.heard),
            wanted=lambda name: name not in self.unwanted,
            now=self.now,
            keep_removed=KEEP,
        )
        return self.shown()

    def shown(self) -> dict[str, Container]:
        return {container.details.name: container for container in self.inventory.containers()}


@pytest.fixture
def watch() -> Watch:
    return Watch()


DIE_AND_STOP = (event("die", 1030, code=143), event("stop", 1030.1))

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


# --- removed, ignored, and failed -------------------------------------------------------------------------


def test_a_removed_container_stays_visible_for_a_while(watch: Watch) -> None:
    watch.look(details(), at=1000)
    watch.look(details(), at=1060)
    for now in (1120, 2000, 1120 + KEEP - 1):
        shown = watch.look(at=now)["web"]
        assert (shown.state, shown.last_seen) == ("removed", 1060)
    assert watch.look(at=1120 + KEEP) == {}
    assert watch.look(at=1120 + KEEP + 60) == {}


def test_last_seen_is_when_it_was_last_listed(watch: Watch) -> None:
    assert watch.look(details(), at=1000)["web"].last_seen == 1000
    assert watch.look(details(), at=1060.5)["web"].last_seen == 1060.5
    assert watch.inspected == [], "although it was not inspected"


def test_one_that_removes_itself_is_never_shown_as_removed(watch: Watch) -> None:
    watch.look(details(auto_remove=True))
    watch.hear(event("die", code=0), event("destroy"))
    assert watch.look() == {}


def test_what_is_watched_no_longer_was_not_removed(watch: Watch) -> None:
    """It was renamed to a name that is excluded, or left out by a reload."""
    watch.look(details(), details(id="2", name="db"))
    assert list(watch.look(details(id="2", name="db"), ignored=["1"])) == ["db"]


def test_removed_ones_that_share_a_name_are_shown_once(watch: Watch) -> None:
    watch.look(details())
    watch.look(details(id="2"))
    (shown,) = watch.look().values()
    assert (shown.details.id, shown.state) == ("2", "removed")


def test_what_could_not_be_inspected_is_not_shown_and_due_again(watch: Watch) -> None:
    watch.look(details(), details(id="2", name="db"))
    watch.hear(event("update"))
    assert list(watch.look(details(), details(id="2", name="db"), failed=["1"])) == ["db"]
    assert watch.inspected == ["1"]
    assert [one.name for one in watch.inventory.living()] == ["db"]

    assert list(watch.look(details(), details(id="2", name="db"), failed=["1"])) == ["db"]
    assert watch.inspected == ["1"]

    shown = watch.look(details(memory_limit=64), details(id="2", name="db"))
    assert watch.inspected == ["1"]
    assert shown["web"].details.memory_limit == 64
    assert watch.look(details(memory_limit=64), details(id="2", name="db")).keys() == {"web", "db"}
    assert watch.inspected == []


def test_a_new_one_that_could_not_be_inspected_has_no_past(watch: Watch) -> None:
    watch.look()
    assert watch.look(details(), failed=["1"]) == {}
    assert watch.look() == {}, "nor is it shown as removed"


def test_one_that_fails_and_then_goes_is_shown_as_it_was_known(watch: Watch) -> None:
    watch.look(details(), at=1000)
    watch.hear(event("update"))
    watch.look(details(), failed=["1"], at=1060)
    shown = watch.look(at=1120)["web"]
    assert (shown.state, shown.last_seen) == ("removed", 1060)


def test_only_what_has_processes_is_measured(watch: Watch) -> None:
    containers = [details(state, id=state, name=state) for state in STATES if state != "removed"]
    watch.look(*containers)
    assert {one.name for one in watch.inventory.living()} == {"running", "paused"}
    assert {one.state for one in watch.shown().values() if one.is_living} == {"running", "paused"}


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


# --- what is inspected when -------------------------------------------------------------------------------


def test_what_is_new_is_inspected_and_then_left_alone(watch: Watch) -> None:
    watch.look(details())
    assert watch.inspected == ["1"]
    watch.look(details(), details(id="2", name="db"))
    assert watch.inspected == ["2"]
    watch.look(details(), details(id="2", name="db"))
    assert watch.inspected == []


@pytest.mark.parametrize(
    "action", ["start", "die", "stop", "oom", "rename", "update", "pause", "health_status"]
)
def test_what_an_event_told_of_is_inspected_once(watch: Watch, action: str) -> None:
    watch.look(details(), details(id="2", name="db"))
    watch.hear(event(action))
    watch.look(details(), details(id="2", name="db"))
    assert watch.inspected == ["1"]
    watch.look(details(), details(id="2", name="db"))
    assert watch.inspected == []


@pytest.mark.parametrize(
    "contradiction", [{"state": "paused"}, {"name": "web-old"}, {"health": "unhealthy"}, {"health": None}]
)
def test_what_the_list_contradicts_is_inspected(watch: Watch, contradiction: dict[str, Any]) -> None:
    known = details(health="healthy")
    watch.look(known)
    assert watch.inventory.due([listed(known)], all_of_them=False) == []
    assert watch.inventory.due([listed(known, **contradiction)], all_of_them=False) == ["1"]


def test_everything_is_inspected_when_events_were_missed(watch: Watch) -> None:
    watch.look(details(), details(id="2", name="db"))
    watch.look(details(), details(id="2", name="db"), everything=True)
    assert watch.inspected == ["1", "2"]


def test_what_happens_while_it_is_inspected_is_looked_at_next_time(watch: Watch) -> None:
    watch.look(details(), while_inspecting=[event("die", code=1)])
    assert watch.inspected == ["1"]
    watch.look(exited(1))
    assert watch.inspected == ["1"]
    watch.look(exited(1))
    assert watch.inspected == []


def test_what_appears_while_others_are_inspected_is_new_next_time(watch: Watch) -> None:
    shown = watch.look(details(), while_inspecting=[event("create", of="2"), event("start", of="2")])
    assert list(shown) == ["web"]
    shown = watch.look(details(), details(id="2", name="db", created_at=1001.0))
    assert watch.inspected == ["2"]
    assert shown["db"].expected_running


# --- restarts ---------------------------------------------------------------------------------------------


def test_a_tally_never_goes_back() -> None:
    tally = Tally()
    totals = []
    for count in (0, 2, 2, 5, 0, 1, 1, 0):
        tally.see(count)
        totals.append(tally.total)
    assert totals == [0, 2, 2, 5, 5, 6, 6, 6]
    tally.reset()
    tally.see(3)
    assert tally.total == 9


def test_restarts_survive_the_engines_counting_anew(watch: Watch) -> None:
    """A start by hand sets the engine's count to 0."""
    counts = []
    for restarts in (0, 3, 0, 0, 2):
        watch.hear(event("start"))
        counts.append(watch.look(details(restart_count=restarts))["web"].restarts)
    assert counts == [0, 3, 3, 3, 5]


def test_restarts_from_before_our_watch_are_counted_from_the_beginning(watch: Watch) -> None:
    assert watch.look(details(restart_count=7))["web"].restarts == 7


def test_the_first_restarts_of_a_newborn_are_a_step_up_from_0(watch: Watch) -> None:
    watch.look()
    newborn = details(restart_count=4, created_at=1010.0)
    assert watch.look(newborn)["web"].restarts == 0
    assert watch.look(newborn)["web"].restarts == 4
    assert watch.inspected == [], "there is nothing new to know"


def test_an_old_container_that_is_new_to_us_is_no_newborn(watch: Watch) -> None:
    watch.look()
    assert watch.look(details(restart_count=4, created_at=999.0))["web"].restarts == 4


def test_a_removed_container_keeps_its_counts(watch: Watch) -> None:
    watch.look()
    watch.hear(event("oom"))
    watch.look(details(restart_count=4, created_at=1010.0))
    watch.hear(event("destroy"))
    shown = watch.look()["web"]
    assert (shown.restarts, shown.oom_kills) == (4, 1)


# --- kills for want of memory -----------------------------------------------------------------------------


def test_kills_that_events_tell_of(watch: Watch) -> None:
    assert watch.look(details())["web"].oom_kills == 0
    watch.hear(event("oom", 1010), event("oom", 1020))
    assert watch.look(details())["web"].oom_kills == 2
    watch.hear(event("die", code=0), event("start"), event("oom"))
    assert watch.look(details(started_at=1100.0))["web"].oom_kills == 3


def test_kills_that_only_the_cgroup_tells_of(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    assert watch.shown()["web"].oom_kills == 0
    watch.inventory.saw_kills("1", 2, watch.now)
    assert watch.shown()["web"].oom_kills == 2
    watch.look(details())
    watch.inventory.saw_kills("1", 2, watch.now)
    assert watch.shown()["web"].oom_kills == 2


def test_the_cgroups_count_begins_anew_with_each_run(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    watch.inventory.saw_kills("1", 2, watch.now)
    watch.hear(event("start"))
    watch.look(details(started_at=1030.0))
    assert watch.shown()["web"].oom_kills == 2
    watch.inventory.saw_kills("1", 2, watch.now)  # as many again
    assert watch.shown()["web"].oom_kills == 4
    watch.inventory.saw_kills("1", 3, watch.now)
    assert watch.shown()["web"].oom_kills == 5


def test_a_run_that_began_after_the_look(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    watch.inventory.saw_kills("1", 2, watch.now)
    watch.inventory.saw_kills("1", 1, watch.now)  # the new run's
    assert watch.shown()["web"].oom_kills == 2
    watch.look(details(started_at=1030.0), everything=True)
    watch.inventory.saw_kills("1", 1, watch.now)
    assert watch.shown()["web"].oom_kills == 3


def test_a_kill_counts_after_others_that_came_as_one_event(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    watch.hear(event("oom", 1030))
    watch.inventory.saw_kills("1", 3, 1031)
    watch.hear(event("oom", 1040), event("die", 1040, code=137), event("start", 1041))
    left = details(started_at=1041.0, finished_at=1040.0, restart_count=1)
    assert watch.look(left)["web"].oom_kills == 4


def test_what_the_cgroup_had_counted_before_our_time_is_no_news(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 3, watch.now)
    assert watch.shown()["web"].oom_kills == 0
    watch.inventory.saw_kills("1", 4, watch.now)
    assert watch.shown()["web"].oom_kills == 1


def test_the_cgroup_of_a_stranger_is_nobodys(watch: Watch) -> None:
    watch.inventory.saw_kills("2", 3, watch.now)
    assert watch.look(details(id="2"))["web"].oom_kills == 0


def test_kills_that_only_the_state_tells_of() -> None:
    watch = Watch(heard=False)
    first = exited(137, oom_killed=True, finished_at=1030.0)
    second = exited(137, oom_killed=True, started_at=1100.0, finished_at=1130.0)
    counts = [
        watch.look(one, everything=True)["web"].oom_kills
        for one in (
            details(),
            first,
            first,
            details(started_at=1100.0, finished_at=1030.0, oom_killed=True),  # Docker forgets it later
            details(started_at=1100.0, finished_at=1030.0),
            second,
            second,
            exited(0, started_at=1200.0, finished_at=1230.0),
        )
    ]
    assert counts == [0, 1, 1, 1, 1, 2, 2, 2]


def test_a_kill_that_all_three_saw_is_one(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    watch.hear(event("oom", 1030), event("die", 1030, code=137))
    watch.inventory.saw_kills("1", 1, watch.now)
    left = exited(137, oom_killed=True, finished_at=1030.0)
    assert watch.look(left)["web"].oom_kills == 1

    watch.hear(event("start", 1090))
    watch.look(details(started_at=1090.0, finished_at=1030.0))
    watch.hear(event("oom", 1100))
    watch.inventory.saw_kills("1", 1, watch.now)
    assert watch.shown()["web"].oom_kills == 2


def test_kills_while_nobody_listened_are_made_up_for_by_the_cgroup(watch: Watch) -> None:
    watch.look(details())
    watch.hear(event("oom"))
    watch.inventory.saw_kills("1", 1, watch.now)
    watch.inventory.saw_kills("1", 3, watch.now)
    assert watch.shown()["web"].oom_kills == 3
    watch.hear(event("oom"))
    watch.inventory.saw_kills("1", 4, watch.now)
    assert watch.shown()["web"].oom_kills == 4


def test_the_first_kill_of_a_newborn_is_a_step_up_from_0(watch: Watch) -> None:
    watch.look()
    watch.hear(event("create"), event("start"), event("oom"), event("die", code=137))
    newborn = exited(137, oom_killed=True, created_at=1010.0, started_at=1011.0)
    assert watch.look(newborn)["web"].oom_kills == 0
    assert watch.look(newborn)["web"].oom_kills == 1
    assert watch.look(newborn)["web"].oom_kills == 1


def test_a_kill_from_before_our_watch_is_where_the_count_begins(watch: Watch) -> None:
    assert watch.look(exited(137, oom_killed=True))["web"].oom_kills == 1
    assert watch.look(exited(137, oom_killed=True))["web"].oom_kills == 1


# --- nothing is kept for ever -----------------------------------------------------------------------------


def sizes(inventory: Inventory) -> dict[str, int]:
    return {
        name: len(value)
        for name, value in vars(inventory).items()
        if isinstance(value, (dict, set, frozenset, list))
    }


@pytest.mark.parametrize("looks", [1, 7, 1000], ids="a look after every {}th".format)
@pytest.mark.parametrize("auto_remove", [True, False])
def test_short_lived_containers_leave_nothing_behind(watch: Watch, looks: int, auto_remove: bool) -> None:
    """Some are seen, some live and die between two looks, and some events come when they have gone."""
    watch.look(details())
    before = sizes(watch.inventory)
    for number in range(3000):
        identity = f"short-{number}"
        watch.hear(event("create", of=identity), event("start", of=identity))
        if number % looks == 0:
            watch.look(details(), details(id=identity, name=identity, auto_remove=auto_remove))
        watch.hear(event("oom", of=identity), event("die", of=identity, code=137))
        if number % 2:
            watch.hear(event("stop", of=identity))
        watch.hear(event("destroy", of=identity))
        if number % looks == looks // 2:
            watch.look(details())
    watch.look(details())
    watch.look(details(), at=watch.now + 2 * KEEP)
    assert sizes(watch.inventory) == before


def test_containers_that_nobody_told_of_leave_nothing_behind() -> None:
    watch = Watch(heard=False)
    watch.look(details())
    before = sizes(watch.inventory)
    for number in range(1000):
        watch.look(details(), details(id=f"short-{number}", name=f"short-{number}"))
    watch.look(details())
    watch.look(details(), at=watch.now + KEEP)
    assert sizes(watch.inventory) == before


def test_what_is_not_watched_leaves_nothing_behind(watch: Watch) -> None:
    watch.look(details())
    before = sizes(watch.inventory)
    for number in range(1000):
        identity = f"scratch-{number}"
        watch.hear(event("create", of=identity), event("start", of=identity))
        watch.look(details(), ignored=[identity])
        watch.hear(event("die", of=identity, code=0), event("destroy", of=identity))
        watch.look(details())
    assert sizes(watch.inventory) == before


# --- whatever happens -------------------------------------------------------------------------------------

MOMENTS = st.sampled_from([None, 501.0, 900.0, 1010.0, 1070.0])
ANY_DETAILS = st.builds(
    details,
    st.sampled_from([state for state in STATES if state != "removed"]),
    name=st.sampled_from(["web", "db"]),
    exit_code=st.sampled_from([0, 1, 137, 143]),
    oom_killed=st.booleans(),
    restart_count=st.integers(0, 5),
    created_at=MOMENTS,
    started_at=MOMENTS,
    finished_at=MOMENTS,
    auto_remove=st.booleans(),
)
ANY_ACTION = st.sampled_from(["create", "start", "die", "stop", "oom", "destroy", "rename", "kill"])


class AnyOrder(RuleBasedStateMachine):
    """Lists, events and measurements of one container, as no engine would send them."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()
        self.generation = 0
        self.counts = 0, 0

    @rule(one=ANY_DETAILS, everything=st.booleans(), heard=st.booleans())
    def look(self, one: Details, everything: bool, heard: bool) -> None:
        self.watch.heard = heard
        self.watch.look(dataclasses.replace(one, id=str(self.generation)), everything=everything)

    @rule(one=ANY_DETAILS)
    def fail(self, one: Details) -> None:
        self.watch.look(dataclasses.replace(one, id=str(self.generation)), failed=[str(self.generation)])

    @rule(ignored=st.booleans())
    def go(self, ignored: bool) -> None:
        self.watch.look(ignored=[str(self.generation)] if ignored else [])
        self.generation += 1
        self.counts = 0, 0

    @rule(action=ANY_ACTION, at=st.floats(900, 2000), code=st.sampled_from([None, 0, 137]))
    def hear(self, action: str, at: float, code: int | None) -> None:
        self.watch.hear(event(action, at, of=str(self.generation), code=code))

    @rule(count=st.integers(0, 4))
    def measure(self, count: int) -> None:
        self.watch.inventory.saw_kills(str(self.generation), count, self.watch.now)

    @rule(moment=st.floats(900, 2000))
    def engine_ends(self, moment: float) -> None:
        self.watch.inventory.engine_ended(moment)

    @invariant()
    def counters_never_go_back(self) -> None:
        for one in self.watch.inventory.containers():
            if one.state != "removed":
                restarts, kills = self.counts
                assert one.restarts >= restarts
                assert one.oom_kills >= kills
                self.counts = one.restarts, one.oom_kills

    @invariant()
    def all_that_is_published_makes_sense(self) -> None:
        shown = self.watch.inventory.containers()
        assert len({one.details.id for one in shown}) == len(shown)
        assert len({one.details.name for one in shown}) == len(shown)
        for one in shown:
            assert one.state in STATES
            assert one.exit_code is None or not one.is_living
            assert not (one.expected_running and one.details.auto_remove)


class Ship(RuleBasedStateMachine):
    """One container as an engine leads it: what we count is never more than what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()
        self.at = BEGIN
        self.kills = 0
        self.restarts = 0
        self.in_cgroup = 0
        self.is_listening = True
        self.is_complete = True
        self.is_ordered = True
        """Whether nobody expects it to run."""

    @initialize(policy=st.sampled_from(["no", "always"]), heard=st.booleans())
    def create(self, policy: str, heard: bool) -> None:
        self.watch.heard = self.is_listening = self.is_complete = heard
        self.watch.look()
        self.now = details("created", created_at=self.tick(), restart_policy=policy)

    def tick(self) -> float:
        self.at += 1
        return self.at

    def tell(self, action: str, code: int | None = None) -> None:
        if self.is_listening:
            self.watch.hear(event(action, self.at, code=code))

    def end(self, code: int, *, oom_killed: bool = False) -> None:
        self.now = dataclasses.replace(
            self.now, state="exited", exit_code=code, oom_killed=oom_killed, finished_at=self.tick(), pid=0
        )
        self.tell("die", code)
        self.is_ordered = False

    def run(self) -> None:
        self.now = dataclasses.replace(
            self.now, state="running", exit_code=0, oom_killed=False, started_at=self.tick(), pid=7
        )
        self.in_cgroup = 0
        self.tell("start")
        self.is_ordered = False

    @precondition(lambda self: self.now.state != "running")
    @rule()
    def start_by_hand(self) -> None:
        self.now = dataclasses.replace(self.now, restart_count=0)
        self.run()

    @precondition(lambda self: self.now.state == "running")
    @rule()
    def stop(self) -> None:
        self.end(143)
        self.tell("stop")
        self.is_ordered = True

    @precondition(lambda self: self.now.state == "running")
    @rule()
    def restart_by_policy(self) -> None:
        self.end(1)
        self.restarts += 1
        self.now = dataclasses.replace(self.now, restart_count=self.now.restart_count + 1)
        self.run()

    @precondition(lambda self: self.now.state == "running")
    @rule()
    def kill_a_child(self) -> None:
        self.kills += 1
        self.in_cgroup += 1
        self.tell("oom")

    @precondition(lambda self: self.now.state == "running")
    @rule()
    def kill_the_first_process(self) -> None:
        self.kill_a_child()
        self.end(137, oom_killed=True)

    @rule()
    def collect(self) -> None:
        (shown,) = self.watch.look(self.now, everything=not self.is_listening).values()
        if self.is_complete:
            assert shown.expected_running is not self.is_ordered
        if self.now.state == "running":
            self.watch.inventory.saw_kills("1", self.in_cgroup, self.watch.now)

    @precondition(lambda self: self.watch.heard)
    @rule(listening=st.booleans())
    def lose_or_regain_events(self, listening: bool) -> None:
        self.is_listening = listening
        self.is_complete = self.is_complete and listening

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for one in self.watch.inventory.containers():
            assert one.oom_kills <= self.kills
            assert one.restarts <= self.restarts


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestShip = Ship.TestCase
TestShip.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


@given(st.lists(st.integers(0, 9)))
def test_a_tally_is_never_less_than_what_it_was_or_saw(counts: list[int]) -> None:
    tally = Tally()
    former = 0
    for count in counts:
        tally.see(count)
        assert tally.total >= max(former, count)
        former = tally.total


def test_a_start_that_nobody_heard_ends_what_an_order_was_for(watch: Watch) -> None:
    watch.look(details())
    watch.hear(*DIE_AND_STOP)
    watch.look(exited(143))
    watch.look(details(started_at=1500.0), everything=True)  # the stream was lost meanwhile

    crashed = watch.look(exited(1, started_at=1500.0))["web"]

    assert (crashed.expected_running, crashed.exit_code) == (True, 1)


def test_one_that_is_watched_no_longer_is_not_shown_as_removed(watch: Watch) -> None:
    watch.look(details())
    assert watch.look()["web"].state == "removed"
    watch.unwanted = {"web"}
    assert watch.look() == {}


def test_one_that_was_removed_while_nobody_looked_is_shown_for_as_long(watch: Watch) -> None:
    watch.look(details(), at=1000)
    assert watch.look(at=1000 + 2 * KEEP)["web"].state == "removed"


def test_what_a_new_daemon_does_not_start_again_was_stopped_by_order(watch: Watch) -> None:
    watch.look(details(restart_policy="always"))
    watch.hear(*DIE_AND_STOP)
    watch.inventory.engine_ended(1031)
    assert not watch.look(exited(143, restart_policy="always"))["web"].expected_running
