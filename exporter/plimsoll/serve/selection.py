"""Which tables of a database have series of their own, where there are too many: the largest, and what grows.

A series that comes and goes has gaps, which no rule about growth survives. So who has a place keeps it until
another has clearly earned it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from heapq import nlargest
from itertools import compress
from operator import ne

_MARGIN = 1.1
"""How many times as large, or as fast, a newcomer must be."""
_PLACES_PER_GROWER = 10
_HALF_LIFE = 6 * 3600.0
"""Seconds until growth counts half."""
_HOLD = 30 * 3600.0
"""Seconds for which a grower keeps its place: rules look back a day, and 6 hours more over a gap."""
_MUCH_FASTER = 2.0
"""How many times as fast a newcomer must be to get a place that is held."""
_FORGOTTEN = 1024.0
"""Bytes. Growth that has faded to less is forgotten; a page takes 18 hours for that."""
_PAGE = 8192
_FEW = 1000
"""So many are sorted at once, which takes less than a millisecond."""


@dataclass(frozen=True, slots=True)
class Place:
    """A grower's place: until when it is held (seconds), and for which growth (bytes)."""

    until: float
    growth: float


@dataclass(frozen=True, slots=True)
class Selection:
    """What is published, and what the next selection has to know."""

    published: Set[int] = frozenset()
    sizes: Mapping[int, int] = field(default_factory=dict)
    growth: Mapping[int, float] = field(default_factory=dict)
    """By how many bytes tables grew lately, as of `at`; negative where they shrank."""
    growers: Mapping[int, Place] = field(default_factory=dict)
    left_out: Set[int] = frozenset()
    limit: int = 0
    at: float = 0.0


def select(
    former: Selection,
    sizes: Mapping[int, int],
    limit: int,
    now: float,
    left_out: Set[int] = frozenset(),
) -> Selection:
    """Choose among the tables of a database, which are known by their OIDs.

    A tenth of the places is for those that grew most, in bytes, among the tables that are not large enough.
    While too few grow, the next largest have them. How a table grew before it was first seen is not known.

    Args:
        former: what was selected in the pass before; `Selection()` in the first.
        sizes: in bytes, of all that were measured.
        limit: how many are published at most; 0 for all.
        now: seconds, since whenever.
        left_out: those that are not published, however large.
    """
    if not limit:
        everything = frozenset(oid for oid in sizes if oid not in left_out)
        return Selection(former.published if everything == former.published else everything)
    if sizes == former.sizes and (limit, left_out) == (former.limit, former.left_out):
        return replace(former, sizes=sizes)
    growth = _growth(former, sizes, now)
    ranks = _ranks(sizes, left_out, former.published)
    published: Set[int] = ranks.keys()
    growers: Mapping[int, Place] = {}
    if len(ranks) > limit:
        top = _highest(ranks, limit)
        large = _highest({oid: ranks[oid] for oid in top}, limit - limit // _PLACES_PER_GROWER)
        growers = _growers(former.growers, growth, ranks.keys() - large, limit - len(large), now)
        rest = {oid: ranks[oid] for oid in top - large - growers.keys()}
        published = large | growers.keys() | _highest(rest, limit - len(large) - len(growers))
    return Selection(frozenset(published), sizes, growth, growers, left_out, limit, now)


def _growth(former: Selection, sizes: Mapping[int, int], now: float) -> dict[int, float]:
    remains = 0.5 ** (max(now - former.at, 0.0) / _HALF_LIFE)
    growth = {
        oid: grown * remains
        for oid, grown in former.growth.items()
        if abs(grown) * remains >= _FORGOTTEN and oid in sizes
    }
    changed = map(ne, sizes.values(), map(former.sizes.get, sizes))
    for oid in compress(sizes, changed):  # few among very many: no line of Python for each of those
        if oid in former.sizes:
            growth[oid] = growth.get(oid, 0.0) + sizes[oid] - former.sizes[oid]
    return growth


def _ranks(sizes: Mapping[int, int], left_out: Set[int], published: Set[int]) -> dict[int, float]:
    """Give the sizes, with an advantage for what is published; it must be one for the empty, too."""
    return {
        oid: (size + _PAGE) * (_MARGIN if oid in published else 1.0)
        for oid, size in sizes.items()
        if oid not in left_out
    }


def _growers(
    former: Mapping[int, Place], growth: Mapping[int, float], candidates: Set[int], places: int, now: float
) -> dict[int, Place]:
    known = candidates & (growth.keys() | former.keys())
    ranks = {oid: _speed(former.get(oid), growth.get(oid, 0.0), now) for oid in known}
    chosen = _highest({oid: rank for oid, rank in ranks.items() if rank > 0}, places)
    return {oid: _place(former.get(oid), growth.get(oid, 0.0), now) for oid in chosen}


def _speed(place: Place | None, grown: float, now: float) -> float:
    """Give the growth in bytes, with an advantage for who has a place, and a great one while that is held."""
    if place is None:
        return grown
    return _MUCH_FASTER * max(place.growth, grown) if now < place.until else _MARGIN * grown


def _place(place: Place | None, grown: float, now: float) -> Place:
    """Hold a place from the time on at which the growth was greatest."""
    if place and now < place.until and grown <= place.growth:
        return place
    return Place(now + _HOLD, grown)


def _highest(ranks: Mapping[int, float], count: int) -> set[int]:
    """Give those with the highest ranks, so many; of equals, those that come first.

    To sort a hundred thousand would keep all other threads waiting, so they are divided until few are left.
    """
    chosen: set[int] = set()
    left = list(ranks)
    while len(left) > _FEW:
        wanted = count - len(chosen)
        sample = sorted(ranks[oid] for oid in left[:: len(left) // _FEW + 1])
        middle = sample[max(-1 - wanted * len(sample) // len(left), -len(sample))]
        above = [oid for oid in left if ranks[oid] > middle]
        if len(above) >= wanted:
            left = above
            continue
        equal = [oid for oid in left if ranks[oid] == middle]
        chosen.update(above, equal[: wanted - len(above)])
        left = [oid for oid in left if ranks[oid] < middle] if len(chosen) < count else []
    chosen.update(nlargest(count - len(chosen), left, key=ranks.__getitem__))
    return chosen
