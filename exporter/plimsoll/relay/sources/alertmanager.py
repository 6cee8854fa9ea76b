"""Alertmanager, which lists what fires, and keeps the silences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self, TypeVar, cast, get_args
from urllib.parse import quote

import aiohttp

from plimsoll.alerts.peer import Peer, PeerError
from plimsoll.alerts.settings import OpenedAlertmanager
from plimsoll.relay.alert import Alert
from plimsoll.relay.times import read_time

State = Literal["active", "pending", "expired"]
Value = TypeVar("Value")

_ALERTS = "/api/v2/alerts"
_SILENCES = "/api/v2/silences"
_STATUS = "/api/v2/status"

_KNOWN = frozenset(
    {"id", "status", "updatedAt", "comment", "createdBy", "endsAt", "matchers", "startsAt"},
)

_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading an answer of another shape raises."""


class SilenceMatcher(NamedTuple):
    """One condition of a silence on one label; a regular expression has to match all of its value."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence. One that Alertmanager does not have yet has an empty `id`."""

    id: str
    matchers: tuple[SilenceMatcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    created_by: str
    comment: str
    state: State
    others: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What newer versions tell besides, to be handed back when the silence is changed."""


class Listed(NamedTuple):
    """An alert that Alertmanager takes for firing, until `ends_at` unless it is sent again."""

    alert: Alert
    ends_at: datetime
    silenced_by: frozenset[str]
    """The ids of the active silences that match it."""
    inhibited: bool


class Running(NamedTuple):
    """Since when Alertmanager runs, and the text of its configuration, with secrets masked."""

    started_at: datetime
    configuration: str


class Alertmanager(Peer):
    """Alertmanager, by version 2 of its API; see `Peer`."""

    @classmethod
    def members(cls, session: aiohttp.ClientSession, settings: OpenedAlertmanager) -> list[Self]:
        """Give all of those that the file names."""
        return [cls(session, url, access=settings) for url in settings.urls]

    async def alerts(self) -> list[Listed]:
        """List all alerts that fire, the silenced and inhibited ones, too.

        Raises:
            PeerError: it cannot be asked, or answers something else.
        """
        return await self._list(_ALERTS, _listed)

    async def silences(self) -> list[Silence]:
        """List all silences; it forgets those that expired days ago (`--data.retention`).

        Raises:
            PeerError: it cannot be asked, or answers something else.
        """
        return await self._list(_SILENCES, _silence)

    async def status(self) -> Running:
        """Tell since when it runs, and on which configuration.

        Raises:
            PeerError: it cannot be asked, or answers something else.
        """
        answer = await self.ask_json("GET", _STATUS)
        try:
            return Running(read_time(answer["uptime"]), _text(answer["config"]["original"]))
        except _ODD:
            raise self.misunderstood("GET", _STATUS, json.dumps(answer)) from None

    async def put(self, silence: Silence) -> str:
        """Make a silence that has no id, or change the one of its id, and give the id.

        When its end is all that changes, it keeps its id. One that has expired cannot be changed: it stays,
        and Alertmanager makes another, which begins now.

        Raises:
            PeerError: it refuses, or cannot be asked.
        """
        answer = await self.ask_json("POST", _SILENCES, body=_written(silence))
        try:
            return _text(answer["silenceID"])
        except _ODD:
            raise self.misunderstood("POST", _SILENCES, json.dumps(answer)) from None

    async def prolong(self, silence: Silence) -> bool:
        """Give an active silence another end; say no if it had ended meanwhile, and then leave it ended.

        Raises:
            PeerError: it refuses, or cannot be asked.
        """
        if (made := await self.put(silence)) == silence.id:
            return True
        await self.expire(made)
        return False

    async def expire(self, silence_id: str) -> None:
        """End a silence. One that has expired or is not known is no error.

        Versions answer differently for these, 200, 404 or 500, so whoever refuses is asked what there is.

        Raises:
            PeerError: it refuses though the silence has not expired, or cannot be asked.
        """
        try:
            await self.ask("DELETE", f"/api/v2/silence/{quote(silence_id, safe='')}")
        except PeerError:
            silences = await self.silences()
            if any(silence.id == silence_id and silence.state != "expired" for silence in silences):
                raise

    async def resolve(self, ends: Iterable[tuple[Alert, datetime]]) -> None:
        """Say that alerts have resolved, and when, as Prometheus does.

        Raises:
            PeerError: it refuses, or cannot be asked.
        """
        resolved = [
            {
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations or {}),
                "startsAt": alert.starts_at.isoformat(),
                "endsAt": ended_at.isoformat(),
            }
            for alert, ended_at in ends
        ]
        await self.ask("POST", "/api/v2/alerts", body=resolved)

    async def _list(self, path: str, read: Callable[[Any], Value]) -> list[Value]:
        answer = await self.ask_json("GET", path)
        if not isinstance(answer, list):
            raise self.misunderstood("GET", path, json.dumps(answer))
        found = []
        for entry in answer:
            try:
                found.append(read(entry))
            except _ODD:
                raise self.misunderstood("GET", path, json.dumps(entry)) from None
        return found


def merged(lists: Iterable[Iterable[Silence]]) -> dict[str, Silence]:
    """Put together what several Alertmanagers list, by id: of each silence the state that was set last."""
    found: dict[str, Silence] = {}
    for silence in (silence for each in lists for silence in each):
        known = found.get(silence.id)
        if known is None or silence.updated_at > known.updated_at:
            found[silence.id] = silence
    return found


def _listed(entry: Any) -> Listed:
    status = _mapping(entry.get("status"))
    starts_at = read_time(entry["startsAt"])
    fingerprint = entry.get("fingerprint")
    alert = Alert(
        labels=_texts(entry["labels"]),
        annotations=_known_texts(entry.get("annotations")),
        starts_at=starts_at,
        fingerprint=fingerprint if isinstance(fingerprint, str) and fingerprint else None,
    )
    return Listed(
        alert,
        ends_at=_time_or(starts_at, entry.get("endsAt")),
        silenced_by=frozenset(_ids(status.get("silencedBy"))),
        inhibited=bool(_ids(status.get("inhibitedBy"))),
    )


def _silence(entry: Any) -> Silence:
    starts_at = read_time(entry["startsAt"])
    state = _mapping(entry["status"])["state"]
    if state not in get_args(State):
        raise ValueError(state)
    return Silence(
        id=_text(entry["id"]),
        matchers=tuple(map(_matcher, entry["matchers"])),
        starts_at=starts_at,
        ends_at=read_time(entry["endsAt"]),
        updated_at=_time_or(starts_at, entry.get("updatedAt")),
        created_by=_text_or_nothing(entry.get("createdBy")),
        comment=_text_or_nothing(entry.get("comment")),
        state=cast("State", state),
        others={name: value for name, value in entry.items() if name not in _KNOWN},
    )


def _matcher(entry: Any) -> SilenceMatcher:
    """Read a matcher; `isEqual` is newer than the others."""
    return SilenceMatcher(
        _text(entry["name"]),
        _text(entry["value"]),
        is_regex=entry.get("isRegex") is True,
        is_equal=entry.get("isEqual") is not False,
    )


def _written(silence: Silence) -> dict[str, Any]:
    matchers = [
        {"name": name, "value": value, "isRegex": is_regex, "isEqual": is_equal}
        for name, value, is_regex, is_equal in silence.matchers
    ]
    return {
        **silence.others,
        **({"id": silence.id} if silence.id else {}),
        "matchers": matchers,
        "startsAt": silence.starts_at.isoformat(),
        "endsAt": silence.ends_at.isoformat(),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    }


def _time_or(default: datetime, value: Any) -> datetime:
    return default if value is None else read_time(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _text_or_nothing(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Mapping[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}


def _known_texts(value: Any) -> dict[str, str]:
    return {name: text for name, text in _mapping(value).items() if isinstance(text, str)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _ids(value: Any) -> Iterable[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
