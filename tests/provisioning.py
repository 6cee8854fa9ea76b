"""Replaces variables in a provisioning file as Grafana does: in values, and with no defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_BRACED = re.compile(r"\$(|__env)\{([^}]+)\}")
_NAMED = re.compile(r"\$(?:\{([^}]*)\}|(\w+))")


def expand(value: str, environment: Mapping[str, str]) -> str:
    """Expand one value.

    Grafana replaces what is in braces, and then everything in the result once more: what a variable in braces
    holds is expanded, too (`interpolateValue` in pkg/services/provisioning/values).
    """
    return "$".join(_expand(part, environment) for part in value.split("$$"))


def _expand(part: str, environment: Mapping[str, str]) -> str:
    once = _BRACED.sub(lambda found: environment.get(found[2], ""), part)
    return _NAMED.sub(lambda found: environment.get(found[1] or found[2], ""), once)


def expanded(node: Any, environment: Mapping[str, str]) -> Any:
    """Expand all values in what a YAML file holds; keys stay as they are."""
    match node:
        case dict():
            return {key: expanded(value, environment) for key, value in node.items()}
        case list():
            return [expanded(each, environment) for each in node]
        case str():
            return expand(node, environment)
        case _:
            return node


def variables(node: Any) -> set[str]:
    """Give the names of all variables in what a YAML file holds."""
    names: set[str] = set()

    class Noting(dict[str, str]):
        def get(self, name: str, _: str = "") -> str:  # type: ignore[override]
            names.add(name)
            return ""

    expanded(node, Noting())
    return names


def read(folder: Path, key: str, environment: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Read the entries below `key` of all files of a folder, as Grafana reads them at its start."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".yml", ".yaml"))
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in files]
    return [entry for document in documents for entry in expanded(document[key], environment)]
