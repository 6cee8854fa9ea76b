"""One life of an alert: from the moment it began to fire until it resolved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from plimsoll.relay.alert import Alert

Status = Literal["open", "acknowledged", "resolved"]


class Acknowledgement(NamedTuple):
    """Who took an alert, when, and what they said; `limit` is when it ends even if the alert still fires."""

    at: datetime
    by: str
    comment: str
    silence_id: str
    limit: datetime | None


class End(NamedTuple):
    """When an alert resolved, and whether Alertmanager told so: else it was concluded from its absence."""

    at: datetime
    told: bool


@dataclass(frozen=True, slots=True)
class Life:
    """One life: the alert as last told of, with its earliest start, and when anybody last saw it fire."""

    alert: Alert
    last_seen: datetime
    acknowledgement: Acknowledgement | None = None
    ended: End | None = None

    @property
    def status(self) -> Status:
        """Where it is on its way from open over acknowledged to resolved."""
        if self.ended:
            return "resolved"
        return "acknowledged" if self.acknowledgement else "open"
