"""What is known of the tables of one database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from plimsoll.serve.metrics import LabelTemplate
from plimsoll.serve.roots import Root
from plimsoll.serve.selection import Selection
from plimsoll.serve.sources.catalogue import Look, dead_tuples, live_tuples
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason

Cause = Literal["changed", "held", "rotation"]
"""Why a table was measured: it is new or was changed, somebody may be writing to it, or it was its turn."""

LABELS = LabelTemplate({}, ("schemaname", "relname"))
"""Renders what tells a table from the others of its database."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


Sizes = tuple[int, int, int, float]
"""Bytes of a table's heap, TOAST and indexes, and when they were measured; a plain tuple, as `Listed` is."""


def total(sizes: Sizes) -> int:
    """Give what pg_total_relation_size gives."""
    return sizes[0] + sizes[1] + sizes[2]


def of_table(sizes: Sizes) -> int:
    """Give what pg_table_size gives."""
    return sizes[0] + sizes[1]


def of_toast(sizes: Sizes) -> int:
    """Give the bytes of the TOAST relation with its index."""
    return sizes[1]


def of_indexes(sizes: Sizes) -> int:
    """Give what pg_indexes_size gives."""
    return sizes[2]


def measured_at(sizes: Sizes) -> float:
    """Give the time of measuring, in seconds since the epoch."""
    return sizes[3]


@dataclass(frozen=True, slots=True)
class Shown:
    """Which tables have series of their own, and the roots of partitions."""

    tables: Selection = field(default_factory=Selection)
    roots: Mapping[int, Root] = field(default_factory=dict)
    """All of them, by oid."""
    of_roots: Selection = field(default_factory=Selection)
    """Which of them have series."""
    below: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """What is below each root."""
    parents: Mapping[int, int] = field(default_factory=dict)
    """What that was made of."""


@dataclass(frozen=True, slots=True)
class TablePass:
    """The tables of one database as of the last pass over it; `listed` counts the never measured too."""

    sizes: Mapping[int, Sizes]
    """By oid, those that were measured longest ago first."""
    oldest: float
    """When the one of them was measured that was measured longest ago; of no tables, when the pass began."""
    labels: Mapping[int, str]
    """Of the same tables, rendered once: what tells their series from those of others in the database."""
    unmeasured: Counter[Reason]
    measured: Counter[Cause]
    listed: int
    began_at: float
    owed: frozenset[int]
    """Tables to measure in the next pass, whatever their counters say."""
    look: Look
    """What the catalogue was like."""
    shown: Shown = field(default_factory=Shown)
    statistics: Sequence[Row] = ()
    """Of the tables that are shown, the rows of table_statistics.sql; none once a pass has failed."""

    def live_tuples(self, oid: int) -> int:
        """Give the estimated number of live tuples of a table."""
        return live_tuples(self.look.tables[oid])

    def dead_tuples(self, oid: int) -> int:
        """Give the estimated number of dead tuples of a table."""
        return dead_tuples(self.look.tables[oid])
