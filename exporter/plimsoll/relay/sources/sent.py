"""How the labels of an alert change on their way from Prometheus' rules to Alertmanager."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from plimsoll.alerts.matchers import Matcher

_SECTIONS = re.compile(r"^(?:global|alerting):.*(?:\n(?:[ -].*)?)*", re.MULTILINE)
"""What matters here of a configuration, which may have thousands of lines that do not."""

_FOLLOWED = frozenset({"labeldrop", "labelkeep"})

_OF_THE_SERIES = frozenset({"__name__", "alertstate"})
"""What the series ALERTS has, and the alert itself has not."""


class Step(NamedTuple):
    """A part of `alert_relabel_configs`: drops the labels whose names fit, or all others."""

    names: Matcher
    drops: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What Prometheus does to labels before Alertmanager sees them.

    External labels are added where the alert has none of that name; then the actions `labeldrop` and
    `labelkeep` of `alert_relabel_configs` apply, in their order. No other action is followed, nor are those
    of a single Alertmanager (Prometheus 2.51): `ignored` tells which there are, for then labels may differ.
    """

    external: Mapping[str, str]
    steps: tuple[Step, ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, configuration: str) -> Sent:
        """Take it from the configuration that Prometheus says it runs, which is YAML.

        Raises:
            ValueError: it is none of Prometheus.
        """
        try:
            # BaseLoader leaves texts as they are, so that no label becomes a number or a date.
            sections = yaml.load("".join(_SECTIONS.findall(configuration)), yaml.BaseLoader) or {}  # noqa: S506
            return _sent(sections)
        except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"is no configuration of Prometheus: {error}") from None

    def seen(self, series: Mapping[str, str]) -> dict[str, str]:
        """Give the labels that Alertmanager sees, from those of a series ALERTS."""
        labels = {
            **self.external,
            **{name: value for name, value in series.items() if name not in _OF_THE_SERIES},
        }
        for step in self.steps:
            labels = {name: value for name, value in labels.items() if step.names.matches(name) != step.drops}
        return labels


def _sent(sections: Mapping[str, Any]) -> Sent:
    external = (sections.get("global") or {}).get("external_labels") or {}
    alerting = sections.get("alerting") or {}
    configs = alerting.get("alert_relabel_configs") or ()
    followed = [each for each in configs if each.get("action") in _FOLLOWED]
    others = [each.get("action", "replace") for each in configs if each not in followed]
    return Sent(
        {name: value for name, value in external.items() if value},
        tuple(Step(Matcher("name", "=~", each["regex"]), each["action"] == "labeldrop") for each in followed),
        (*others, *_of_single(alerting)),
    )


def _of_single(alerting: Mapping[str, Any]) -> Iterator[str]:
    for alertmanager in alerting.get("alertmanagers") or ():
        for config in alertmanager.get("alert_relabel_configs") or ():
            yield f"{config.get('action', 'replace')} for a single Alertmanager"
