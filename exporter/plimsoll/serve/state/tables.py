"""What is known of the tables of one database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from plimsoll.serve.metrics import LabelTemplate
from plimsoll.serve.roots import Root
from plimsoll.serve.selection import Selection
from plimsoll.serve.sources.catalogue import Listed, Look, tuples_of
from plimsoll.serve.sources.postgres import Reason

Cause = Literal["changed", "held", "rotation"]
"""Why a table was measured: it is new or was changed, somebody may be writing to it, or it was its turn."""

LABELS = LabelTemplate({}, ("schemaname", "relname"))
"""Renders what tells a table from the others of its database."""
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, partition or materialised view: what the catalogue says, its bytes, and since when.

    While nothing about a table changes, it stays the very same object from pass to pass.
    """

    listed: Listed
    labels: str
    """Rendered once: those of its series that tell it from the other tables of the database."""
    heap: int
    toast: int
    indexes: int
    measured_at: float

    @property
    def live(self) -> int:
        """How many rows there are, by estimation."""
        return tuples_of(self.listed)[0]

    @property
    def dead(self) -> int:
        """How many rows wait to be vacuumed, by estimation."""
        return tuples_of(self.listed)[1]

    @property
    def table_size(self) -> int:
        """What pg_table_size gives: heap, maps and TOAST."""
        return self.heap + self.toast

    @property
    def size(self) -> int:
        """What pg_total_relation_size gives."""
        return self.heap + self.toast + self.indexes


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

    tables: Mapping[int, Table]
    """By oid, the one that was measured longest ago first."""
    unmeasured: Counter[Reason]
    measured: Counter[Cause]
    listed: int
    began_at: float
    owed: frozenset[int]
    """Tables to measure in the next pass, whatever their counters say."""
    look: Look
    """What the catalogue was like."""
    shown: Shown = field(default_factory=Shown)
    statistics: Mapping[int, Sequence[float | None]] = field(default_factory=dict)
    """Of the tables that are shown, the columns of table_statistics.sql; empty once a pass has failed."""
