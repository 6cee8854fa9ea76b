"""Partitioned tables and hypertables are the sum of what is below them, once that is known."""

from __future__ import annotations

from collections.abc import Mapping, Set

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.serve.roots import Root, descendants, roll_up

ROOT, OTHER = 1, 2
NAMES = {ROOT: ("public", "events"), OTHER: ("public", "others")}


def sized(size: int, measured_at: float = 1000.0) -> tuple[int, float]:
    return size, measured_at


def rolled_up(
    parents: Mapping[int, int],
    tables: Mapping[int, tuple[int, float]],
    unmeasured: Set[int] = frozenset(),
    former: Set[int] = frozenset(),
) -> dict[int, Root]:
    return roll_up(descendants(parents), NAMES, tables.keys() | unmeasured, tables, former)


def test_a_root_is_the_sum_of_its_partitions() -> None:
    parents = {11: ROOT, 12: ROOT, 21: OTHER}

    roots = rolled_up(parents, {11: sized(10), 12: sized(5), 21: sized(7), 30: sized(1)})

    assert roots == {
        ROOT: Root("public", "events", 15, 2, 1000.0),
        OTHER: Root("public", "others", 7, 1, 1000.0),
    }


def test_only_the_topmost_is_a_root() -> None:
    parents = {13: 101, 101: 100, 100: ROOT, 11: 100, 12: 100}

    roots = rolled_up(parents, {11: sized(1), 12: sized(2), 13: sized(4)})

    assert roots == {ROOT: Root("public", "events", 7, 3, 1000.0)}


def test_storage_of_a_hypertable_counts_but_it_is_no_partition_of_its_own() -> None:
    roots = rolled_up({11: ROOT, 12: 11}, {ROOT: sized(8), 11: sized(1), 12: sized(2)})

    assert roots == {ROOT: Root("public", "events", 11, 2, 1000.0)}


def test_a_foreign_partition_does_not_count() -> None:
    assert rolled_up({11: ROOT, 12: ROOT}, {11: sized(1)}) == {ROOT: Root("public", "events", 1, 1, 1000.0)}


def test_a_root_without_a_partition_that_has_storage_is_absent() -> None:
    assert rolled_up({11: ROOT}, {ROOT: sized(1)}) == {}


def test_a_root_of_which_nothing_is_measured_is_absent() -> None:
    assert rolled_up({11: ROOT}, {}, unmeasured={11}) == {}
    assert rolled_up({11: ROOT}, {}, unmeasured={11}, former={ROOT}) == {}


def test_a_new_root_waits_for_all_its_parts() -> None:
    parents = {11: ROOT, 12: ROOT}

    assert rolled_up(parents, {11: sized(1)}, unmeasured={12}) == {}
    assert rolled_up(parents, {11: sized(1), 12: sized(2)}, unmeasured={ROOT}) == {}


def test_a_known_root_is_not_taken_away_by_a_new_partition_that_is_not_measured() -> None:
    roots = rolled_up({11: ROOT, 12: ROOT}, {11: sized(1)}, unmeasured={12}, former={ROOT})

    assert roots == {ROOT: Root("public", "events", 1, 2, 1000.0)}


def test_a_root_is_as_old_as_the_oldest_of_its_parts() -> None:
    roots = rolled_up({11: ROOT, 12: ROOT}, {11: sized(1, 30.0), 12: sized(1, 10.0), 13: sized(1, 5.0)})

    assert roots[ROOT].measured_at == 10.0


def test_a_root_that_was_dropped_meanwhile_is_absent() -> None:
    assert rolled_up({11: 99}, {11: sized(1)}) == {}


def test_a_circle_has_no_root_and_neither_has_what_leads_to_it() -> None:
    assert descendants({1: 2, 2: 3, 3: 1, 4: 3, 5: 5, 6: 7}) == {7: [6]}


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 30)))
def test_each_relation_is_below_the_root_that_its_parents_lead_to(parents: dict[int, int]) -> None:
    below = descendants(parents)

    for child in parents:
        ancestor, steps = child, 0
        while ancestor in parents and steps <= len(parents):
            ancestor, steps = parents[ancestor], steps + 1
        roots = [root for root, relations in below.items() if child in relations]
        assert roots == ([] if ancestor in parents else [ancestor])
    assert sum(map(len, below.values())) == len(set().union(*below.values()))


@given(st.integers(1, 30), st.data())
def test_sizes_of_all_roots_and_of_what_stands_alone_are_those_of_all_tables(
    many: int, data: st.DataObject
) -> None:
    parents = {oid: data.draw(st.integers(0, oid - 1)) for oid in data.draw(st.sets(st.integers(1, many)))}
    tables = {oid: sized(2**oid) for oid in range(many + 1)}
    below = descendants(parents)

    roots = roll_up(below, dict.fromkeys(tables, ("public", "t")), tables.keys(), tables)

    alone = tables.keys() - parents.keys() - roots.keys()
    everything = sum(size for size, _ in tables.values())
    assert sum(root.size for root in roots.values()) + sum(tables[oid][0] for oid in alone) == everything
