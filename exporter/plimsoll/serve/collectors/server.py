"""Whether a server answers, and which databases it has: asked at every scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, LabelTemplate, Page
from plimsoll.serve.settings.postgres import DatabaseSettings
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.sql import statement
from plimsoll.serve.state.postgres import Database, ServerState

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
        self._rows: list[Row] | None = None
        self._job = Job(self.name, state.settings.name, labels, 0, self._look)

    def jobs(self) -> Iterable[Job]:
        """Give the probe."""
        return (self._job,)

    async def _look(self) -> None:
        async with self._state.server.connect() as connection:
            rows = await connection.read(_STATEMENT)
            self._state.own_datname = connection.datname
        if rows != self._rows:  # otherwise nobody needs to look again at thousands of names
            self._rows = rows
            self._state.databases, self._state.left_out = sort_out(rows, self._state.settings.databases)

    def emit(self, page: Page, known: ServerState) -> None:
        """Publish whether the server is up, and the databases that are left out."""
        if known.up is not None:
            page.add(UP, [(self._up_labels, int(known.up))])
        if known.databases or known.left_out:
            page.add(LEFT_OUT, [(self._reason_labels(reason), known.left_out[reason]) for reason in _REASONS])


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
