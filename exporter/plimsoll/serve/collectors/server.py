"""Whether a server answers, and which databases it has: asked at every scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page
from plimsoll.serve.settings import DatabaseSettings
from plimsoll.serve.sources.postgres import Row
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state import Database, ServerState

UP = Family("pg_up", "gauge", "Whether the server answered during this scrape.", ("server",))
LEFT_OUT = Family(
    "pg_databases_left_out",
    "gauge",
    "Databases that are not measured because of what they are, or because the configuration says so.",
    ("server", "reason"),
)
_REASONS = ("template", "no_connections", "excluded")
_STATEMENT = statement("server")


class ServerCollector:
    """Connects, and reads the list of databases."""

    name: ClassVar[str] = "server"
    families: ClassVar[tuple[Family, ...]] = (UP, LEFT_OUT)

    def __init__(self, state: ServerState) -> None:
        self._state = state
        labels = state.settings.target_labels
        self._up_labels = LabelTemplate(labels)()
        self._reason_labels = LabelTemplate(labels, ("reason",))
        self._probe = Job(self.name, state.settings.name, labels, 0, self._look)

    def jobs(self) -> Iterable[Job]:
        """Give the probe."""
        return (self._probe,)

    async def _look(self) -> None:
        async with self._state.server.connect() as connection:
            rows = await connection.read(_STATEMENT)
        self._state.databases, self._state.left_out = sort_out(rows, self._state.settings.databases)

    def emit(self, page: Page) -> None:
        """Publish `pg_up` of this scrape only: 0 while the answer is still awaited.

        With max_connections of 1, our own work may keep us from asking; then it is absent.
        """
        if self._probe.running:
            if not self._state.server.is_crowded:
                page.add(UP, [(self._up_labels, 0)])
        elif self._probe.success is not None:
            page.add(UP, [(self._up_labels, int(self._probe.success))])
        if self._state.databases or self._state.left_out:
            counts = self._state.left_out
            page.add(LEFT_OUT, [(self._reason_labels(reason), counts[reason]) for reason in _REASONS])


def sort_out(rows: Iterable[Row], settings: DatabaseSettings) -> tuple[tuple[Database, ...], Counter[str]]:
    """Divide the databases of a server into those to watch, and counts of the others by reason."""
    watched = []
    left_out: Counter[str] = Counter()
    for oid, name, is_template, allows_connections, may_connect in rows:
        if is_template:
            left_out["template"] += 1
        elif not allows_connections:
            left_out["no_connections"] += 1
        elif not settings.wanted(name):
            left_out["excluded"] += 1
        else:
            watched.append(Database(oid, name, bool(may_connect)))
    return tuple(watched), left_out
