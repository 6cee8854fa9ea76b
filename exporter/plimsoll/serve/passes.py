"""A pass over the tables of a database: which of them to measure, what comes of it, and what is shown. Pure.

Cost follows change. A table is measured if its counters or its files are not as they were when it was last
measured; while somebody may be writing to it, since files grow before a counter moves, and once afterwards.
All others have their turn, the one measured longest ago first, so that each is measured once in
`full_interval`: some changes leave no trace that is cheap to read (a GIN index cleans up its pending list;
on a standby, any).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from plimsoll.serve.roots import descendants, roll_up
from plimsoll.serve.selection import select
from plimsoll.serve.settings.postgres import TableSettings
from plimsoll.serve.sources.catalogue import Look
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason
from plimsoll.serve.state.tables import LABELS, Cause, Shown, Table, TablePass


def due(look: Look, last: TablePass | None, now: float, full_interval: float) -> dict[int, Cause]:
    """Say which tables to measure, and why; those measured longest ago first, the new ones before them."""
    stored = [row for row in look.rows if not row[7]]
    if last is None or last.look.signs.epoch != look.signs.epoch:
        causes: dict[int, Cause] = dict.fromkeys((row[0] for row in stored), "changed")
    else:
        causes = _changed(stored, last, look)
    causes |= dict.fromkeys((row[0] for row in stored if row[0] in look.held), "held")
    if last:
        rest = [row[0] for row in stored if row[0] not in causes]
        turns = _turns(len(stored), now - last.began_at, full_interval)
        causes |= dict.fromkeys(
            heapq.nsmallest(turns, rest, key=lambda oid: last.tables[oid].measured_at), "rotation"
        )
    known = last.tables if last else {}
    return dict(
        sorted(causes.items(), key=lambda each: known[each[0]].measured_at if each[0] in known else 0.0)
    )


def _changed(stored: Iterable[Row], last: TablePass, look: Look) -> dict[int, Cause]:
    rebuilt = _different(last.look.storage, look.storage)
    tables, owed = last.tables, last.owed
    changed: dict[int, Cause] = {}
    for oid, _, _, _, _, storage, activity, _ in stored:
        known = tables.get(oid)
        if (
            known is None
            or known.activity != activity
            or known.storage != storage
            or oid in rebuilt
            or oid in owed
        ):
            changed[oid] = "changed"
    return changed


def _different(former: Mapping[int, int], present: Mapping[int, int]) -> set[int]:
    """Give the tables whose sums are not as before; the same object says at once that all are."""
    if former is present:
        return set()
    return {oid for oid, _ in former.items() ^ present.items()}


def _turns(tables: int, elapsed: float, full_interval: float) -> int:
    """Give how many tables to measure so that, at this pace, each is measured once in `full_interval`."""
    return tables if elapsed >= full_interval else math.ceil(tables * elapsed / full_interval)


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
    measured = {oid: (heap, toast, indexes) for oid, _, heap, toast, indexes in sizes}
    tables: dict[int, Table] = {}
    for oid, schema, name, live, dead, storage, activity, is_partitioned in look.rows:
        known = former.get(oid)
        if oid in measured:
            labels = known.labels if known and _is_called(known, schema, name) else LABELS(schema, name)
            tables[oid] = Table(schema, name, labels, live, dead, *measured[oid], now, storage, activity)
        elif known and not is_partitioned and (oid in refused or oid not in causes):
            tables[oid] = _carried(known, schema, name, live, dead)
    never_measured = sum(oid not in tables for oid in refused)
    return TablePass(
        tables,
        Counter(refused.values()),
        Counter(causes[oid] for oid in measured),
        len(tables) + never_measured,
        now,
        frozenset(refused) | {oid for oid, cause in causes.items() if cause == "held"},
        look._replace(rows=()),
    )


def _is_called(table: Table, schema: str, name: str) -> bool:
    return table.name == name and table.schema == schema


def _carried(table: Table, schema: str, name: str, live: int, dead: int) -> Table:
    """Give a table with its last sizes; the same object if nothing else changed either."""
    if not _is_called(table, schema, name):
        return replace(table, schema=schema, name=name, labels=LABELS(schema, name), live=live, dead=dead)
    if table.live != live or table.dead != dead:
        return replace(table, live=live, dead=dead)
    return table


def show(
    look: Look, tables: Mapping[int, Table], former: Shown, settings: TableSettings, now: float
) -> Shown:
    """Choose what has series, and sum up partitions."""
    parents = look.parents
    below = former.below if parents is former.parents else descendants(parents)
    roots = roll_up(
        below,
        {row[0]: (row[1], row[2]) for row in look.rows if row[0] in below},
        {row[0] for row in look.rows if not row[7]},
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
