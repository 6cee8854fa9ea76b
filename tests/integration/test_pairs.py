"""Of two exporters, Prometheus, Alertmanagers and relays any may die: who is to be told is told.

They run as docs/scaling.md says.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fix_postgres import Database, fresh_database
from pairing import ALERT, KINDS, TIMEOUT, Machine, Pair, Watched, pair
from plimsoll.demo.postgres import PostgresServer
from relaying import Post, Receiver, receiver
from waiting import eventually
from ways import total

pytestmark = pytest.mark.pairs

LONG = 90
STEADY, ONE, OTHER = "steady", "one", "other"
TOO_LARGE = 51 * 1024**3


@dataclass
class Ballast:
    """A sparse file that makes a database as large as an alert needs, and takes no space."""

    database: Database

    @property
    def _file(self) -> Path:
        with self.database.connect() as session:
            (oid,) = session.execute(
                "SELECT oid FROM pg_database WHERE datname = current_database()"
            ).fetchone() or (0,)
        return self.database.server.data / "base" / str(oid) / "ballast"

    def load(self) -> None:
        """Let the alert fire."""
        self._file.touch()
        os.truncate(self._file, TOO_LARGE)

    def drop(self) -> None:
        """Let it resolve."""
        self._file.unlink()


@dataclass
class World:
    """What is watched, two of each, who is told, and what should have been told."""

    ballast: dict[str, Ballast]
    history: Database
    pair: Pair
    receiver: Receiver
    due: dict[str, tuple[str, float]] = field(default_factory=dict)
    """How each alert changed last, and when, by server."""
    firing: set[str] = field(default_factory=set)
    died: set[tuple[str, str]] = field(default_factory=set)
    """What was killed, by kind and machine."""

    def fire(self, server: str) -> None:
        self.due[server] = "firing", time.time()
        self.ballast[server].load()
        self.firing.add(server)

    def resolve(self, server: str) -> None:
        self.due[server] = "resolved", time.time()
        self.ballast[server].drop()
        self.firing.discard(server)

    def is_told(self) -> bool:
        """Say whether the receiver knows how each alert changed last; the same in a former life is not it."""
        told = [change for post in [*self.receiver.posts] for change in changes_in(post)]
        return all(
            any(each.server == server and each.status == status and each.at >= since for each in told)
            for server, (status, since) in self.due.items()
        )

    def has_both(self, kind: str) -> bool:
        """Say whether there are two of a kind that know what they have to, so that one can do without."""
        machines = self.pair.machines
        if kind == "exporter":
            return all(machine.measured() == len(self.ballast) for machine in machines)
        if kind == "prometheus":
            return all(machine.firing() == self.firing for machine in machines)
        urls = [machine.url("alertmanager") for machine in machines]
        return all(machine.listed() == self.firing for machine in machines) and all(
            total(url, "alertmanager_cluster_members") == 2 for url in urls
        )

    def first(self) -> Machine:
        """Give the machine whose Alertmanager tells; the other's waits whether it does."""
        return min(
            self.pair.machines,
            key=lambda machine: total(machine.url("alertmanager"), "alertmanager_peer_position"),
        )

    def swap(self) -> None:
        """Let the one of two alerts that fires resolve, and the other fire."""
        ending = ONE if ONE in self.firing else OTHER
        self.fire(OTHER if ending == ONE else ONE)
        self.resolve(ending)

    @contextmanager
    def without(self, machine: Machine, kind: str) -> Iterator[None]:
        """Kill a process; start it again when all was told."""
        machine.parts[kind].kill()
        self.died.add((kind, machine.name))
        yield
        eventually(self.is_told, LONG)
        machine.parts[kind].start()

    def kill(self, kind: str, machine: Machine) -> None:
        """Kill a process, and let one alert begin and one end after it."""
        eventually(lambda: self.has_both(kind), LONG)
        with self.without(machine, kind):
            killed = time.time()
            self.swap()
            if kind == "prometheus":
                eventually(lambda: self.is_kept(killed + TIMEOUT), LONG)
                machine.forget()

    def is_kept(self, since: float) -> bool:
        """Say whether both Alertmanagers were sent since then what goes on to fire."""
        return all(refreshed(machine, STEADY) > since for machine in self.pair.machines)

    def kill_while_it_tells(self, kind: str) -> None:
        """Kill what is telling the receiver of a change, which has come to the receiver already."""
        eventually(lambda: self.has_both(kind), LONG)
        machine = self.first()
        before = len(self.receiver.posts)
        self.receiver.answers.append("hang")
        self.swap()
        eventually(lambda: len(self.receiver.posts) > before, LONG)
        under_way = self.receiver.posts[before]
        with self.without(machine, kind):
            eventually(lambda: self.copies(under_way) > 1, LONG)

    def copies(self, post: Post) -> int:
        return Counter(each.id for each in self.receiver.posts)[post.id]


class Change(NamedTuple):
    """What a notification says of an alert of ours."""

    server: str
    status: str
    at: float


def changes_in(post: Post) -> list[Change]:
    """Give what a notification says of our alerts; no replica is named."""
    alerts: list[dict[str, Any]] = json.loads(post.body)["alerts"]
    assert not [alert for alert in alerts if "replica" in alert["labels"]]
    return [
        Change(alert["labels"]["server"], alert["status"], datetime.fromisoformat(at).timestamp())
        for alert in alerts
        if alert["labels"]["alertname"] == ALERT
        for at in [alert["startsAt" if alert["status"] == "firing" else "endsAt"]]
    ]


def refreshed(machine: Machine, server: str) -> float:
    """Say when its Alertmanager was last sent an alert."""
    (alert,) = (each for each in machine.alertmanager.alerts() if each["labels"].get("server") == server)
    return datetime.fromisoformat(alert["updatedAt"]).timestamp()


@pytest.fixture
def world(tmp_path: Path, newest_postgres: PostgresServer) -> Iterator[World]:
    with ExitStack() as stack:

        def fresh() -> Database:
            return stack.enter_context(contextmanager(fresh_database)(newest_postgres))

        databases = {name: fresh() for name in (STEADY, ONE, OTHER)}
        history = fresh()
        told = stack.enter_context(receiver())
        servers = {name: (database.dsn("postgres"), database.name) for name, database in databases.items()}
        watched = Watched(servers, newest_postgres.dsn(history.name), told.url)
        ballast = {name: Ballast(database) for name, database in databases.items()}
        yield World(ballast, history, stack.enter_context(pair(tmp_path, watched)), told)


def test_whichever_dies_all_is_told(world: World) -> None:
    world.fire(STEADY)
    world.fire(ONE)
    eventually(world.is_told, LONG)

    for machine in world.pair.machines:
        world.kill("prometheus", machine)
        for kind in ("relay", "alertmanager"):  # an Alertmanager that comes back is second to the other
            world.kill_while_it_tells(kind)
        world.kill("exporter", machine)
    assert world.died == {(kind, machine.name) for kind in KINDS for machine in world.pair.machines}

    eventually(lambda: world.has_both("prometheus"), LONG)
    told = [change for post in world.receiver.posts for change in changes_in(post)]
    assert not [change for change in told if (change.server, change.status) == (STEADY, "resolved")]
    for server in sorted(world.firing):
        world.resolve(server)
    eventually(world.is_told, LONG)
    for post in world.receiver.posts:
        post.verify()
