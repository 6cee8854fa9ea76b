"""After how long Alertmanager reminds of what still fires, by receiver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from plimsoll.config.fields import parse_duration

DEFAULT_REPEAT = 12 * 3600.0
"""Seconds that the compiled routes wait; taken while Alertmanager has not told what it runs.

Better too long than too short: a reminder that is taken for a copy is lost, but a retry that is taken for a
reminder pages twice.
"""

_ALERTMANAGERS_DEFAULT = 4 * 3600.0


def repeat_intervals(configuration: str) -> dict[str, float]:
    """Read an Alertmanager's configuration; give the shortest `repeat_interval` in seconds of each receiver.

    A route without one has that of the route above it, as Alertmanager has it. Text that cannot be read gives
    nothing.
    """
    try:
        found = list(_routes(yaml.safe_load(configuration)))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return {}
    shortest: dict[str, float] = {}
    for receiver, interval in found:
        shortest[receiver] = min(interval, shortest.get(receiver, interval))
    return shortest


def _routes(configuration: Any) -> Iterator[tuple[str, float]]:
    """Give receiver and interval of each route."""
    root = _mapping(configuration).get("route")
    waiting: list[tuple[Any, str | None, float]] = [(root, None, _ALERTMANAGERS_DEFAULT)]
    seen = set()
    while waiting:
        node, receiver, interval = waiting.pop()
        route = _mapping(node)
        receiver = route.get("receiver") or receiver
        interval = _interval(route.get("repeat_interval")) or interval
        if not isinstance(receiver, str):
            raise TypeError("a route without a receiver")
        if (id(node), receiver, interval) in seen:
            continue  # YAML can have a list contain itself
        seen.add((id(node), receiver, interval))
        yield receiver, interval
        waiting += [(child, receiver, interval) for child in route.get("routes") or ()]


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value


def _interval(value: Any) -> float | None:
    return None if value is None else parse_duration(value)
