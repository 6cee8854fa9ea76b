"""What all witnesses say at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from plimsoll.relay.alert import Alert
from plimsoll.relay.lives.runs import Run


class Firing(NamedTuple):
    """An alert fired at a moment: Alertmanager lists it then, or tells the relay."""

    alert: Alert
    at: datetime


class Notice(NamedTuple):
    """Alertmanager told the relay that an alert has resolved, and when."""

    alert: Alert
    ended_at: datetime


class Judge(NamedTuple):
    """Prometheus: since when it runs, and the identities of what fires and what is pending now."""

    started_at: datetime
    firing: frozenset[str]
    pending: frozenset[str]


@dataclass(frozen=True)
class Look:
    """What is known at one moment, and since the last one.

    Args:
        at: the moment.
        listed: what the Alertmanagers list now, all together.
        alertmanager_started_at: since when that one runs that has run longest of those which answered; None
            when none did.
        judge: what Prometheus says now; None when it does not answer.
        firing: alerts that were passed on as firing since the last look.
        notices: resolved notices that were passed on since the last look.
        runs: when alerts fired since the last look and some time before, by Prometheus' series.
    """

    at: datetime
    listed: Sequence[Alert] = ()
    alertmanager_started_at: datetime | None = None
    judge: Judge | None = None
    firing: Sequence[Firing] = ()
    notices: Sequence[Notice] = ()
    runs: Sequence[Run] = ()
