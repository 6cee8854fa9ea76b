"""Active alerts as `plimsoll ack --list` shows them: who has taken which, and until when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from plimsoll.alerts.shape import SEVERITIES
from plimsoll.alerts.units import duration
from plimsoll.relay.acknowledging.silences import is_acknowledgement, limit_of, owner, words
from plimsoll.relay.alert import Alert
from plimsoll.relay.sources.alertmanager import Listed, Silence
from plimsoll.relay.times import rfc3339

State = Literal["open", "acknowledged", "silenced", "inhibited"]
_STATES: tuple[State, ...] = ("open", "acknowledged", "silenced", "inhibited")
_HEADINGS = ("STATE", "SEVERITY", "AGE", "OWNER", "UNTIL", "ALERT", "FINGERPRINT", "LABELS")
_FEW = 10
_SHOWN_ELSEWHERE = ("alertname", "severity")


@dataclass(frozen=True, slots=True)
class Row:
    """An active alert. Of what silences it, the acknowledgements come first, and of these the earliest."""

    alert: Alert
    state: State
    silences: tuple[Silence, ...]
    until: datetime | None
    """When the first silence ends at the latest."""

    @property
    def acknowledgements(self) -> list[Silence]:
        """Those of the silences that acknowledge."""
        return [silence for silence in self.silences if is_acknowledgement(silence)]

    @property
    def owner(self) -> str:
        """Who made the first silence, or nobody."""
        return owner(self.silences[0]) if self.silences else ""

    @property
    def severity(self) -> str:
        """Its severity, or nothing."""
        return self.alert.labels.get("severity", "")

    @property
    def fingerprint(self) -> str:
        """What Alertmanager calls it."""
        return self.alert.fingerprint or self.alert.identity


def rows(listed: Iterable[Sequence[Listed]], silences: Mapping[str, Silence], limit: float) -> list[Row]:
    """Put together what all Alertmanagers list, the gravest first.

    Args:
        listed: the alerts of each.
        silences: those of all, by id.
        limit: seconds until an acknowledgement ends that does not say when; 0 where nobody prolongs it.
    """
    alerts: dict[frozenset[tuple[str, str]], list[Listed]] = {}
    for each in (each for one in listed for each in one):
        alerts.setdefault(frozenset(each.alert.labels.items()), []).append(each)
    return sorted((_row(views, silences, limit) for views in alerts.values()), key=_order)


def _row(views: Sequence[Listed], silences: Mapping[str, Silence], limit: float) -> Row:
    """Make a row of what several tell of one alert."""
    ids = frozenset().union(*(view.silenced_by for view in views))
    active = [silences[each] for each in ids if each in silences and silences[each].state == "active"]
    active.sort(key=lambda silence: (not is_acknowledgement(silence), silence.starts_at, silence.id))
    first = active[0] if active else None
    alert = min((view.alert for view in views), key=lambda alert: alert.starts_at)
    until = limit_of(first, limit if is_acknowledgement(first) else 0.0) if first else None
    return Row(alert, _state(first, any(view.inhibited for view in views)), tuple(active), until)


def _state(first: Silence | None, inhibited: bool) -> State:
    if first is not None:
        return "acknowledged" if is_acknowledgement(first) else "silenced"
    return "inhibited" if inhibited else "open"


def _order(row: Row) -> tuple[int, int, datetime, str]:
    known = row.severity in SEVERITIES
    gravity = SEVERITIES.index(row.severity) if known else len(SEVERITIES)
    return gravity, _STATES.index(row.state), row.alert.starts_at, row.fingerprint


def table(shown: Sequence[Row], now: datetime) -> list[str]:
    """Give the lines of a table, with its headings; what would steer a terminal is escaped."""
    cells = [_HEADINGS, *(_cells(row, now) for row in shown)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cells(row: Row, now: datetime) -> tuple[str, ...]:
    until = moment(row.until) if row.until else ""
    texts = (row.severity, age(row.alert.starts_at, now), row.owner, until, row.alert.name, row.fingerprint)
    labels = {name: value for name, value in row.alert.labels.items() if name not in _SHOWN_ELSEWHERE}
    return (row.state, *(printable(text) or "-" for text in texts), shown_labels(labels))


def as_json(shown: Sequence[Row], now: datetime) -> str:
    """Give the same as JSON; times are RFC 3339, and what is not known is null."""
    return json.dumps([_facts(row, now) for row in shown], indent=2)


def _facts(row: Row, now: datetime) -> dict[str, Any]:
    first = row.silences[0] if row.silences else None
    return {
        "state": row.state,
        "severity": row.severity or None,
        "starts_at": rfc3339(row.alert.starts_at),
        "age_seconds": _seconds(row.alert.starts_at, now),
        "owner": row.owner if first else None,
        "comment": words(first.comment) if first else None,
        "until": rfc3339(row.until) if row.until else None,
        "alert": row.alert.name,
        "fingerprint": row.fingerprint,
        "labels": dict(row.alert.labels),
        "silences": [silence.id for silence in row.silences],
    }


def called(alert: Alert) -> str:
    """Name an alert by all that it is about, as `Selection` reads it."""
    labels = {name: value for name, value in alert.labels.items() if name not in _SHOWN_ELSEWHERE}
    shown = shown_labels(labels) if labels or not alert.name else ""
    return f"{printable(alert.name)}{shown}"


def shown_labels(labels: Mapping[str, str]) -> str:
    """Show labels as Prometheus does, with escapes for what would steer the terminal."""
    pairs = (f"{printable(name)}={_quoted(value)}" for name, value in sorted(labels.items()))
    return f"{{{','.join(pairs)}}}"


def few(names: Sequence[str]) -> str:
    """Join names, but not hundreds."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"{', '.join(names[:_FEW])}{more}"


def printable(text: str) -> str:
    """Escape what would steer the terminal, or could not be seen."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{"".join(each if each.isprintable() else _escape(each) for each in text)}"'


def _escape(character: str) -> str:
    """Write a character as PromQL's strings do."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def moment(at: datetime) -> str:
    """Write a time for people: RFC 3339, to the second."""
    return rfc3339(at.replace(microsecond=0))


def age(since: datetime, now: datetime) -> str:
    """Write how long ago something began, in its two largest units at most: 3d4h, 2h13m, 5m, 12s."""
    seconds = _seconds(since, now)
    for unit, smaller in ((86400, 3600), (3600, 60), (60, 60)):
        if seconds >= unit:
            return duration(seconds - seconds % smaller)
    return duration(seconds)


def _seconds(since: datetime, now: datetime) -> int:
    return max(0, int((now - since).total_seconds()))
