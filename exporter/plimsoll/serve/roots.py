"""Partitioned tables, and hypertables like Timescale's, as the sum of what they consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Root:
    """A table that has partitions, or children, and is none itself: all of them together."""

    schema: str
    name: str
    size: int
    """Bytes, with its own storage, if it has any."""
    partitions: int
    """Tables below it, at any depth, that have storage."""
    measured_at: float
    """When the oldest of the sizes in it was measured, in seconds since the epoch."""


def descendants(parents: Mapping[int, int]) -> dict[int, list[int]]:
    """Give all that is below each root, at any depth.

    Args:
        parents: the parent of each relation that has one. What is its own ancestor belongs to no root.
    """
    roots: dict[int, int | None] = {}
    below: dict[int, list[int]] = {}
    for child in parents:
        root = _root(child, parents, roots)
        if root is not None:
            below.setdefault(root, []).append(child)
    return below


def _root(child: int, parents: Mapping[int, int], roots: dict[int, int | None]) -> int | None:
    """Go up to the root, and remember it for all that was passed, so that each step is taken once."""
    passed = []
    at = child
    while at in parents and at not in roots:
        roots[at] = None  # until it is known: to come here again is a cycle
        passed.append(at)
        at = parents[at]
    root = roots.get(at, at)
    roots.update(dict.fromkeys(passed, root))
    return root


def roll_up(
    below: Mapping[int, Sequence[int]],
    names: Mapping[int, tuple[str, str]],
    existing: Set[int],
    sizes: Mapping[int, tuple[int, float]],
    former: Set[int] = frozenset(),
) -> dict[int, Root]:
    """Sum up each root.

    A root is there once the sizes of all its partitions are known, lest a sum that becomes complete be taken
    for growth. From then on a partition counts as soon as it is measured: a new one that is locked does not
    take the sum of the others away.

    Args:
        below: what `descendants` gave.
        names: schema and name of the roots.
        existing: all tables that have storage, which foreign ones have not, whether measured or not.
        sizes: bytes of those that were measured, and when that was.
        former: the roots that there were in the pass before.
    """
    roots = {}
    for oid, relations in below.items():
        parts = [each for each in (*relations, oid) if each in existing]
        partitions = len(parts) - (oid in existing)
        known = [sizes[each] for each in parts if each in sizes]
        is_complete = len(known) == len(parts) or oid in former
        if partitions and known and is_complete and (name := names.get(oid)):
            size = sum(size for size, _ in known)
            roots[oid] = Root(*name, size, partitions, min(measured_at for _, measured_at in known))
    return roots
