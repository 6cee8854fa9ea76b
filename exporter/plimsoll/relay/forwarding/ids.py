"""The `webhook-id` of what is told: another when it is news, the same for a retry or a copy."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from plimsoll.relay.notification import Notification, another_id, webhook_id

Key = TypeVar("Key")
Value = TypeVar("Value")

_MOST = 20_000
"""Ids, and groups, that are remembered, the latest ones: 18 MB when there are so many."""

_COPIES = timedelta(minutes=1)
"""Time within which another Alertmanager's copy comes.

Each waits for 15 s (`--cluster.peer-timeout`) longer than the one before it: time for four behind the first.
"""


class Origin(NamedTuple):
    """What Alertmanager tells.

    `computed` is the id that needs no memory; `group` stands for receiver and group, `sender` for the
    Alertmanager, and `at` is when it came.
    """

    computed: str
    group: bytes
    sender: int
    at: datetime


class _Given(NamedTuple):
    identity: str
    sender: int
    at: datetime


def origin(
    name: str, notification: Notification, interval: float, remote: str | None, now: datetime
) -> Origin:
    """Give what a notification to a receiver of the file is; `interval` is that of reminders in seconds."""
    group = hashlib.sha256(f"{name} {notification.group_key}".encode()).digest()
    sender = hash((remote, notification.external_url))
    return Origin(webhook_id(name, notification, interval, now), group, sender, now)


class Ids:
    """Gives the ids, and remembers which were delivered.

    Alertmanager tells the very same again when an alert fires again with its former start, since Prometheus
    could not reach it for a while, and when a group is what it was, since a silence has ended. A receiver
    that knows the id would drop that. So an id that comes back after another was delivered to its group is
    replaced by a new one, made of both. A retry keeps its id, since nothing else was delivered meanwhile; so
    does another Alertmanager's copy, mostly for the same reason, and else if it comes within `_COPIES`.

    Nothing of this lasts: after a restart, or when another relay delivered it, what comes back has the id
    that needs no memory.
    """

    def __init__(self) -> None:
        self._given: OrderedDict[str, _Given] = OrderedDict()
        """The id that was delivered last, by the one that needs no memory."""
        self._last: OrderedDict[bytes, str] = OrderedDict()
        """The id that was delivered last, by group."""

    def choose(self, origin: Origin) -> str:
        """Give the id of a notification."""
        given = self._given.get(origin.computed)
        if given is None:
            return origin.computed
        last = self._last[origin.group]
        if last == given.identity or _may_be_copy(origin, given):
            return given.identity
        return another_id(origin.computed, last)

    def delivered(self, origin: Origin, identity: str) -> None:
        """Remember that a notification was delivered with this id."""
        known = self._given.get(origin.computed)
        if known is not None and identity in (known.identity, origin.computed):
            return  # a copy: to whom knows the id it was no news
        _remember(self._given, origin.computed, _Given(identity, origin.sender, origin.at))
        _remember(self._last, origin.group, identity)


def _may_be_copy(origin: Origin, given: _Given) -> bool:
    return origin.sender != given.sender and origin.at - given.at < _COPIES


def _remember(values: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    values[key] = value
    values.move_to_end(key)
    if len(values) > _MOST:
        values.popitem(last=False)
