"""What is known of an engine's containers over time: pure bookkeeping, which asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from plimsoll.serve.lives import REMOVED, UP, Life, Orders, Witness
from plimsoll.serve.sources.answers import LIVING, Details, Event, Listed

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead", "removed")

_FRESH = 30.0
"""Seconds for which events of a container are remembered that was not listed yet."""
_LAST_MOMENTS = 30.0
"""Seconds; Docker's daemon takes 15 to end its containers, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it is published."""

    details: Details
    state: str
    exit_code: int | None
    """None while it runs, or where nobody saw it end."""
    expected_running: bool
    restarts: int
    oom_kills: int
    last_seen: float
    """When the engine last listed it, in seconds since the epoch."""

    @property
    def is_living(self) -> bool:
        """Whether it has processes."""
        return self.state in LIVING


class Inventory:
    """The containers of one engine, those that were removed included."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._lives: dict[str, Life] = {}
        self._witnesses: dict[str, Witness] = {}
        self._changed: set[str] = set()
        self._shown: frozenset[str] = frozenset()
        self._removed: dict[str, tuple[Container, float]] = {}
        self._orders = Orders(are_told=False, are_heard=False)

    def hear(self, event: Event) -> None:
        """Take an event; the container that it tells of is due for an inspection."""
        if event.action == "destroy" and event.id not in self._lives:
            self._witnesses.pop(event.id, None)  # it came and went between two looks
            self._changed.discard(event.id)
            return
        self._witnesses.setdefault(event.id, Witness()).hear(event)
        self._changed.add(event.id)

    def engine_ended(self, moment: float) -> None:
        """Know that the daemon ended then: what it stopped on its way out, nobody wanted stopped."""
        for life in self._lives.values():
            life.forget_order(moment - _LAST_MOMENTS)

    def events_missed(self) -> None:
        """Know that there were events which nobody will tell any more, perhaps of orders to stop."""
        for life in self._lives.values():
            life.ran_while_we_listened = False

    def name_of(self, identity: str) -> str:
        """Give the name that a container had; one that is being removed is listed without."""
        return self._lives[identity].details.name if identity in self._lives else ""

    def due(self, listing: Iterable[Listed], *, all_of_them: bool) -> list[str]:
        """Give the ids that are to be inspected, right after this call.

        A container is due if it is new, if an event told of it, if the list contradicts what is known, or if
        it has a health check of which the list says nothing.
        """
        changed, self._changed = self._changed, set()
        return [
            listed.id
            for listed in listing
            if all_of_them
            or listed.id in changed
            or listed.id not in self._lives
            or _contradicts(listed, self._lives[listed.id].details)
        ]

    def look(
        self,
        listing: Sequence[Listed],
        inspected: Mapping[str, Details],
        *,
        failed: AbstractSet[str] = frozenset(),
        ignored: AbstractSet[str] = frozenset(),
        orders: Orders,
        wanted: Callable[[str], bool],
        now: float,
        keep_removed: float,
    ) -> None:
        """Take what the engine listed, and what it said of those that were inspected.

        Args:
            listing: the containers that are there and watched.
            inspected: details by id.
            failed: ids of which no details could be had; they are not shown, and due again.
            ignored: ids of containers that are there and not watched.
            orders: what can be known of orders to stop.
            wanted: says whether containers of a name are watched.
            now: when the list was made, in seconds since the epoch.
            keep_removed: for how many seconds a removed container stays visible.
        """
        self._orders = orders
        if self._began_at is None:
            self._began_at = now
        self._changed |= failed
        for life in self._lives.values():
            life.is_newborn = False
        for identity, details in inspected.items():
            self._look_at(identity, details, now)
        self._forget(self._lives.keys() & ignored)
        there = {listed.id for listed in listing}
        for identity in self._lives.keys() - there:
            self._remove(self._lives[identity], now)
        self._forget(self._lives.keys() - there)
        for identity in there & self._lives.keys():
            self._lives[identity].seen_at = now
        self._shown = frozenset(there - failed)
        self._tidy({listed.name for listed in listing}, wanted, now, keep_removed)

    def _tidy(self, names: AbstractSet[str], wanted: Callable[[str], bool], now: float, keep: float) -> None:
        """Forget removed containers when somebody else has the name, and events of those never listed."""
        self._removed = {
            name: (container, removed_at)
            for name, (container, removed_at) in self._removed.items()
            if name not in names and wanted(name) and now - removed_at < keep
        }
        self._witnesses = {
            identity: witness
            for identity, witness in self._witnesses.items()
            if identity in self._lives or now - witness.heard_at < _FRESH
        }

    def saw_kills(self, identity: str, count: int, now: float) -> None:
        """Take the count of kills in a container's cgroup as it was at `now`, in seconds since the epoch."""
        if life := self._lives.get(identity):
            is_older = (life.details.started_at or 0) < (self._began_at or 0)
            life.witness.kills.count(count, now, is_base=is_older and not life.is_counted)
            life.is_counted = True

    def living(self) -> list[Details]:
        """Give the containers that have processes."""
        return [
            life.details
            for identity, life in self._lives.items()
            if identity in self._shown and life.details.state in LIVING
        ]

    def containers(self) -> tuple[Container, ...]:
        """Give all that is to be published."""
        lives = (life for identity, life in self._lives.items() if identity in self._shown)
        removed = (container for container, _ in self._removed.values())
        return (*(self._published(life, life.details.state) for life in lives), *removed)

    def _look_at(self, identity: str, details: Details, now: float) -> None:
        life = self._lives.get(identity)
        if life is None:
            life = Life(details, self._witnesses.setdefault(identity, Witness()), now)
            life.is_newborn = (details.created_at or 0) > (self._began_at or 0)
            self._lives[identity] = life
        life.look(details)
        if self._orders.are_heard and details.state in UP:
            life.ran_while_we_listened = True

    def _remove(self, life: Life, now: float) -> None:
        if not life.details.auto_remove:
            self._removed[life.details.name] = self._published(life, REMOVED), now

    def _forget(self, identities: Iterable[str]) -> None:
        for identity in list(identities):
            del self._lives[identity]
            self._witnesses.pop(identity, None)

    def _published(self, life: Life, state: str) -> Container:
        """Give it as it is to be shown.

        An event counter that begins above 0 hides its first events, since increase() sees none: so what a
        newborn container has already been through is shown at the second look.
        """
        return Container(
            life.details,
            state,
            exit_code=life.exit_code(state),
            expected_running=life.is_expected(state, self._orders),
            restarts=0 if life.is_newborn else life.restarts.total,
            oom_kills=0 if life.is_newborn else life.witness.kills.total,
            last_seen=life.seen_at,
        )


def _contradicts(listed: Listed, known: Details) -> bool:
    return (listed.name, listed.state, listed.health) != (known.name, known.state, known.health)
