"""Which tables a pass measures, and what it makes of the sizes."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.serve.passes import combine, due
from plimsoll.serve.sources.catalogue import Listed, Look, Signs
from plimsoll.serve.sources.catalogue import look as look_at
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Connection, Reason
from plimsoll.serve.state.tables import LABELS, Cause, Sizes, TablePass, measured_at, total

BEFORE, NOW = 1000.0, 2000.0
HOUR = 3600.0


def listed(
    oid: int,
    name: str | None = None,
    *,
    live: int = 10,
    dead: int = 1,
    storage: int = 5,
    activity: int = 7,
    is_partitioned: bool = False,
) -> Listed:
    return (oid, "public", name or f"t{oid}", live, dead, storage, activity, is_partitioned)


def look(
    *tables: Listed,
    epoch: str = "",
    storage: Mapping[int, int] | None = None,
    held: Sequence[int] = (),
) -> Look:
    return Look(
        Signs(epoch, None, None), storage or {}, {}, frozenset(held), {each[0]: each for each in tables}
    )


def measured(oid: int, heap: int = 100, toast: int = 20, indexes: int = 3) -> Row:
    return (oid, False, heap, toast, indexes)


def former(
    *tables: int, began_at: float = BEFORE, owed: Sequence[int] = (), seen: Look | None = None
) -> TablePass:
    sizes: dict[int, Sizes] = dict.fromkeys(tables, (7, 5, 3, BEFORE))
    oldest = BEFORE if tables else began_at
    labels = {oid: LABELS("public", f"t{oid}") for oid in tables}
    seen = seen or look(*map(listed, tables))
    return TablePass(sizes, oldest, labels, Counter(), Counter(), len(sizes), began_at, frozenset(owed), seen)


def passed(
    last: TablePass | None,
    tables: Iterable[Listed],
    sizes: Sequence[Row],
    refused: Mapping[int, Reason] | None = None,
    causes: Mapping[int, Cause] | None = None,
) -> TablePass:
    """End a pass in which every table was due, if nothing else is said."""
    everything: dict[int, Cause] = {each[0]: "changed" for each in tables}
    return combine(look(*tables), last, everything if causes is None else causes, sizes, refused or {}, NOW)


def wanted(
    seen: Look, last: TablePass | None, now: float = BEFORE, full_interval: float = HOUR
) -> dict[int, Cause]:
    return due(seen, last, now, full_interval)


def test_the_first_pass_measures_everything() -> None:
    assert wanted(look(listed(1), listed(2)), None) == {1: "changed", 2: "changed"}


def test_what_stayed_as_it_was_is_not_measured() -> None:
    assert wanted(look(listed(1), listed(2)), former(1, 2)) == {}


def test_tuples_alone_are_no_change() -> None:
    """ANALYZE estimates them anew."""
    assert wanted(look(listed(1, live=11, dead=0)), former(1)) == {}


@pytest.mark.parametrize(
    "table",
    [listed(1, activity=8), listed(1, activity=0), listed(1, storage=6)],
    ids=["written to", "statistics of this table reset", "another file"],
)
def test_a_change_is_measured(table: Listed) -> None:
    assert wanted(look(table, listed(2)), former(1, 2)) == {1: "changed"}


@pytest.mark.parametrize("present", [{2: 20}, {1: 11, 2: 20}], ids=["dropped", "rebuilt"])
def test_a_table_with_other_indexes_is_measured(present: Mapping[int, int]) -> None:
    last = former(1, 2, seen=look(listed(1), listed(2), storage={1: 10, 2: 20}))

    assert wanted(look(listed(1), listed(2), storage=present), last) == {1: "changed"}


def test_a_first_index_is_measured() -> None:
    last = former(1, 2, seen=look(listed(1), listed(2), storage={2: 20}))

    assert wanted(look(listed(1), listed(2), storage={1: 10, 2: 20}), last) == {1: "changed"}


def test_what_may_be_written_to_is_measured_and_once_afterwards() -> None:
    during = look(listed(1), listed(2), held=[1, 999])
    causes = wanted(during, former(1, 2))
    assert causes == {1: "held"}
    last = passed(former(1, 2), during.tables.values(), [measured(1)], causes=causes)

    after = wanted(look(listed(1), listed(2)), last, NOW)
    assert after == {1: "changed"}
    last = passed(last, during.tables.values(), [measured(1)], causes=after)

    assert wanted(look(listed(1), listed(2)), last, NOW) == {}


def test_what_may_be_written_to_when_first_seen_is_measured_once_afterwards_too() -> None:
    during = look(listed(1), listed(2), held=[1])
    causes = wanted(during, None)
    last = passed(None, during.tables.values(), [measured(1), measured(2)], causes=causes)

    assert wanted(look(listed(1), listed(2)), last, NOW) == {1: "changed"}


def test_after_a_crash_or_a_reset_everything_is_measured() -> None:
    assert wanted(look(listed(1), listed(2), epoch="another"), former(1, 2)).keys() == {1, 2}


def test_what_was_refused_is_tried_again() -> None:
    last = passed(former(1, 2), [listed(1), listed(2)], [measured(1)], {2: "locked"})

    assert wanted(look(listed(1), listed(2)), last, NOW) == {2: "changed"}


def test_a_partitioned_table_has_nothing_to_measure() -> None:
    seen = look(listed(1, is_partitioned=True), held=[1])

    assert wanted(seen, None) == {}
    assert wanted(seen, former()) == {}
    assert passed(None, seen.tables.values(), [], causes={}).sizes == {}


def test_the_longest_unmeasured_come_first() -> None:
    last = passed(former(1, 2, 3), list(map(listed, (1, 2, 3))), [measured(1)], causes={1: "changed"})
    last = passed(last, list(map(listed, (1, 2, 3))), [measured(3)], causes={3: "changed"})

    assert list(wanted(look(*map(listed, (1, 2, 3, 4)), epoch="another"), last)) == [4, 2, 1, 3]


@settings(deadline=None)
@given(
    tables=st.integers(1, 60),
    interval=st.floats(1, 4 * HOUR),
    full_interval=st.floats(1, 2 * HOUR),
)
def test_each_table_has_its_turn_within_the_full_interval(
    tables: int, interval: float, full_interval: float
) -> None:
    oids = range(1, tables + 1)
    rows = [listed(oid) for oid in oids]
    last = replace(former(*oids, began_at=0.0), sizes=dict.fromkeys(oids, (7, 5, 3, 0.0)))
    passes, now = 0, 0.0
    while now < 3 * full_interval and passes < 400:
        now += interval
        passes += 1
        causes = due(look(*rows), last, now, full_interval)
        assert len(causes) <= tables * interval / full_interval + 1
        last = combine(look(*rows), last, causes, [measured(oid) for oid in causes], {}, now)
        assert min(map(measured_at, last.sizes.values())) >= now - full_interval - interval


def test_when_the_clock_was_set_back_nothing_has_its_turn() -> None:
    assert wanted(look(listed(1), listed(2, activity=8)), former(1, 2), now=BEFORE - 60) == {2: "changed"}


def test_a_measured_table_has_what_was_measured() -> None:
    result = passed(former(1), [listed(1)], [measured(1)], {})

    assert result.sizes == {1: (100, 20, 3, NOW)}
    assert total(result.sizes[1]) == 123
    assert (result.unmeasured, result.listed, result.began_at) == (Counter(), 1, NOW)


def test_an_empty_table_is_measured() -> None:
    result = passed(former(1), [listed(1, live=0, dead=0)], [measured(1, 0, 0, 0)], {})

    assert result.sizes == {1: (0, 0, 0, NOW)}


def test_a_refused_table_repeats_its_sizes_under_its_new_name() -> None:
    renamed = listed(1, "renamed", live=500, dead=50)
    result = passed(former(1), [renamed], [], {1: "locked"})

    assert result.sizes == {1: (7, 5, 3, BEFORE)}
    assert result.labels == {1: LABELS("public", "renamed")}
    assert result.look.tables == {1: renamed}
    assert result.unmeasured == {"locked": 1}
    assert result.listed == len(result.sizes)


def test_a_table_that_stays_refused_grows_no_younger() -> None:
    result = passed(former(1), [listed(1)], [], {1: "timeout"})
    result = passed(result, [listed(1)], [], {1: "timeout"})

    assert measured_at(result.sizes[1]) == BEFORE


def test_a_dropped_table_disappears() -> None:
    # 2 was dropped before the list was read; 3 after it, so its sizes were NULL.
    result = passed(former(1, 2, 3), [listed(1), listed(3)], [measured(1)], {})

    assert result.sizes.keys() == result.labels.keys() == {1}
    assert result.unmeasured == {}
    assert result.listed == len(result.sizes)


def test_a_table_that_was_never_measured_is_absent_and_counted() -> None:
    result = passed(None, [listed(1), listed(2)], [measured(1)], {2: "denied"})

    assert result.sizes.keys() == result.labels.keys() == {1}
    assert result.unmeasured == {"denied": 1}
    assert result.listed == len(result.sizes) + 1


def test_a_new_table_under_an_old_name_inherits_nothing() -> None:
    result = passed(former(1), [listed(2, "t1")], [], {2: "locked"})

    assert result.sizes == {}
    assert result.listed == len(result.sizes) + 1


def test_reasons_are_counted_apart() -> None:
    refused: dict[int, Reason] = {1: "locked", 2: "locked", 3: "denied", 4: "timeout"}

    result = passed(None, [listed(oid) for oid in range(1, 6)], [measured(5)], refused)

    assert result.unmeasured == {"locked": 2, "denied": 1, "timeout": 1}
    assert result.listed == len(result.sizes) + 4


def test_of_a_table_that_is_not_due_everything_stays_the_same_object() -> None:
    last = former(1, 2)

    result = passed(last, [listed(1), listed(2, live=12)], [], causes={})

    assert result.look.tables[2] == listed(2, live=12)
    for oid in (1, 2):
        assert result.sizes[oid] is last.sizes[oid]
        assert result.labels[oid] is last.labels[oid]


def test_what_was_measured_is_counted_by_its_cause() -> None:
    rows = [listed(1), listed(2), listed(3)]

    result = passed(None, rows, [measured(1), measured(2)], causes={1: "changed", 2: "held", 3: "changed"})

    assert result.measured == {"changed": 1, "held": 1}


class Catalogue(Connection):
    """Says what the catalogue would."""

    def __init__(self, tables: Iterable[Listed]) -> None:
        self._answers: list[list[Row]] = [[("", None, None, [])], [], [], list(tables)]

    async def read(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        return self._answers.pop(0)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python looks through every mapping since 3.14")
async def test_the_collector_of_garbage_passes_over_what_is_known_of_tables() -> None:
    seen = await look_at(Catalogue(listed(oid) for oid in range(100)), None)
    last = combine(seen, None, wanted(seen, None), [measured(oid) for oid in range(100)], {}, BEFORE)
    last = combine(seen, last, {1: "changed"}, [measured(1, heap=200)], {}, NOW)

    assert not gc.is_tracked(last.sizes)
    assert not gc.is_tracked(last.labels)
    assert not gc.is_tracked(seen.tables)


def test_how_old_the_oldest_size_is_is_known() -> None:
    tables = [listed(1), listed(2)]

    assert passed(None, tables, [measured(1), measured(2)]).oldest == NOW
    assert passed(former(1, 2), tables, [measured(1)], causes={1: "changed"}).oldest == BEFORE
    assert passed(None, [], []).oldest == NOW
