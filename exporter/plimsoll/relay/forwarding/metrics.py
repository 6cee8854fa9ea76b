"""What the relay says about the deliveries that it makes."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from plimsoll.relay.forwarding.receiver import RESULTS

REFUSALS = ("token", "unknown", "inactive", "size", "slow", "invalid")
"""Why a request is not forwarded."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; the last is the usual timeout."""


class ForwardingMetrics:
    """Counts by receiver, from 0 on for each that is configured.

    Args:
        registry: where the metrics are published.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        by_receiver = ("receiver",)
        self._names: frozenset[str] = frozenset()
        self._deliveries = Counter(
            "plimsoll_webhook_deliveries_total",
            "Attempts to hand a notification to a receiver, by what came of it.",
            ("receiver", "result"),
            registry=registry,
        )
        self._durations = Histogram(
            "plimsoll_webhook_delivery_duration_seconds",
            "How long the posts to a receiver took.",
            by_receiver,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._last_success = Gauge(
            "plimsoll_webhook_last_success_timestamp_seconds",
            "When a notification was last delivered, in seconds since the epoch.",
            by_receiver,
            registry=registry,
        )
        self._last_failure = Gauge(
            "plimsoll_webhook_last_failure_timestamp_seconds",
            "When a notification was last not delivered, in seconds since the epoch.",
            by_receiver,
            registry=registry,
        )
        self._in_flight = Gauge(
            "plimsoll_webhook_in_flight",
            "Posts to a receiver that are under way.",
            by_receiver,
            registry=registry,
        )
        self._refused = Counter(
            "plimsoll_webhook_requests_refused_total",
            "Requests that were not forwarded, by the reason.",
            ("reason",),
            registry=registry,
        )
        for reason in REFUSALS:
            self._refused.labels(reason)

    def follow(self, names: Iterable[str]) -> None:
        """Have series of these receivers, and of no others."""
        former, self._names = self._names, frozenset(names)
        for name in former - self._names:
            self._forget(name)
        for name in self._names - former:
            self._durations.labels(name)
            self._in_flight.labels(name)
            for result in RESULTS:
                self._deliveries.labels(name, result)

    def count(self, name: str, result: str, seconds: float | None = None) -> None:
        """Count a delivery that has ended; `seconds` is how long the post took, if there was one."""
        if name not in self._names:
            return  # gone meanwhile
        self._deliveries.labels(name, result).inc()
        if seconds is not None:
            self._durations.labels(name).observe(seconds)
        last = self._last_success if result == "delivered" else self._last_failure
        last.labels(name).set(time.time())

    def under_way(self, name: str, posts: int) -> None:
        """Note how many posts to a receiver are under way."""
        if name in self._names:
            self._in_flight.labels(name).set(posts)

    def refuse(self, reason: str) -> None:
        """Count a request that is not forwarded."""
        self._refused.labels(reason).inc()

    def _forget(self, name: str) -> None:
        for metric in (self._durations, self._last_success, self._last_failure, self._in_flight):
            metric.remove(name)
        for result in RESULTS:
            self._deliveries.remove(name, result)
