"""The world that dashboards are tested on: everything runs for some seconds, and then time stands still.

`build` starts PostgreSQL, Docker, the exporters, Prometheus, Alertmanager and the relay, lets things go
wrong, waits until all of it has been measured, judged and told, and ends everything. What Prometheus and the
history remember is kept in a folder. `opened` starts a Prometheus on a copy of it, that scrapes and judges
nothing, and fills a database: queries are asked as of the moment when the world stopped, so that they give
the same values whenever and wherever they are asked.

As a script it keeps a world open to be looked at: `PYTHONPATH=tests python tests/dashboard_world.py FOLDER`.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from asking import History, Prometheus
from boards import Data
from plimsoll.demo.postgres import PostgresServer, find_binaries
from plimsoll.demo.processes import workspace
from programs import run_prometheus
from world_building import RELAY_PAGE, Building
from world_history import restored

READER = "grafana"
"""The role that the documentation grants rights to, and its password."""


def build(folder: Path) -> None:
    """Let it all happen, and keep what is remembered of it in a folder that does not exist yet."""
    with workspace() as scratch:
        with ExitStack() as stack:
            world = Building(scratch, stack)
            world.start()
            at = world.wait()
        world.invent_calm()
        draft = folder.with_name(f"{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        shutil.copytree(scratch / "data", draft / "prometheus")
        shutil.copytree(scratch / "history", draft / "history")
        (draft / "at.json").write_text(json.dumps(at))
        draft.rename(folder)


@contextmanager
def opened(folder: Path, server: PostgresServer, database: str) -> Iterator[Data]:
    """Start a Prometheus on what was kept, and fill an empty database, which a reader may read."""
    at = float(json.loads((folder / "at.json").read_text()))
    restored(server.dsn(database), folder / "history")
    admit_reader(server, database)
    with workspace() as scratch:
        shutil.copytree(folder / "prometheus", scratch / "data")
        flags = (f"--storage.tsdb.path={scratch / 'data'}", "--storage.tsdb.retention.time=100y")
        with run_prometheus(scratch / "run", {}, *flags) as prometheus:
            yield Data(Prometheus(prometheus.url, at), History(server.dsn(database, READER, READER)))


def admit_reader(server: PostgresServer, database: str) -> None:
    """Give a role the rights that docs/relay.md says are enough to read, and no others."""
    (grants,) = re.findall(r"`(GRANT USAGE ON SCHEMA plimsoll TO grafana; [^`]*;)`", RELAY_PAGE.read_text())
    with psycopg.connect(server.dsn(database), autocommit=True) as session:
        if not session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone():
            session.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{READER}'".encode())
        session.execute(grants.encode())


def _show(folder: Path) -> None:
    """Keep a world open until Ctrl-C."""
    if not folder.exists():
        build(folder)
    with (
        workspace() as scratch,
        PostgresServer(find_binaries(), scratch / "postgresql") as server,
        opened(folder, server, "postgres") as data,
    ):
        print(f"{data.prometheus.url}  asked with time={data.now}\n{data.history.dsn}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    _show(Path(sys.argv[1]).absolute())
