"""From the user's file to the files that Prometheus and Alertmanager read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.compiler import RuleGroup, compile_rules
from plimsoll.alerts.effective import Effective
from plimsoll.alerts.merging import merge
from plimsoll.alerts.rollout.wanted import RULES_INFO
from plimsoll.alerts.routes import alertmanager_text
from plimsoll.alerts.routing import Routing, check_routing
from plimsoll.alerts.settings import UserFile
from plimsoll.alerts.writing import commented, dump, dump_groups
from plimsoll.shipped import shipped

_HEADER = commented(
    "DO NOT EDIT: `plimsoll render` compiles this from the catalogue of presets and your plimsoll.yml. "
    "What the repository ships is the result for an empty one."
)
_RULES_HEADER = _HEADER + commented(
    "Every alert is `signal operator number`. The same values stand as series in plimsoll:alert_threshold "
    "and plimsoll:alert_info, for dashboards. %q quotes names, so that any of them survives in a query."
)
_ROUTES_HEADER = _HEADER + commented(
    "group_wait: what fires together is told together. group_interval: what joins or leaves a group is told "
    "at most this often. repeat_interval: a reminder of what still fires."
)


@dataclass(frozen=True)
class Plan:
    """Alerts as they will be, who is told of them, and the file that says so."""

    user: UserFile
    alerts: Sequence[Effective]
    routing: Routing

    def named(self, name: str) -> Effective | None:
        """Give an alert."""
        return next((alert for alert in self.alerts if alert.name == name), None)


@dataclass(frozen=True)
class Rendered:
    """A complete set of files."""

    plan: Plan
    version: str
    """Depends on what stands in the files, and on nothing else."""
    files: Mapping[str, str]
    """Text by path."""
    groups: Sequence[RuleGroup]
    """All groups of rules, those by hand first."""


def make_plan(config_file: Path | None, *, addressed: bool = False) -> Plan:
    """Lay the user's file, if there is one, over the catalogue.

    Args:
        config_file: the file, or None.
        addressed: whether URLs matter, and so the environment variables in them.

    Raises:
        ConfigError: everything that is wrong in the sections that concern alerts.
    """
    user = UserFile.read(config_file, addressed=addressed)
    alerts = merge(load_catalogue(), user)
    routing = Routing(user.webhooks)
    check_routing(routing, alerts, user)
    user.review.conclude()
    return Plan(user, alerts, routing)


def render(config_file: Path | None) -> Rendered:
    """Compile the user's file.

    Raises:
        ConfigError: everything that is wrong in the sections that concern alerts.
    """
    plan = make_plan(config_file, addressed=True)
    catalogue = load_catalogue()
    recording = (shipped("rules") / "recording.yml").read_text("utf-8")
    groups = compile_rules(catalogue, plan.alerts, plan.user, plan.routing.receivers_of)
    routes = alertmanager_text(catalogue, plan.routing, plan.alerts, plan.user, _ROUTES_HEADER)
    version = _version(recording, dump_groups(groups), routes)
    groups = [_with_version(group, version) for group in groups]
    return Rendered(
        plan,
        version,
        {
            "rules/recording.yml": recording,
            "rules/alerts.yml": f"{_RULES_HEADER}\n{dump_groups(groups)}",
            "alertmanager/alertmanager.yml": routes,
        },
        [*yaml.safe_load(recording)["groups"], *groups],
    )


def prometheus_rule(rendered: Rendered) -> str:
    """Write all rules as the resource PrometheusRule of the Prometheus operator."""
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "plimsoll", "labels": {"app.kubernetes.io/name": "plimsoll"}},
        "spec": {"groups": list(rendered.groups)},
    }
    return f"{_RULES_HEADER}\n{dump(resource)}"


def _version(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _with_version(group: RuleGroup, version: str) -> RuleGroup:
    if group["name"] != "alert_table":
        return group
    rule = {"record": RULES_INFO, "expr": "vector(1)", "labels": {"version": version}}
    return {**group, "rules": [rule, *group["rules"]]}
