"""The life of one container, as looks and events have told it: whether it ought to run, and what was counted.

The list and inspections say how things are; events say what those cannot: that a stop was ordered, that
the kernel killed for want of memory, and what happened between two looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from plimsoll.serve.sources.answers import LIVING, Details, Event

REMOVED = "removed"
"""The state of a container that the engine does not have any more."""

UP = LIVING | {"restarting"}
"""States of a container that runs, or that the engine is about to start again."""

_ENDED_BY_ORDER = frozenset({128 + 2, 128 + 9, 128 + 15})
"""Exit codes of SIGINT, SIGKILL and SIGTERM, with which a stop that was ordered ends programs."""

_LATE = 1.0
"""Seconds after a kill by which its event has been written."""


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
    unheard: int = 0
    """How many were seen by another witness and not yet told by an event."""
    seen_at: float = 0.0
    """When those were last seen."""
    heard: bool = False
    """Whether an event told of a kill since the last look."""

    def hear(self, at: float) -> None:
        """Take an event, unless another witness was faster."""
        if self.unheard and at <= self.seen_at + _LATE:
            self.unheard -= 1
        else:  # later than those, which then are told by none any more
            self.run += 1
            self.unheard = 0
        self.heard = True

    def count(self, count: int, now: float, *, is_base: bool) -> None:
        """Take the cgroup's count."""
        if is_base:
            self.base = max(count - self.run, 0)
        self._see(count - self.base, now)

    def see_end(self, ended_at: float) -> None:
        """Take that the state tells of a kill, in a run that ended then."""
        if not self.heard:
            self._see(1, ended_at)

    def begin_run(self) -> None:
        """Know that the container was started again."""
        self.before, self.run, self.base = self.total, 0, 0

    def look(self) -> None:
        """Begin to notice anew whether events tell of kills."""
        self.heard = False

    def _see(self, count: int, at: float) -> None:
        if count > self.run:
            self.unheard += count - self.run
            self.run, self.seen_at = count, at

    @property
    def total(self) -> int:
        """All of them."""
        return self.before + self.run


@dataclass(slots=True)
class Witness:
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
        """Take an event."""
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
class Life:
    """One container from when we first saw it."""

    details: Details
    witness: Witness
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
            self.witness.kills.see_end(details.finished_at or 0)
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
