"""Of too many tables the largest are published, and those that grow; who is published is so for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.serve.selection import Selection, select

HOUR = 3600.0
MEGABYTE = 1_000_000
LIMIT = 20
PLACES = 2
"""For growers, of that limit."""
NOTHING = Selection()


def tables(*megabytes: float) -> dict[int, int]:
    """Make tables with the OIDs 1, 2, 3…"""
    return {oid: int(each * MEGABYTE) for oid, each in enumerate(megabytes, 1)}


FORTY = tables(*range(1040, 1000, -1))
"""Forty that are nearly alike, the largest first: 19 and 20 have no other claim than their size."""


def changed(former: Mapping[int, int], sizes: Mapping[int, float]) -> dict[int, int]:
    """Give new sizes to some, in megabytes."""
    return {**former, **{oid: int(each * MEGABYTE) for oid, each in sizes.items()}}


def grown(former: Mapping[int, int], *oids: int, by: float = 100) -> dict[int, int]:
    """Let tables grow by so many megabytes."""
    return changed(former, {oid: former[oid] / MEGABYTE + by for oid in oids})


def course(
    passes: Iterable[tuple[float, Mapping[int, int]]], limit: int = LIMIT, former: Selection = NOTHING
) -> Selection:
    """Go through passes, each at a time in hours."""
    for hours, those in passes:
        former = select(former, those, limit, hours * HOUR)
    return former


def oids(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


# --- by size ------------------------------------------------------------------------------------------------


def test_without_a_limit_everything_is_published_and_nothing_remembered() -> None:
    assert select(NOTHING, FORTY, 0, 0.0) == Selection(frozenset(FORTY))


def test_as_many_as_the_limit_are_all_published() -> None:
    assert course([(0, FORTY)], limit=40).published == FORTY.keys()


def test_of_too_many_the_largest_are_published() -> None:
    assert course([(0, FORTY)]).published == oids(1, LIMIT)


def test_a_limit_of_one_is_obeyed() -> None:
    assert course([(0, FORTY)], limit=1).published == {1}


def test_of_none_none_is_published() -> None:
    assert course([(0, {})]).published == set()


def test_empty_tables_do_not_take_turns() -> None:
    first = tables(*[0] * 40)
    second = dict(reversed(first.items()))
    second[50] = 0

    assert course([(0, first), (1, second)]).published == course([(0, first)]).published


def test_a_newcomer_that_is_a_little_larger_does_not_oust_a_table() -> None:
    second = changed(FORTY, {41: 1100})

    assert course([(0, FORTY), (1, second)]).published == oids(1, LIMIT)


def test_a_newcomer_that_is_much_larger_ousts_the_smallest() -> None:
    second = changed(FORTY, {41: 1200})

    assert course([(0, FORTY), (1, second)]).published == oids(1, LIMIT - 1) | {41}


def test_a_dropped_table_makes_room_for_the_next() -> None:
    second = {oid: table for oid, table in FORTY.items() if oid != 3}

    assert course([(0, FORTY), (1, second)]).published == oids(1, LIMIT + 1) - {3}


def test_a_table_that_shrank_makes_room_for_the_next() -> None:
    second = changed(FORTY, {3: 1})

    assert course([(0, FORTY), (1, second)]).published == oids(1, LIMIT + 1) - {3}


def test_two_tables_that_overtake_each_other_do_not_take_turns() -> None:
    now, limit = FORTY, 9  # too small for places by growth
    former = course([(0, now)], limit)
    for turn in range(100):
        now = changed(now, {limit + turn % 2: 1000, limit + 1 - turn % 2: 1045})
        former = course([(turn, now)], limit, former)
        assert former.published == oids(1, limit)


def test_what_is_left_out_is_never_published() -> None:
    left_out = frozenset({1, 2, 41})

    assert select(NOTHING, FORTY, LIMIT, 0.0, left_out).published == oids(3, LIMIT + 2)
    assert select(NOTHING, FORTY, 0, 0.0, left_out).published == oids(3, 40)
    assert select(NOTHING, FORTY, 100, 0.0, left_out).published == oids(3, 40)


def test_what_is_left_out_from_now_on_vanishes_although_no_table_changed() -> None:
    former = course([(0, FORTY)])

    assert select(former, FORTY, LIMIT, 0.0, frozenset({1})).published == oids(2, LIMIT + 1)


def test_another_limit_counts_at_once() -> None:
    former = course([(0, FORTY)])

    assert course([(1, FORTY)], limit=10, former=former).published == oids(1, 10)
    assert course([(1, FORTY)], limit=30, former=former).published == oids(1, 30)
    assert course([(1, FORTY)], limit=0, former=former).published == oids(1, 40)


# --- by growth ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [10, LIMIT, 39])
def test_a_tenth_of_the_places_is_for_the_fastest_growers(limit: int) -> None:
    small = tables(*range(1040, 1000, -1), *[1] * 40)
    second = changed(small, {oid: oid / 10 for oid in range(41, 81)})

    published = course([(0, small), (1, second)], limit=limit).published

    places = limit // 10
    assert published == oids(1, limit - places) | oids(81 - places, 80)


def test_a_few_places_are_all_for_the_largest() -> None:
    assert course([(0, FORTY), (1, grown(FORTY, 40, by=20))], limit=9).published == oids(1, 9)


def test_a_table_that_is_new_did_not_grow() -> None:
    second = changed(FORTY, {41: 900})
    assert course([(0, FORTY), (1, second)]).published == oids(1, LIMIT)

    third = changed(second, {41: 910})
    assert 41 in course([(0, FORTY), (1, second), (2, third)]).published


def test_a_place_is_kept_for_thirty_hours_after_the_growth() -> None:
    now = grown(FORTY, 39, 40, by=5)
    former = course([(0, FORTY), (1, now)])
    for hours in range(2, 30):
        now = grown(now, 30 + hours % 3, by=0.3)  # others grow as well, in all about as much
        former = course([(hours, now)], former=former)
        assert former.published == oids(1, LIMIT - PLACES) | {39, 40}

    now = grown(now, 30, by=3)
    assert 30 in course([(32, now)], former=former).published


def test_a_place_that_nobody_else_wants_falls_to_the_largest_again() -> None:
    small = changed(FORTY, {40: 1})
    now = grown(small, 40, by=5)
    former = course([(0, small), (1, now)])
    assert former.published == oids(1, LIMIT - 1) | {40}

    now = changed(now, {1: 1039})
    assert course([(200, now)], former=former).published == oids(1, LIMIT)


def test_a_place_that_is_held_goes_to_who_is_much_faster() -> None:
    second = grown(FORTY, 39, 40, by=5)
    former = course([(0, FORTY), (1, second)])

    assert course([(2, grown(second, 38, by=9))], former=former).published == former.published
    assert 38 in course([(2, grown(second, 38, by=11))], former=former).published


def test_what_grew_and_shrank_again_did_not_grow() -> None:
    emptied = changed(FORTY, {40: 0})
    refilled = changed(emptied, {40: 1001})

    assert course([(0, FORTY), (1, emptied), (1, refilled)]).published == oids(1, LIMIT)


def test_growth_by_single_pages_adds_up() -> None:
    now = FORTY
    former = course([(0, now)])
    for minute in range(1, 100):
        now = grown(now, 40, by=0.008192)
        former = course([(minute / 60, now)], former=former)

    assert former.growth[40] == pytest.approx(99 * 8192, rel=0.15)


def test_growth_of_long_ago_is_forgotten() -> None:
    second = grown(FORTY, 40)
    third = changed(second, {1: 1041})

    assert course([(0, FORTY), (1, second), (7, third)]).growth[40] == pytest.approx(50 * MEGABYTE)
    assert course([(0, FORTY), (1, second), (200, third)]).growth.keys() == {1}


def test_growth_of_a_dropped_table_is_forgotten() -> None:
    second = grown(FORTY, 40)
    third = {oid: table for oid, table in second.items() if oid != 40}

    assert not course([(0, FORTY), (1, second), (2, third)]).growth


def test_growth_is_known_when_tables_become_too_many() -> None:
    few = tables(*range(1020, 1000, -1))
    second = grown(few, 20, by=0.5)
    third = changed(second, dict.fromkeys(range(21, 41), 1010))

    assert 20 in course([(0, few), (1, second), (2, third)]).published


def test_a_clock_that_goes_back_does_no_harm() -> None:
    second = grown(FORTY, 40)
    third = grown(second, 39)

    assert course([(100, FORTY), (101, second), (1, third)]).growth[40] == 100 * MEGABYTE


# --- in general ---------------------------------------------------------------------------------------------


def test_where_nothing_changed_nothing_is_selected_anew() -> None:
    former = course([(0, FORTY), (1, grown(FORTY, 40))])
    same = dict(former.sizes)

    following = select(former, same, LIMIT, 2 * HOUR)

    assert following.published is former.published
    assert following.sizes is same, "the former mapping need not be kept"


def test_very_many_of_which_many_are_equal() -> None:
    many = {oid: oid % 7 * MEGABYTE for oid in range(1, 70001)}

    published = select(NOTHING, many, 15000, 0.0).published

    assert len(published) == 15000
    assert {oid for oid in many if oid % 7 == 6} <= published
    assert {oid % 7 for oid in published} == {5, 6}


SIZES = st.one_of(st.integers(0, 3), st.integers(0, 2**50)).map(lambda pages: pages * 8192)
PASSES = st.lists(
    st.tuples(st.floats(0, 40), st.dictionaries(st.integers(1, 60), st.none() | SIZES, max_size=60)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(PASSES, st.integers(1, 45), st.frozensets(st.integers(1, 60), max_size=10))
def test_whatever_happens_the_places_are_used_and_no_more(
    passes: list[tuple[float, dict[int, int | None]]], limit: int, left_out: frozenset[int]
) -> None:
    now: dict[int, int] = {}
    hours, former = 0.0, NOTHING
    for later, changes in passes:
        now = {oid: table for oid, table in {**now, **changes}.items() if table}
        hours += later
        before, former = former, select(former, now, limit, hours * HOUR, left_out)

        candidates = now.keys() - left_out
        assert former.published <= candidates
        assert len(former.published) == min(limit, len(candidates))
        assert select(former, now, limit, hours * HOUR, left_out) == former, "a second look changes nothing"
        for oid in before.published & candidates - former.published:
            larger = sum(now[other] >= now[oid] for other in former.published)
            assert larger >= limit - limit // 10, "it had to give way to the large ones"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=3000), st.integers(1, 3100))
def test_the_first_selection_has_the_largest(sizes: list[int], limit: int) -> None:
    those = dict(enumerate(sizes))

    published = select(NOTHING, those, limit, 0.0).published

    assert sorted(those[oid] for oid in published) == sorted(sizes)[-limit:]
