"""How often a container was restarted, and killed for want of memory, by witnesses that overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fix_inventory import Watch, details, event, exited
from plimsoll.serve.lives import Tally

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


@given(st.lists(st.integers(0, 9)))
def test_a_tally_is_never_less_than_what_it_was_or_saw(counts: list[int]) -> None:
    tally = Tally()
    former = 0
    for count in counts:
        tally.see(count)
        assert tally.total >= max(former, count)
        former = tally.total


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


def test_a_kill_while_the_cgroup_is_read_is_one(watch: Watch) -> None:
    """The moment is noted before the file is read."""
    watch.look(details())
    watch.inventory.saw_kills("1", 0, watch.now)
    watch.inventory.saw_kills("1", 1, 1030.0)
    watch.hear(event("oom", 1030.005))
    assert watch.shown()["web"].oom_kills == 1
    watch.hear(event("oom", 1030.5))
    assert watch.shown()["web"].oom_kills == 2, "that is another one"
    watch.inventory.saw_kills("1", 2, 1045.0)
    assert watch.shown()["web"].oom_kills == 2


def test_kills_that_are_told_of_after_they_were_counted(watch: Watch) -> None:
    """What the engine remembers is told when the stream stands again."""
    watch.look(details())
    for count, now in enumerate((1000.0, 1015.0, 1030.0)):
        watch.inventory.saw_kills("1", count, now)
    watch.hear(event("oom", 1010), event("oom", 1020))
    assert watch.shown()["web"].oom_kills == 2
    watch.hear(event("oom", 1029))
    assert watch.shown()["web"].oom_kills == 3


def test_a_kill_of_which_no_event_tells_hides_no_later_one(watch: Watch) -> None:
    watch.look(details())
    watch.inventory.saw_kills("1", 0, 1000.0)
    watch.inventory.saw_kills("1", 2, 1015.0)
    watch.hear(event("oom", 1020))
    assert watch.shown()["web"].oom_kills == 3
    watch.inventory.saw_kills("1", 4, 1030.0)
    watch.hear(event("oom", 1029), event("oom", 1030.5))
    assert watch.shown()["web"].oom_kills == 5


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
