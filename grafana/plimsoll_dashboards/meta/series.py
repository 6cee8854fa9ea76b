"""What more than one group of panels of this page asks, and what they say alike."""

from __future__ import annotations

from plimsoll_dashboards.colours import CRITICAL, GOOD, words
from plimsoll_dashboards.signals import count_among

SERVERS = 'server=~"$server"'
TARGETS = 'server=~"$server|",engine=~"$engine|"'
"""What is about a server or an engine, or about none: with one chosen, the rest of its kind is left out."""
PROCESSES = 'instance=~"$instance"'
PLIMSOLL = 'job=~"plimsoll|plimsoll-relay"'
"""The jobs of exporters and relays, as the documentation has Prometheus name them."""
ALERTS = f'category="meta",{TARGETS},instance=~"$instance|"'

COLLECTION = "collector, server, engine, datname"
"""What tells one part of the exporter's work from another."""
SUCCESS = f"max by ({COLLECTION}) (collector:plimsoll_collector_success:max{{{TARGETS}}})"
"""Whether each part succeeds: 1, or 0."""
AGES = f"database:pg_sizes_oldest_timestamp_seconds:age_seconds{{{SERVERS}}}"
"""How old the oldest size of each database is, in seconds."""

REACHABLE = words({"1": ("✔ reachable", GOOD), "0": ("✖ unreachable", CRITICAL)})

MONITORS_MISSING = "Prometheus and Alertmanager are not scraped"


def in_an_hour(counter: str) -> str:
    """Give how much a counter rose in the hour before, all its series together."""
    return f"sum(increase({counter}[1h]))"


def count_of_zeros(series: str) -> str:
    """Count what is 0; nothing at all if there is nothing to count."""
    return count_among(f"{series} == 0", series)


DROPPED = in_an_hour("prometheus_notifications_dropped_total")
"""Alerts that Prometheus could hand to no Alertmanager."""
GIVEN_UP = in_an_hour('alertmanager_notifications_failed_total{reason!="contextCanceled"}')
"""Notifications that Alertmanager failed to send, but not those that it broke off for a newer one."""
