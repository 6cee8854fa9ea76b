"""Which containers are shown and inspected, and what is kept of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fix_inventory import BEGIN, KEEP, Watch, details, event, exited, listed
from plimsoll.serve.inventory import STATES, Inventory
from plimsoll.serve.sources.answers import Details, Event

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


def test_one_that_is_watched_no_longer_is_not_shown_as_removed(watch: Watch) -> None:
    watch.look(details())
    assert watch.look()["web"].state == "removed"
    watch.unwanted = {"web"}
    assert watch.look() == {}


def test_one_that_was_removed_while_nobody_looked_is_shown_for_as_long(watch: Watch) -> None:
    watch.look(details(), at=1000)
    assert watch.look(at=1000 + 2 * KEEP)["web"].state == "removed"


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
        self.untold: list[Event] = []
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
        else:
            self.untold.append(event(action, self.at, code=code))

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
        self.look(everything=not self.is_listening)

    def look(self, *, everything: bool) -> None:
        (shown,) = self.watch.look(self.now, at=self.tick(), everything=everything).values()
        if self.is_complete:
            assert shown.expected_running is not self.is_ordered
        if self.now.state == "running":
            self.watch.inventory.saw_kills("1", self.in_cgroup, self.watch.now)

    @precondition(lambda self: self.is_listening)
    @rule()
    def lose_events(self) -> None:
        self.is_listening = self.is_complete = False

    @precondition(lambda self: self.watch.heard and not self.is_listening)
    @rule(remembered=st.booleans())
    def regain_events(self, remembered: bool) -> None:
        """Hear what the engine remembers, just before a look."""
        if remembered:
            self.watch.hear(*self.untold)
        else:
            self.watch.inventory.events_missed()
        self.untold.clear()
        self.is_listening = True
        self.look(everything=True)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for one in self.watch.inventory.containers():
            assert one.oom_kills <= self.kills
            assert one.restarts <= self.restarts


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestShip = Ship.TestCase
TestShip.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
