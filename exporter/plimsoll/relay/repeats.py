"""After how long Alertmanager reminds of what still fires, by receiver."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from plimsoll.config.fields import parse_duration

DEFAULT_REPEAT = 12 * 3600.0
"""Seconds that the compiled routes wait; taken while Alertmanager has not told what it runs.

Better too long than too short: a reminder that is taken for a copy is lost, but a retry that is taken for a
reminder pages twice.
"""

_DEEPEST = 200
"""Collections inside each other; libyaml's loader has no limit but the stack, whose end is the process's."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, ten times as fast, where PyYAML was built with it."""


class _Waits(NamedTuple):
    """What a route has, in seconds."""

    receiver: str | None
    group_interval: float
    repeat_interval: float


_ALERTMANAGERS_DEFAULT = _Waits(None, 5 * 60.0, 4 * 3600.0)


@functools.lru_cache(maxsize=16)
def repeat_intervals(configuration: str) -> Mapping[str, float]:
    """Read an Alertmanager's configuration; give the seconds between reminders, the shortest by receiver.

    That is `repeat_interval`, or `group_interval` if it is longer, for only a flush reminds. A route without
    one has that of the route above it, as Alertmanager has it. Text that cannot be read gives nothing.
    """
    try:
        found = list(_routes(_loaded(configuration)))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return MappingProxyType({})
    shortest: dict[str, float] = {}
    for receiver, interval in found:
        shortest[receiver] = min(interval, shortest.get(receiver, interval))
    return MappingProxyType(shortest)


def _loaded(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one


def _routes(configuration: Any) -> Iterator[tuple[str, float]]:
    """Give receiver and interval of each route."""
    waiting = [(_mapping(configuration).get("route"), _ALERTMANAGERS_DEFAULT)]
    seen = set()
    while waiting:
        node, above = waiting.pop()
        route = _mapping(node)
        waits = _waits(route, above)
        if not isinstance(waits.receiver, str):
            raise TypeError("a route without a receiver")
        if (id(node), waits) in seen:
            continue  # YAML can have a list contain itself
        seen.add((id(node), waits))
        yield waits.receiver, max(waits.group_interval, waits.repeat_interval)
        waiting += [(child, waits) for child in route.get("routes") or ()]


def _waits(route: Mapping[str, Any], above: _Waits) -> _Waits:
    return _Waits(
        route.get("receiver") or above.receiver,
        _interval(route.get("group_interval")) or above.group_interval,
        _interval(route.get("repeat_interval")) or above.repeat_interval,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value


def _interval(value: Any) -> float | None:
    return None if value is None else parse_duration(value)
