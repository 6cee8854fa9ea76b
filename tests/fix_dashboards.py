"""The world that dashboards are tested on, built once for all workers of a session.

With PLIMSOLL_WORLD=FOLDER the world is kept there, and the next session finds it, which helps when one writes
dashboards. Without it, the world is pytest's own, and goes with its temporary folders.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boards import Board, Data
from dashboard_world import build, opened
from fix_postgres import fresh_database
from plimsoll.demo.postgres import PostgresServer

OpenBoard = Callable[[str], Board]


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Build the world, unless another worker has or does; give the folder in which it is kept."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = Path(os.environ.get("PLIMSOLL_WORLD") or shared / "world").absolute()
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            build(folder)
    return folder


@pytest.fixture(scope="session")
def world(world_folder: Path, newest_postgres: PostgresServer) -> Iterator[Data]:
    """Give what is asked of the world, by a Prometheus and a database of this worker's own."""
    with (
        contextmanager(fresh_database)(newest_postgres) as database,
        opened(world_folder, newest_postgres, database.name) as data,
    ):
        yield data


@pytest.fixture(scope="session")
def open_board(world: Data) -> OpenBoard:
    """Give a function that opens a dashboard by the name of its file, such as `storage`."""
    return lambda name: Board.open(name, world)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process at a time go on; the lock ends with its process, however that ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
