"""Plimsoll itself: whether what measures, judges and tells works, for else silence proves nothing."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.meta.collection import collection
from plimsoll_dashboards.meta.firing_alerts import firing_alerts
from plimsoll_dashboards.meta.judging import judging
from plimsoll_dashboards.meta.key_numbers import key_numbers
from plimsoll_dashboards.meta.processes import processes, usage
from plimsoll_dashboards.meta.relay import relay
from plimsoll_dashboards.meta.series import ALERTS, PLIMSOLL
from plimsoll_dashboards.variables import alertmanager
from plimsoll_dashboards.variables import label as variable


def meta() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-meta",
        "Plimsoll / Plimsoll",
        "Whether Plimsoll itself works: collectors, exporter, relay, rules, notifications.",
        variables=[
            variable(
                "server", "Server", "server:pg_up:max", "PostgreSQL servers, by their name in plimsoll.yml."
            ),
            variable(
                "engine",
                "Engine",
                "engine:plimsoll_containers_measured:is_present",
                "Container engines, by their name in plimsoll.yml.",
            ),
            variable(
                "instance", "Process", f"up{{{PLIMSOLL}}}", "Exporters and relays, as Prometheus names them."
            ),
            alertmanager(),
        ],
        annotations=[alerts_over_time(ALERTS)],
        sections=[
            Section("", [*firing_alerts(), *key_numbers(), processes().height(7)]),
            Section("What is measured", collection()),
            Section("Prometheus and Alertmanager", judging()),
            Section("Relay", relay()),
            Section("What the processes use", usage()),
        ],
    )
