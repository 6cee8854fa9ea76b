"""What Prometheus and Alertmanager can be seen to run when they run a given set of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

RULES_INFO = "plimsoll:rules_info"
"""The rule in each set whose label `version` tells it from others."""
ALERTMANAGER = "alertmanager/alertmanager.yml"

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where PyYAML was built with libyaml, as its wheels are."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """By what a set is recognized."""

    version: str
    """The label of the rule `plimsoll:rules_info`."""
    groups: Mapping[str, frozenset[str]]
    """The names of the rule groups, by name of the file without its folder."""
    alertmanager: str
    """The text of Alertmanager's configuration."""

    @classmethod
    def of(cls, files: Mapping[str, str]) -> Wanted:
        """Read a set.

        Raises:
            ValueError: it could not be recognized.
        """
        rules = {
            PurePosixPath(name).name: _groups(name, text)
            for name, text in files.items()
            if name.startswith("rules/")
        }
        versions = {
            str(rule.get("labels", {}).get("version"))
            for groups in rules.values()
            for group in groups
            for rule in group.get("rules") or ()
            if rule.get("record") == RULES_INFO
        }
        if len(versions) != 1 or ALERTMANAGER not in files:
            raise ValueError(f"a set has {ALERTMANAGER}, and one version in the labels of {RULES_INFO}")
        names = {file: frozenset(group["name"] for group in groups) for file, groups in rules.items()}
        return cls(versions.pop(), names, files[ALERTMANAGER])


def route_tree(text: str) -> Any:
    """Give the part of Alertmanager's configuration that it repeats as it was: receivers and their routes.

    Raises:
        ValueError: it is no configuration.
    """
    try:
        configuration = _parse(text)
        receivers = sorted(receiver["name"] for receiver in configuration["receivers"])
        return receivers, _branch(configuration["route"]), len(configuration.get("inhibit_rules") or ())
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{ALERTMANAGER}: {error}") from None


def _branch(route: Mapping[str, Any]) -> Any:
    children = [_branch(child) for child in route.get("routes") or ()]
    return route.get("receiver"), bool(route.get("continue")), children


def _groups(name: str, text: str) -> list[dict[str, Any]]:
    try:
        groups: list[dict[str, Any]] = (_parse(text) or {}).get("groups") or []
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from None
    return groups


def _parse(text: str) -> Any:
    return yaml.load(text, _LOADER)  # noqa: S506 - both are safe
