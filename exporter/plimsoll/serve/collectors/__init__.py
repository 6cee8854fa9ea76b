"""The collectors: one file each, and a tuple of them all for each kind of target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, TypeVar

from plimsoll.serve.collectors.containers import ContainersCollector
from plimsoll.serve.collectors.databases import DatabasesCollector
from plimsoll.serve.collectors.server import ServerCollector
from plimsoll.serve.collectors.sql import SqlCollector
from plimsoll.serve.collectors.tables import TablesCollector
from plimsoll.serve.collectors.usage import UsageCollector
from plimsoll.serve.jobs import Job
from plimsoll.serve.metrics import Family, Page
from plimsoll.serve.state.containers import EngineState
from plimsoll.serve.state.postgres import ServerState

State = TypeVar("State", contravariant=True)


class Collector(Protocol[State]):
    """Measures one thing about a target into its state, and publishes it from there.

    The name is that of the file, of the label `collector`, and of the key in the configuration.
    """

    name: ClassVar[str]
    families: ClassVar[tuple[Family, ...]]

    def __init__(self, state: State) -> None: ...

    def jobs(self) -> Iterable[Job]:
        """Give what there is to do at present, due or not."""

    def emit(self, page: Page, known: State) -> None:
        """Add samples of what is known. Runs in another thread, on a copy of the state."""


OF_POSTGRES: tuple[type[Collector[ServerState]], ...] = (
    ServerCollector,
    DatabasesCollector,
    TablesCollector,
    SqlCollector,
)
OF_ENGINES: tuple[type[Collector[EngineState]], ...] = (ContainersCollector, UsageCollector)
"""The first of each finds out what is there; the others run when it has succeeded."""

COLLECTORS: tuple[type[Collector[Any]], ...] = (*OF_POSTGRES, *OF_ENGINES)
