"""What is known of an engine's containers over time: pure bookkeeping, which asks nobody.

The list and inspections say how things are; events say what those cannot: that a stop was ordered, that
the kernel killed for want of memory, and what happened between two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from plimsoll.serve.sources.answers import LIVING, Details, Event, Listed

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead", "removed")
REMOVED = "removed"

UP = LIVING | {"restarting"}
"""States of a container that runs, or that the engine is about to start again."""

_LAST_MOMENTS = 30.0
"""Seconds; Docker's daemon takes 15 to end its containers, unless it is told otherwise."""
_ENDED_BY_ORDER = frozenset({128 + 2, 128 + 9, 128 + 15})
"""Exit codes of SIGINT, SIGKILL and SIGTERM, with which a stop that was ordered ends programs."""


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


@dataclass(slots=True)
class Tally:
    """A count that never goes back: what stood before a reset is kept."""

    before: int = 0
    now: int = 0

    def see(self, count: int) -> None:
        """Take what the source says now."""
        if count < self.now:
            self.reset()
        self.now = count

    def reset(self) -> None:
        """Know that the source begins at 0 again."""
        self.before, self.now = self.total, 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.before + self.now


class Orders(NamedTuple):
    """What can be known of orders to stop."""

    are_told: bool
    """Whether the engine has an event for each of them."""
    are_heard: bool
    """Whether we listen."""


@dataclass(slots=True)
class Kills:
    """How often the kernel killed in a container for want of memory, from three witnesses that overlap.

    Events are missed while nobody listens, and several kills may be told as one; the count of the cgroup
    begins at 0 with each run of the container; its state tells of one kill in a run at most. Times are in
    seconds since the epoch.
    """

    before: int = 0
    run: int = 0
    base: int = 0
    """What the cgroup had counted when we first looked at a container that had run before our time."""
    counted_until: float = 0.0
    heard: bool = False
    """Whether an event told of a kill since the last look."""

    def hear(self, at: float) -> None:
        """Take an event, unless the cgroup's count had it already."""
        if at > self.counted_until:
            self.run += 1
            self.heard = True

    def count(self, count: int, now: float, *, is_base: bool) -> None:
        """Take the cgroup's count."""
        if is_base:
            self.base = max(count - self.run, 0)
        self.run = max(self.run, count - self.base)
        self.counted_until = now

    def begin_run(self) -> None:
        """Know that the container was started again."""
        self.before, self.run, self.base = self.total, 0, 0

    def see_end(self, ended_at: float | None) -> None:
        """Take that the state tells of a kill, in a run that ended then."""
        if not self.heard:
            self.run = max(self.run, 1)
            self.counted_until = max(self.counted_until, ended_at or 0)

    def look(self) -> None:
        """Begin to notice anew whether events tell of kills."""
        self.heard = False

    @property
    def total(self) -> int:
        """All of them."""
        return self.before + self.run


@dataclass(slots=True)
class _Witness:
    """What events have told of one container."""

    ended_at: float | None = None
    """When it ended since it was last started, in seconds since the epoch."""
    ordered_at: float | None = None
    """When that end was ordered."""
    exit_code: int | None = None
    kills: Kills = field(default_factory=Kills)
    starts_ahead: int = 0
    """How many starts were heard and not yet seen; below 0, seen and not yet heard."""
    heard_at: float = 0.0

    def hear(self, event: Event) -> None:
        self.heard_at = event.at
        match event.action:
            case "start":
                self._begin()
                if self.starts_ahead >= 0:
                    self.kills.begin_run()
                self.starts_ahead += 1
            case "die":
                self.ended_at, self.exit_code = event.at, event.exit_code
            case "stop":
                self.ended_at = self.ordered_at = event.at
            case "oom":
                self.kills.hear(event.at)

    def see_start(self, started_at: float | None, *, is_new: bool) -> None:
        """Know when it was last started, which nobody may have heard, and whether we know that only now."""
        if is_new and self.starts_ahead <= 0:
            self.kills.begin_run()
            self.starts_ahead = -1
        else:
            self.starts_ahead = min(self.starts_ahead, 0)
        if self.ended_at is not None and started_at is not None and self.ended_at < started_at:
            self._begin()

    def _begin(self) -> None:
        self.ended_at, self.ordered_at, self.exit_code = None, None, None


@dataclass(slots=True)
class _Life:
    """One container from when we first saw it."""

    details: Details
    witness: _Witness
    seen_at: float
    ran_while_we_listened: bool = False
    is_newborn: bool = False
    """Whether this is the first look at a container that is younger than our watch."""
    is_counted: bool = False
    """Whether the cgroup's count of kills was read."""
    restarts: Tally = field(default_factory=Tally)

    def look(self, details: Details) -> None:
        """Take the result of an inspection."""
        former, self.details = self.details, details
        self.witness.see_start(details.started_at, is_new=details.started_at != former.started_at)
        self.restarts.see(details.restart_count)
        has_ended = details.finished_at != former.finished_at or former is details
        if details.oom_killed and has_ended:
            self.witness.kills.see_end(details.finished_at)
        self.witness.kills.look()

    def is_expected(self, state: str, orders: Orders) -> bool:
        """Say whether it ought to run: it did, nobody ordered it to stop, and it is no one-off."""
        if self.details.started_at is None or self.details.auto_remove:
            return False
        if state in UP:
            return True
        return not self._is_done(state) and not self._was_stopped(state, orders)

    def _is_done(self, state: str) -> bool:
        return self.exit_code(state) == 0 and self.details.restart_policy in ("no", "on-failure")

    def _was_stopped(self, state: str, orders: Orders) -> bool:
        """Say whether its end was ordered; where no event could tell, go by how it ended."""
        if self.witness.ordered_at is not None:
            return True
        if orders.are_told and self.witness.ended_at is not None:
            return False
        if orders.are_told and orders.are_heard and self.ran_while_we_listened:
            return False
        if self._would_be_started_again:
            return True
        code = self.exit_code(state)
        return code is None or (code in _ENDED_BY_ORDER and not self.details.oom_killed)

    @property
    def _would_be_started_again(self) -> bool:
        return self.details.restart_policy in ("always", "unless-stopped")

    def forget_order(self, since: float) -> None:
        """Forget an order to stop; one that a new daemon obeys, too, was somebody's."""
        if not self._would_be_started_again and (self.witness.ordered_at or 0) > since:
            self.witness.ordered_at = None

    def exit_code(self, state: str) -> int | None:
        """Give the code with which it ended; None while it runs, or where nobody saw it end."""
        if state in LIVING or self.details.started_at is None:
            return None
        if self.witness.exit_code is not None:
            return self.witness.exit_code
        return self.details.exit_code if self.details.state not in LIVING else None


class Inventory:
    """The containers of one engine, those that were removed included."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._lives: dict[str, _Life] = {}
        self._witnesses: dict[str, _Witness] = {}
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
        self._witnesses.setdefault(event.id, _Witness()).hear(event)
        self._changed.add(event.id)

    def engine_ended(self, moment: float) -> None:
        """Know that Docker's daemon ended then: what it stopped on its way out, nobody wanted stopped."""
        for life in self._lives.values():
            life.forget_order(moment - _LAST_MOMENTS)

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
            if identity in self._lives or now - witness.heard_at < _LAST_MOMENTS
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
            life = _Life(details, self._witnesses.setdefault(identity, _Witness()), now)
            life.is_newborn = (details.created_at or 0) > (self._began_at or 0)
            self._lives[identity] = life
        life.look(details)
        if self._orders.are_heard and details.state in UP:
            life.ran_while_we_listened = True

    def _remove(self, life: _Life, now: float) -> None:
        if not life.details.auto_remove:
            self._removed[life.details.name] = self._published(life, REMOVED), now

    def _forget(self, identities: Iterable[str]) -> None:
        for identity in list(identities):
            del self._lives[identity]
            self._witnesses.pop(identity, None)

    def _published(self, life: _Life, state: str) -> Container:
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
