"""An alert as the relay sees it, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

CHANGING_LABELS = frozenset({"severity", "override"})
"""Labels that may change while an alert fires, for they say how it is judged and not what about."""

_PORT = re.compile(r":\d+$")


class Subject(NamedTuple):
    """What an alert is about: a `server`, an `engine`, a `host`, or `plimsoll` where it is none of these."""

    kind: str
    name: str


PLIMSOLL = Subject("plimsoll", "plimsoll")


@dataclass(frozen=True)
class Alert:
    """An alert as one witness tells of it.

    `annotations` is None where they are not known, and so is Alertmanager's `fingerprint`: Prometheus' series
    have neither.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str] | None
    starts_at: datetime
    fingerprint: str | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.labels.get("alertname", "")

    @cached_property
    def identity(self) -> str:
        """What stays the same as long as it fires."""
        return identity(self.labels)

    @property
    def subject(self) -> Subject:
        """What it is about."""
        for kind in ("server", "engine"):
            if name := self.labels.get(kind):
                return Subject(kind, name)
        instance = self.labels.get("instance", "")
        if not instance or self.labels.get("category") == "meta":
            return PLIMSOLL
        return Subject("host", _host(instance))


def identity(labels: Mapping[str, str]) -> str:
    """Give 16 hexadecimal digits that labels have in common when they differ in severity or override only."""
    lasting = sorted(pair for pair in labels.items() if pair[0] not in CHANGING_LABELS and pair[1])
    return hashlib.blake2b(json.dumps(lasting).encode(), digest_size=8).hexdigest()


def _host(instance: str) -> str:
    """Give the host of `host:port`, or of the URL that a probe asks for."""
    if "://" in instance:
        try:
            return urlsplit(instance).hostname or instance
        except ValueError:
            return instance
    return _PORT.sub("", instance).strip("[]")
