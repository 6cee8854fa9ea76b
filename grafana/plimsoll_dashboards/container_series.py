"""What is asked of containers by more than one page. A container is (engine, name), whatever its id."""

from __future__ import annotations

from collections.abc import Iterable

from grafana_foundation_sdk.models.dashboard import ValueMapping

from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, QUIET, TAKEN, words
from plimsoll_dashboards.queries import numbered

IDENTITY = ("engine", "name")

_STATES = {
    "running": ("● running", GOOD),
    "paused": ("○ paused", TAKEN),
    "created": ("○ created", QUIET),
    "exited": ("○ exited", QUIET),
    "removed": ("○ removed", QUIET),
    "removing": ("○ removing", QUIET),
    "restarting": ("▲ restarting", BAD),
    "dead": ("▲ dead", BAD),
}
_UP = ("running", "paused", "restarting")
_DOWN = 10
"""Added to the place of a state in which a container is although it ought to run."""

_HEALTH = {
    "none": ("no check", QUIET),
    "healthy": ("● healthy", GOOD),
    "starting": ("○ starting", NOTICE),
    "unhealthy": ("▲▲ unhealthy", CRITICAL),
}


def state(selector: str, *labels: str) -> str:
    """Give the state of containers as a number, for `state_names`: the greater, the worse.

    Args:
        selector: which containers.
        labels: what is kept beside engine and name.
    """
    by = ", ".join((*IDENTITY, *labels))
    ranked = f"max by ({by}) ({_ranked('container_state', selector, 'state', _STATES)})"
    down = (
        f"{_DOWN} * (min by (engine, name) (container:container_expected_running:is_up{{{selector}}}) "
        "== bool 0)"
    )
    return f"{ranked}\n+ on (engine, name) group_left ()\n{down}\nor\n{ranked}"


def state_names() -> list[ValueMapping]:
    """Show states, and whether that is a fault."""
    plain = {str(place): shown for place, shown in enumerate(_STATES.values())}
    down = {
        str(_DOWN + place): (f"▲▲ {name}, should run", CRITICAL)
        for place, name in enumerate(_STATES)
        if name not in _UP
    }
    return words(plain | down)


def health(selector: str) -> str:
    """Give what health checks of running containers say, as a number for `health_names`: greater is worse."""
    checked = _ranked("container_health_status", selector, "status", _HEALTH)
    return (
        f"max by (engine, name) ({checked})\nor\n"
        f"max by (engine, name) (1 + (container_health_state{{{selector}}} == -1))"
    )


def health_names(added: int = 0) -> list[ValueMapping]:
    """Show what health checks say, by numbers to which something may have been added."""
    return words({str(place): shown for place, shown in enumerate(_HEALTH.values(), added)})


def counted(metric: str, selector: str, span: str) -> str:
    """Count events of all that bore a name: whole ones, as the rules do, whatever an exporter forgot."""
    series = f"{metric}{{{selector}}}[{span}]"
    of_each = f"max by (engine, name, id) (last_over_time({series}) - min_over_time({series}))"
    return f"sum by (engine, name) ({of_each})"


def rate(metric: str, selector: str, part: str = "", *, each: bool = False) -> str:
    """Give how fast a counter of each container rises, once for all exporters.

    Args:
        metric: the counter.
        selector: which containers.
        part: a label by which a container has several series of the counter.
        each: whether to give each of them, and not their sum.
    """
    kept = [*IDENTITY, *([part] if each else [])]
    apart = [*IDENTITY, "id", *([part] if part else [])]
    rates = f"max by ({', '.join(apart)}) (rate({metric}{{{selector}}}[$__rate_interval]))"
    return f"sum by ({', '.join(kept)}) ({rates})"


def _ranked(metric: str, selector: str, name: str, order: Iterable[str]) -> str:
    """Turn the label that tells of a state, of several series of which one is 1, into a number."""
    return f"0 * ({metric}{{{selector}}} == 1) + on ({name}) group_left () (\n{numbered(name, order)}\n)"
