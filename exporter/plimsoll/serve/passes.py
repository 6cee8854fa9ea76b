"""A pass over the tables of a database: which of them to measure, what comes of it, and what is shown. Pure.

Cost follows change. A table is measured if its counters or its files are not as they were when it was last
measured; while somebody may be writing to it, since files grow before a counter moves, and once afterwards.
All others have their turn, the one measured longest ago first, so that each is measured once in
`full_interval`: some changes leave no trace that is cheap to read (a GIN index cleans up its pending list;
on a standby, any).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from itertools import islice

from plimsoll.serve.roots import descendants, roll_up
from plimsoll.serve.selection import select
from plimsoll.serve.settings.postgres import TableSettings
from plimsoll.serve.sources.catalogue import Look, is_partitioned, name_of, spare_tuples, traces_of
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason
from plimsoll.serve.state.tables import LABELS, Cause, Shown, Sizes, TablePass, measured_at, total


def due(look: Look, last: TablePass | None, now: float, full_interval: float) -> dict[int, Cause]:
    """Say which tables to measure, and why; those measured longest ago first, the new ones before them."""
    stored = {oid for oid, listed in look.tables.items() if not is_partitioned(listed)}
    known = last.sizes if last else {}
    changed = _changed(look, last) & stored if last else stored
    causes: dict[int, Cause] = dict.fromkeys(changed, "changed")
    causes |= dict.fromkeys(look.held & stored, "held")
    if last:
        rest = (oid for oid in known if oid in stored and oid not in causes)
        turns = _turns(len(stored), now - last.began_at, full_interval)
        causes |= dict.fromkeys(islice(rest, turns), "rotation")
    new = (oid for oid in look.tables if oid not in known)
    return {oid: causes[oid] for oid in (*new, *known) if oid in causes}


def _changed(look: Look, last: TablePass) -> Set[int]:
    """Give the tables that changed, or are new, and also some that have no storage."""
    if last.look.signs.epoch != look.signs.epoch:
        return look.tables.keys()
    former = last.look.tables
    different = {
        oid
        for oid, listed in look.tables.items()
        if oid not in last.sizes
        or (former[oid] is not listed and traces_of(former[oid]) != traces_of(listed))
    }
    return different | _different(last.look.storage, look.storage) | last.owed


def _different(former: Mapping[int, int], present: Mapping[int, int]) -> set[int]:
    """Give the tables whose sums are not as before; the same object says at once that all are."""
    if former is present:
        return set()
    return {oid for oid, _ in former.items() ^ present.items()}


def _turns(tables: int, elapsed: float, full_interval: float) -> int:
    """Give how many tables to measure so that, at this pace, each is measured once in `full_interval`.

    A clock that was set back gives all their turns later, by as much.
    """
    return tables if elapsed >= full_interval else max(0, math.ceil(tables * elapsed / full_interval))


def combine(
    look: Look,
    last: TablePass | None,
    causes: Mapping[int, Cause],
    sizes: Iterable[Row],
    refused: Mapping[int, Reason],
    now: float,
) -> TablePass:
    """Join what the catalogue says with new sizes.

    A table that was refused keeps its former sizes, and so does one that was not due. One that was due but is
    neither measured nor refused was dropped meanwhile.
    """
    known = last.sizes if last else {}
    measured: dict[int, Sizes] = {oid: (heap, toast, indexes, now) for oid, _, heap, toast, indexes in sizes}
    spare_tuples()
    repeated = {
        oid: known[oid] for oid in known if oid in look.tables and (oid not in causes or oid in refused)
    }
    kept = repeated | measured  # in this order: what was measured longest ago comes first
    never_measured = sum(oid not in kept for oid in refused)
    return TablePass(
        kept,
        min(map(measured_at, kept.values()), default=now),
        _labels(look, last, kept),
        Counter(refused.values()),
        Counter(causes[oid] for oid in measured),
        len(kept) + never_measured,
        now,
        frozenset(refused) | {oid for oid, cause in causes.items() if cause == "held"},
        look,
    )


def _labels(look: Look, last: TablePass | None, oids: Iterable[int]) -> dict[int, str]:
    """Render labels, but not those again that a table had under the same name."""
    former = last.look.tables if last else {}
    known = last.labels if last else {}

    def labels_of(oid: int) -> str:
        listed = look.tables[oid]
        if oid in known and (former[oid] is listed or name_of(former[oid]) == name_of(listed)):
            return known[oid]
        return LABELS(*name_of(listed))

    return {oid: labels_of(oid) for oid in oids}


def show(look: Look, sizes: Mapping[int, Sizes], former: Shown, settings: TableSettings, now: float) -> Shown:
    """Choose what has series, and sum up partitions."""
    parents = look.parents
    below = former.below if parents is former.parents else descendants(parents)
    totals = {oid: total(each) for oid, each in sizes.items()}
    related = {oid: look.tables[oid] for oid in (*below, *parents) if oid in look.tables}
    roots = roll_up(
        below,
        {oid: name_of(listed) for oid, listed in related.items()},
        {oid for oid, listed in related.items() if not is_partitioned(listed)},
        {oid: (totals[oid], measured_at(sizes[oid])) for oid in related if oid in sizes},
        former.roots.keys(),
    )
    left_out = parents.keys() if settings.partitions == "roots_only" else frozenset()
    return Shown(
        select(former.tables, totals, settings.limit, now, left_out),
        roots,
        select(former.of_roots, {oid: root.size for oid, root in roots.items()}, settings.limit, now),
        below,
        parents,
    )
