"""Lives and deliveries as rows of the history, and back. Pure.

What PostgreSQL cannot hold, the character NUL and halves of surrogate pairs, is replaced; what its indexes
cannot hold is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from plimsoll.alerts.shape import SEVERITIES
from plimsoll.relay.alert import PLIMSOLL, Alert, Subject
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.lives.life import Acknowledgement, Life

_LONGEST = 255
"""Characters of a title, and of a name that stands in an index."""
_NAMELESS = "(no name)"
"""Alertmanager takes alerts without a name from anybody."""

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_SUSPICIOUS = re.compile(r"\\u0000|[\ud800-\udfff]")
"""What stands in JSON where there is something unwritable; seldom where there is nothing."""
_COLUMNS = {"description": "message", "threshold": "threshold", "value": "actual_value"}
"""Annotations with a column of their own, and the summary has the title."""

Row = Mapping[str, Any]


def row_of_life(life: Life) -> Row:
    """Give the columns of a life as JSON has them; `annotations` is None where none are known."""
    alert, taken = life.alert, life.acknowledgement
    labels = dict(alert.labels)
    kind, name = subject_of(life)
    return {
        "fingerprint": alert.identity,
        "alertmanager_fingerprint": alert.fingerprint,
        "kind": kind,
        "name": name,
        "organization": labels.get("organization") or None,
        "category": labels.get("category") or None,
        "alertname": labels.get("alertname") or _NAMELESS,
        "severity": severity if (severity := labels.get("severity")) in SEVERITIES else "unknown",
        "labels": labels,
        **_texts(alert),
        "starts_at": alert.starts_at.isoformat(),
        "last_seen": life.last_seen.isoformat(),
        "acknowledged_at": taken and taken.at.isoformat(),
        "acknowledged_by": taken and taken.by,
        "acknowledged_comment": taken and taken.comment,
        "acknowledged_until": taken and taken.limit and taken.limit.isoformat(),
        "silence_id": taken and taken.silence_id,
        "ended_at": life.ended and life.ended.at.isoformat(),
        "auto_resolved": life.ended and not life.ended.told,
    }


def subject_of(life: Life) -> Subject:
    """Give what it is about, by a name that can be written."""
    kind, name = life.alert.subject
    return Subject(kind, _short(name)) if name else PLIMSOLL


def _texts(alert: Alert) -> Row:
    name = _short(alert.name) or _NAMELESS
    if alert.annotations is None:
        return {"title": name, **dict.fromkeys(_COLUMNS.values()), "annotations": None}
    texts = dict(alert.annotations)
    summary = texts.pop("summary", "")
    columns = {column: texts.pop(annotation, None) for annotation, column in _COLUMNS.items()}
    title = _short(summary) if summary.strip() else name
    rest = {**texts, "summary": summary} if len(summary) > _LONGEST else texts
    return {"title": title, **columns, "annotations": rest}


def life_of_row(row: Row) -> Life:
    """Give the life that has not ended of a row. Of a summary that was the alert's name it gives none."""
    at = row["acknowledged_at"]
    taken = at and Acknowledgement(
        at=_utc(at),
        by=row["acknowledged_by"],
        comment=row["acknowledged_comment"] or "",
        silence_id=row["silence_id"] or "",
        limit=row["acknowledged_until"] and _utc(row["acknowledged_until"]),
    )
    alert = Alert(row["labels"], _annotations(row), _utc(row["created_at"]), row["alertmanager_fingerprint"])
    # The row stays that of this alert, even if its labels could not be written as they are.
    vars(alert)["identity"] = row["fingerprint"]
    return Life(alert, _utc(row["last_seen_at"]), taken)


def _annotations(row: Row) -> Mapping[str, str] | None:
    if row["annotations"] is None:
        return None
    columns = {annotation: row[column] for annotation, column in _COLUMNS.items()}
    named = row["title"] == (_short(row["labels"].get("alertname", "")) or _NAMELESS)
    texts = {"summary": None if named else row["title"], **columns, **row["annotations"]}
    return {name: text for name, text in texts.items() if text is not None}


def row_of_delivery(delivery: Delivery) -> Row:
    """Give the columns of a delivery as JSON has them."""
    return {
        "receiver": _short(delivery.receiver),
        "webhook_id": _short(delivery.webhook_id),
        "fingerprints": list(delivery.identities),
        "result": delivery.result,
        "http_status": delivery.http_status,
        "duration_seconds": max(delivery.seconds, 0.0),
        "attempted_at": delivery.attempted_at.isoformat(),
    }


def turns(lives: Sequence[Life]) -> Iterator[list[Life]]:
    """Part lives so that no part has two of the same alert, and each alert's come in the order they began."""
    waiting = sorted(lives, key=lambda life: (life.alert.starts_at, life.ended is None))
    while waiting:
        first = {life.alert.identity: life for life in reversed(waiting)}
        yield list(first.values())
        chosen = {id(life) for life in first.values()}
        waiting = [life for life in waiting if id(life) not in chosen]


def as_json(rows: Sequence[Row]) -> str:
    """Write rows as an array."""
    text = json.dumps(rows, ensure_ascii=False)
    if _SUSPICIOUS.search(text):
        return json.dumps(_clean(rows))
    return text


def _clean(value: Any) -> Any:
    match value:
        case str():
            return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case Mapping():
            return {_clean(name): _clean(each) for name, each in value.items()}
        case list():
            return list(map(_clean, value))
    return value


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
