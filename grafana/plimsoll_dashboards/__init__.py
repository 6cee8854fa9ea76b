"""The dashboards of Plimsoll as code, which reads better than their JSON."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import as_text
from plimsoll_dashboards.storage import storage

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "storage": storage,
}
"""By the name of the file."""


def dashboards() -> dict[str, str]:
    """Give the JSON of each dashboard by the name of its file."""
    return {f"{name}.json": as_text(build()) for name, build in DASHBOARDS.items()}
