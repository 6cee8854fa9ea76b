"""What Alertmanager posts to a webhook, as far as it matters here: payload version 4, whatever it grows.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from plimsoll.relay.alert import Alert
from plimsoll.relay.times import read_time

_MOST_VALUES = 1_000_000
"""What a body may hold of lists, mappings and values: Python needs some 80 bytes for each."""

_MOST_DIGITS = 18
"""Digits of a number that is read: whatever is longer could be of any size."""

_NEVER = "0001-01-01T00:00:00Z"
"""The zero of Go's time, which is the end of what still fires."""


class Told(NamedTuple):
    """What a notification says of one alert; `ends_at` is None while it fires."""

    alert: Alert
    status: Literal["firing", "resolved"]
    ends_at: datetime | None


class Notification(NamedTuple):
    """A notification; `receiver` and `group_key` are Alertmanager's names for whom it tells, and of what.

    `truncated` is how many more alerts the group has, and `external_url` where that Alertmanager's pages are.
    """

    receiver: str
    group_key: str
    alerts: tuple[Told, ...]
    truncated: int
    external_url: str


def read(body: bytes) -> Notification:
    """Read a notification.

    Raises:
        ValueError: it is none; the text says why, and quotes nothing.
    """
    payload = _mapping(_json(body), "it")
    alerts = payload.get("alerts")
    if not isinstance(alerts, list) or not alerts:
        raise ValueError("alerts must be a list with at least one entry")
    return Notification(
        _text(payload, "receiver", ""),
        _text(payload, "groupKey", ""),
        tuple(_told(alert, f"alerts[{index}]") for index, alert in enumerate(alerts)),
        truncated if isinstance(truncated := payload.get("truncatedAlerts"), int) else 0,
        url if isinstance(url := payload.get("externalURL"), str) else "",
    )


def webhook_id(receiver: str, notification: Notification, repeat_interval: float, now: datetime) -> str:
    """Give the `webhook-id`: for a retry or another Alertmanager's copy the same, for a reminder another.

    Nothing has to be remembered, so two relays agree, and one that was restarted with itself. Reminders are
    counted from the latest event of the notification: each comes at least one `repeat_interval` (seconds,
    more than 0) after the last, so its number is higher, and a retry comes within seconds. What is told again
    after something else has the same, too: see `another_id`.
    """
    events = [told.ends_at or told.alert.starts_at for told in notification.alerts]
    number = math.floor(max(0.0, (now - max(events)).total_seconds()) / repeat_interval)
    since = number * repeat_interval  # the number alone would mean other times by another interval
    states = sorted(
        (told.alert.fingerprint or "", told.status, told.alert.starts_at.isoformat())
        for told in notification.alerts
    )
    return _hashed([receiver, notification.group_key, states, notification.truncated, since])


def another_id(identity: str, former: str) -> str:
    """Give the `webhook-id` of what was told with one before, and is told again after `former`."""
    return _hashed([identity, former])


def _hashed(values: list[Any]) -> str:
    content = json.dumps(values, separators=(",", ":"))
    return f"msg_{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _json(body: bytes) -> Any:
    """Read JSON with short whole numbers only: nothing here depends on others, which may be of any size."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if sum(map(text.count, ",[{")) > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES} values")
    try:
        return json.loads(text, parse_int=_whole, parse_float=_nothing, parse_constant=_nothing)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None


def _whole(text: str) -> int | None:
    return int(text) if len(text) <= _MOST_DIGITS else None


def _nothing(_: str) -> None:
    return None


def _told(value: Any, place: str) -> Told:
    told = _mapping(value, place)
    status = told.get("status")
    if status not in ("firing", "resolved"):
        raise ValueError(f"{place}.status must be firing or resolved")
    alert = Alert(
        labels=_texts(told.get("labels"), f"{place}.labels"),
        annotations=_texts(told.get("annotations") or {}, f"{place}.annotations"),
        starts_at=_time(told, "startsAt", place),
        fingerprint=_text(told, "fingerprint", f"{place}."),
    )
    if status == "firing":
        # Mostly Go's zero; whatever else it is, it lies ahead.
        return Told(alert, "firing", None)
    if told.get("endsAt") == _NEVER:
        raise ValueError(f"{place}.endsAt must be a time, for it is resolved")
    return Told(alert, "resolved", _time(told, "endsAt", place))


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be a mapping")  # noqa: TRY004 - to be answered, as all that is wrong
    return value


def _texts(value: Any, place: str) -> Mapping[str, str]:
    texts = _mapping(value, place)
    if not all(_is_text(text) for pair in texts.items() for text in pair):
        raise ValueError(f"{place} must be a mapping of text to text")
    return texts


def _text(values: Mapping[str, Any], key: str, prefix: str) -> str:
    value = values.get(key)
    if not _is_text(value):
        raise ValueError(f"{prefix}{key} must be text")
    return str(value)


def _time(values: Mapping[str, Any], key: str, place: str) -> datetime:
    text = _text(values, key, f"{place}.")
    try:
        return read_time(text)
    except ValueError as error:
        raise ValueError(f"{place}.{key} {error}") from None


def _is_text(value: Any) -> bool:
    """Say whether it is text, and no half of a surrogate pair in it, which nobody could store."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
