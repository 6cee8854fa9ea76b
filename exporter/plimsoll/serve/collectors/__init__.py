"""The collectors of a PostgreSQL server: one file each, and this tuple of them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from plimsoll.serve.collectors.databases import DatabasesCollector
from plimsoll.serve.collectors.server import ServerCollector
from plimsoll.serve.collectors.tables import TablesCollector
from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, Page
from plimsoll.serve.state import ServerState


class Collector(Protocol):
    """Measures one thing about a server into its state, and publishes it from there.

    The name is that of the file, of the label `collector`, and of the key in the configuration.
    """

    name: ClassVar[str]
    families: ClassVar[tuple[Family, ...]]

    def __init__(self, state: ServerState) -> None: ...

    def jobs(self) -> Iterable[Job]:
        """Give what there is to do at present, due or not."""

    def emit(self, page: Page, known: ServerState) -> None:
        """Add samples of what is known. Runs in another thread, on a snapshot of the state."""


COLLECTORS: tuple[type[Collector], ...] = (ServerCollector, DatabasesCollector, TablesCollector)
"""The first finds out what is there; the others run when it has succeeded."""
