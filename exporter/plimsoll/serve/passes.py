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
from dataclasses import replace
from itertools import islice

from plimsoll.serve.roots import descendants, roll_up
from plimsoll.serve.selection import select
from plimsoll.serve.settings.postgres import TableSettings
from plimsoll.serve.sources.catalogue import Listed, Look, is_partitioned, name_of, traces_of
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason
from plimsoll.serve.state.tables import LABELS, Cause, Shown, Table, TablePass


def due(look: Look, last: TablePass | None, now: float, full_interval: float) -> dict[int, Cause]:
    """Say which tables to measure, and why; those measured longest ago first, the new ones before them."""
    stored = {oid for oid, listed in look.tables.items() if not is_partitioned(listed)}
    known = last.tables if last else {}
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
    tables = last.tables
    different = {
        oid
        for oid, listed in look.tables.items()
        if (known := tables.get(oid)) is None
        or (known.listed is not listed and traces_of(known.listed) != traces_of(listed))
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
    former = last.tables if last else {}
    tables = {
        oid: known if known.listed is (listed := look.tables[oid]) else _carried(known, listed)
        for oid, known in former.items()
        if oid in look.tables and (oid not in causes or oid in refused)
    }
    measured = {oid: (heap, toast, indexes) for oid, _, heap, toast, indexes in sizes}
    for oid, bytes_ in measured.items():
        listed = look.tables[oid]
        tables[oid] = Table(listed, _labels(former.get(oid), listed), *bytes_, now)
    never_measured = sum(oid not in tables for oid in refused)
    return TablePass(
        tables,
        Counter(refused.values()),
        Counter(causes[oid] for oid in measured),
        len(tables) + never_measured,
        now,
        frozenset(refused) | {oid for oid, cause in causes.items() if cause == "held"},
        look,
    )


def _carried(table: Table, listed: Listed) -> Table:
    """Give a table with its last sizes."""
    return replace(table, listed=listed, labels=_labels(table, listed))


def _labels(known: Table | None, listed: Listed) -> str:
    if known and name_of(known.listed) == name_of(listed):
        return known.labels
    return LABELS(*name_of(listed))


def show(
    look: Look, tables: Mapping[int, Table], former: Shown, settings: TableSettings, now: float
) -> Shown:
    """Choose what has series, and sum up partitions."""
    parents = look.parents
    below = former.below if parents is former.parents else descendants(parents)
    related = {oid: look.tables[oid] for oid in (*below, *parents) if oid in look.tables}
    roots = roll_up(
        below,
        {oid: name_of(listed) for oid, listed in related.items()},
        {oid for oid, listed in related.items() if not is_partitioned(listed)},
        tables,
        former.roots.keys(),
    )
    left_out = parents.keys() if settings.partitions == "roots_only" else frozenset()
    return Shown(
        select(former.tables, tables, settings.limit, now, left_out),
        roots,
        select(former.of_roots, roots, settings.limit, now),
        below,
        parents,
    )
