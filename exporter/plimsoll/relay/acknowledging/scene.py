"""What one run of `plimsoll ack` is about: what is wanted, what is there, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from plimsoll.alerts.mistakes import hint
from plimsoll.relay.acknowledging.listing import printable, rows
from plimsoll.relay.acknowledging.peers import Peers
from plimsoll.relay.acknowledging.selection import Selection
from plimsoll.relay.acknowledging.silences import merged
from plimsoll.relay.acknowledging.targets import Targets
from plimsoll.relay.alert import Alert

DEFAULT_COMMENT = "taken with plimsoll ack"


class Request(NamedTuple):
    """What is wanted: to acknowledge, to undo that, or a list; of the alerts selected, or of all."""

    action: Literal["acknowledge", "undo", "list"]
    selection: Selection | None = None
    seconds: float | None = None
    """The limit of an acknowledgement; None is the usual one."""
    by: str = ""
    comment: str = DEFAULT_COMMENT
    format: Literal["text", "json"] = "text"
    config_file: Path | None = None


@dataclass
class Outcome:
    """What is said of a run, what went wrong, and whether what was wanted is done."""

    said: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    good: bool = True

    def say(self, *lines: str) -> None:
        """Tell something."""
        self.said += lines

    def fail(self, complaint: str) -> None:
        """Tell what kept something wanted from being done."""
        self.complaints.append(printable(complaint))
        self.good = False


class Scene:
    """The alerts and silences as all Alertmanagers listed them at the start."""

    def __init__(self, request: Request, targets: Targets, peers: Peers, outcome: Outcome) -> None:
        self.request = request
        self.settings = targets.acknowledgement
        self.peers = peers
        self.outcome = outcome
        self.now = datetime.now(UTC)
        self.silences = merged(view.silences for view in peers.views)
        limit = self.settings.limit if self.settings else None
        self.all = rows([view.alerts for view in peers.views], self.silences, limit)
        self.selected = [row for row in self.all if self.fits(row.alert)]

    @property
    def selects(self) -> bool:
        """Whether certain alerts are meant, which are then told of one by one, and not all."""
        return self.request.selection is not None

    def fits(self, alert: Alert) -> bool:
        """Say whether an alert is meant."""
        return self.request.selection is None or self.request.selection.fits(alert)

    def nothing_fits(self) -> None:
        """Say so, and what there is."""
        selection = self.request.selection
        names = sorted({row.alert.name for row in self.all})
        meant = hint(selection.name or "", names) if selection else ""
        there = f"active are {', '.join(names)}" if names else "no alert is active"
        self.outcome.fail(f"no active alert fits {selection}{meant}: {there}")
