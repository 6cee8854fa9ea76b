"""What the relay counts: alerts and silences, who answers, and whether history is written."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from plimsoll.alerts.shape import SEVERITIES
from plimsoll.relay.acknowledging.silences import is_acknowledgement
from plimsoll.relay.alert import CHANGING_LABELS
from plimsoll.relay.lives.life import Life
from plimsoll.relay.memory import Memory
from plimsoll.relay.sources.alertmanager import Silence

State = Literal["open", "acknowledged", "suppressed"]

UNKNOWN_SEVERITY = "unknown"
"""Stands for a severity that is none of ours, and for none at all."""

_STATES: tuple[State, ...] = ("open", "acknowledged", "suppressed")
_KINDS = ("acknowledgement", "other")

_RENAMED = {"instance": "exported_instance", "job": "exported_job"}
"""Labels of alerts that Prometheus sets on whatever it scrapes, and how it would itself rename ours then."""

_NOT_SHOWN = CHANGING_LABELS | {"state", *_RENAMED.values()}
"""Labels of alerts that change, and those that yield to ours."""

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
"""What every Prometheus takes for a label's name; newer Alertmanagers take any text."""


@dataclass(frozen=True)
class Count:
    """What one look gave.

    Args:
        at: when that was.
        lives: the alerts that are not over.
        suppressed: the identities of those that are silenced or inhibited.
        silences: all silences; None where no Alertmanager answered.
        answers: whether each program answered, by what it is and its URL.
    """

    at: datetime
    lives: Sequence[Life]
    suppressed: Collection[str] = ()
    silences: Mapping[str, Silence] | None = None
    answers: Mapping[tuple[str, str], bool] = field(default_factory=dict)

    def state(self, life: Life) -> State:
        """Say whether somebody ought to look at an alert."""
        if life.acknowledgement:
            return "acknowledged"
        return "suppressed" if life.alert.identity in self.suppressed else "open"


class Counts(Collector):
    """Publishes the last count; before the first look there is none."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.last: Count | None = None

    def collect(self) -> Iterator[Metric]:
        """Give the families, for prometheus_client."""
        yield from _of_history(self._memory)
        if self.last is not None:
            yield from _of_alerts(self.last)
            yield _of_suppressed(self.last)
            yield from _of_acknowledgements(self.last)
            yield from _of_silences(self.last)
            yield from _of_sources(self.last)


def _of_alerts(count: Count) -> Iterator[Metric]:
    states = [(_severity(life), count.state(life), life) for life in count.lives]
    found = Counter((severity, state) for severity, state, _ in states)
    alerts = GaugeMetricFamily(
        "plimsoll_alerts", "Alerts that have not resolved.", labels=("severity", "state")
    )
    for severity in (*SEVERITIES, UNKNOWN_SEVERITY):
        for state in _STATES:
            alerts.add_metric((severity, state), found[severity, state])
    yield alerts
    starts = [life.alert.starts_at.timestamp() for _, state, life in states if state == "open"]
    yield GaugeMetricFamily("plimsoll_alerts_unacknowledged", "Alerts that nobody has taken.", len(starts))
    if starts:
        yield GaugeMetricFamily(
            "plimsoll_alerts_oldest_unacknowledged_timestamp_seconds",
            "Since when the oldest alert fires that nobody has taken, in seconds since the epoch.",
            min(starts),
        )
    yield GaugeMetricFamily(
        "plimsoll_source_last_poll_timestamp_seconds",
        "When Alertmanager and Prometheus were last asked, in seconds since the epoch.",
        count.at.timestamp(),
    )


def _of_suppressed(count: Count) -> Metric:
    """Show each alert that nobody is told of under its own labels, so that it can be taken out of ALERTS.

    Two that differ only in labels which are not shown are one series; none if one of them is open, for that
    would be taken out, too.
    """
    found: dict[frozenset[tuple[str, str]], set[State]] = defaultdict(set)
    for life in count.lives:
        found[frozenset(_shown_labels(life.alert.labels).items())].add(count.state(life))
    text = "Always 1: an alert that has not resolved, and that nobody is told of."
    family = Metric("plimsoll_alert_suppressed", text, "gauge")
    family.samples = [
        Sample(family.name, {**dict(labels), "state": state}, 1.0)
        for labels, states in found.items()
        if "open" not in states
        for state in sorted(states)
    ]
    return family


def _shown_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels of an alert that may stand beside ours."""
    return {
        _RENAMED.get(name, name): value
        for name, value in labels.items()
        if value and name not in _NOT_SHOWN and _LABEL.fullmatch(name)
    }


def _of_acknowledgements(count: Count) -> Iterator[Metric]:
    labels = ("alert", "fingerprint", "subject", "by")
    starts = GaugeMetricFamily(
        "plimsoll_acknowledgement_start_timestamp_seconds",
        "When an alert that still fires was acknowledged, in seconds since the epoch.",
        labels=labels,
    )
    limits = GaugeMetricFamily(
        "plimsoll_acknowledgement_limit_timestamp_seconds",
        "When that acknowledgement ends even if its alert still fires, in seconds since the epoch.",
        labels=labels,
    )
    for life in count.lives:
        taken = life.acknowledgement
        if taken and taken.limit:
            alert = life.alert
            values = (alert.name, alert.fingerprint or alert.identity, alert.subject.name, taken.by)
            starts.add_metric(values, taken.at.timestamp())
            limits.add_metric(values, taken.limit.timestamp())
    yield from (starts, limits)


def _of_silences(count: Count) -> Iterator[Metric]:
    if count.silences is None:
        return
    active = Counter(
        _KINDS[0] if is_acknowledgement(silence) else _KINDS[1]
        for silence in count.silences.values()
        if silence.state == "active"
    )
    silences = GaugeMetricFamily("plimsoll_silences", "Silences that are in force.", labels=("kind",))
    for kind in _KINDS:
        silences.add_metric((kind,), active[kind])
    yield silences


def _of_sources(count: Count) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "plimsoll_source_up",
        "Whether an Alertmanager or Prometheus answered when it was last asked.",
        labels=("source", "url"),
    )
    for (source, url), answers in count.answers.items():
        up.add_metric((source, url), answers)
    yield up


def _of_history(memory: Memory) -> Iterator[Metric]:
    if memory.is_up is not None:
        yield GaugeMetricFamily(
            "plimsoll_history_up", "Whether the history could be written the last time.", memory.is_up
        )
    if memory.last_success is not None:
        yield GaugeMetricFamily(
            "plimsoll_history_last_success_timestamp_seconds",
            "When the history was last written, in seconds since the epoch.",
            memory.last_success.timestamp(),
        )
    yield CounterMetricFamily(
        "plimsoll_history_deliveries_dropped",
        "Deliveries that were not written, since the history was away for too long.",
        memory.dropped,
    )


def _severity(life: Life) -> str:
    severity = life.alert.labels.get("severity", "")
    return severity if severity in SEVERITIES else UNKNOWN_SEVERITY
