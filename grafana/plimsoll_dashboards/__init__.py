"""The dashboards of Plimsoll as code, which reads better than their JSON."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.agents import agents
from plimsoll_dashboards.alerts import alerts
from plimsoll_dashboards.board import as_text
from plimsoll_dashboards.container import container
from plimsoll_dashboards.containers import containers
from plimsoll_dashboards.history import history
from plimsoll_dashboards.hosts import hosts
from plimsoll_dashboards.meta import meta
from plimsoll_dashboards.storage import storage
from plimsoll_dashboards.table import one_table

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "storage": storage,
    "table": one_table,
    "containers": containers,
    "container": container,
    "hosts": hosts,
    "agents": agents,
    "alerts": alerts,
    "history": history,
    "meta": meta,
}
"""By the name of the file."""


def dashboards() -> dict[str, str]:
    """Give the JSON of each dashboard by the name of its file."""
    return {f"{name}.json": as_text(build()) for name, build in DASHBOARDS.items()}
