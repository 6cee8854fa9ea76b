"""What one run of `plimsoll ack` is about: what is wanted, what is there, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from plimsoll.alerts.mistakes import hint
from plimsoll.relay.ack.listing import called, few, printable, rows
from plimsoll.relay.ack.peers import Peers
from plimsoll.relay.ack.selection import Selection
from plimsoll.relay.ack.targets import Targets
from plimsoll.relay.alert import Alert
from plimsoll.relay.sources.alertmanager import merged


class Request(NamedTuple):
    """What is wanted: to acknowledge, to undo that, or a list; of the alerts selected, or of all.

    Of an acknowledgement, `seconds` is how long it lasts, `by` who makes it, and `comment` what they say;
    None is the usual one, or leaves it as it is.
    """

    action: Literal["acknowledge", "undo", "list"]
    selection: Selection | None = None
    seconds: float | None = None
    by: str | None = None
    comment: str | None = None
    format: Literal["text", "json"] = "text"
    config_file: Path | None = None

    @property
    def changes(self) -> bool:
        """Whether there is something to be changed of acknowledgements that are there already."""
        return (self.seconds, self.by, self.comment) != (None, None, None)


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
        self.usual_limit = self.settings.limit if self.settings else 0.0
        """Seconds until an acknowledgement ends that does not say when; 0 where nobody prolongs it."""
        self.all = rows([view.alerts for view in peers.views], self.silences, self.usual_limit)
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
        alerts = [row.alert for row in self.all]
        self.outcome.fail(f"no active alert fits {selection}{_there(selection, alerts)}")


def _there(selection: Selection | None, alerts: Sequence[Alert]) -> str:
    """Tell of active alerts: those of the name that is meant, else the names of all."""
    names = sorted({alert.name for alert in alerts if alert.name})
    if selection is None or selection.name is None:
        return _active(names)
    if alike := sorted({called(alert) for alert in alerts if selection.names(alert)}):
        return _active(alike)
    return f"{hint(selection.name, names)}{_active(names)}"


def _active(names: list[str]) -> str:
    return f": active are {few(names)}" if names else ": no alert is active"
