"""Two Alertmanagers that are a cluster, each with a relay of its own, one receiver and one history."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fix_postgres import Database, fresh_database
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.service import LOOPBACK, Service, free_port
from relaying import (
    Page,
    Post,
    Receiver,
    Rule,
    deliveries,
    page,
    prometheus,
    receiver,
    relaying,
    write_routes,
    write_rules,
)
from reloading import ALONE, alertmanager, reload
from sending import QUIET
from serving import Serving, serving
from waiting import eventually
from ways import flush, total

pytestmark = pytest.mark.long

PATIENCE = "2s"
"""How long the second Alertmanager waits for word of the first; longer than a busy machine takes."""

WAITS = {"group_interval": "4s"}
"""Longer than that, as it is in real life: else what the second one was about to tell is old by then."""

GRACE = "6s"
"""Longer than both, too."""

HASTY = ["--cluster.gossip-interval=50ms", "--cluster.settle-timeout=1s", "--cluster.probe-interval=500ms"]
ALERTS = ("Healthy", "RelayDies", "RelaysRestart", "AlertmanagerDies")
LONG = 90
"""Seconds, at most, until somebody is told; a notification that nobody takes is tried for 10 s."""


@dataclass
class Side:
    """An Alertmanager and its relay."""

    alertmanager: Service
    relay: Serving
    directory: Path
    """The relay's."""

    @property
    def position(self) -> float:
        """How many others Alertmanager lets go first."""
        return total(self.alertmanager.url, "alertmanager_peer_position")


@dataclass
class World:
    """What fires, two sides that tell of it, and who is told."""

    page: Page
    receiver: Receiver
    database: Database
    programs: ExitStack
    sides: list[Side] = field(default_factory=list)

    def fire(self, name: str) -> list[Post]:
        """Let an alert fire, and wait until that is told once more than before."""
        return self._told(name, "firing", 1.0)

    def resolve(self, name: str) -> list[Post]:
        """Let it resolve, and wait until that is told once more than before."""
        return self._told(name, "resolved", 0.0)

    def _told(self, name: str, status: str, value: float) -> list[Post]:
        before = self.ids(name, status)
        self.page.series[f'alert="{name}",server="db"'] = value
        eventually(lambda: self.ids(name, status) - before, LONG)
        return self.receiver.told(name, status)

    def ids(self, name: str, status: str) -> set[str]:
        """Give the identities of what was told; all of it is signed."""
        posts = self.receiver.told(name, status)
        for post in posts:
            post.verify()
        return {post.id for post in posts}

    def flush(self) -> None:
        """Wait until both Alertmanagers have looked again whether anybody has to be told."""
        for side in self.sides:
            flush(side.alertmanager.url, 1)

    def lives(self, name: str) -> list[str]:
        """Give how the rows of an alert stand, the oldest first."""
        query = "SELECT status FROM plimsoll.alert WHERE alertname = %s ORDER BY created_at"
        with self.database.connect() as session:
            return [status for (status,) in session.execute(query, [name])]

    def attempts(self) -> Counter[tuple[str, str]]:
        """Give what the history says of deliveries: how many by webhook-id and result."""
        with self.database.connect() as session:
            return Counter(session.execute("SELECT webhook_id, result FROM plimsoll.delivery").fetchall())

    def has_copies(self) -> bool:
        """Say whether the receiver has been told everything twice."""
        return set(Counter(post.id for post in self.receiver.posts).values()) == {2}

    def in_turn(self) -> list[Side]:
        """Give the sides, the one that tells first before the other."""
        return sorted(self.sides, key=lambda side: side.position)

    def revive(self, side: Side) -> None:
        """Start a relay again, where it was."""
        address = f"--web.listen-address={urlsplit(side.relay.url).netloc}"
        again = serving(side.directory / "plimsoll.yml", side.directory, address, command="relay")
        side.relay = self.programs.enter_context(again)


@contextmanager
def world(directory: Path, server: PostgresServer, *, clustered: bool) -> Iterator[World]:
    with ExitStack() as stack:
        database = stack.enter_context(contextmanager(fresh_database)(server))
        running = World(stack.enter_context(page()), stack.enter_context(receiver()), database, stack)
        peers = [stack.enter_context(peer) for peer in cluster(directory, clustered=clustered)]
        urls = [peer.url for peer in peers]
        write_rules(directory, *map(Rule, ALERTS))
        judge = stack.enter_context(prometheus(directory, running.page, urls)).url
        dsn = database.server.dsn(database.name)
        for number, peer in enumerate(peers):
            folder = directory / f"relay-{number}"
            webhooks = {"ops": running.receiver.url}
            relay = stack.enter_context(relaying(folder, webhooks, urls, judge, grace=GRACE, history=dsn))
            waits = WAITS if clustered else {}
            write_routes(directory / f"{number}" / "alertmanager.yml", relay.url, "ops", **waits)
            reload(peer)
            running.sides.append(Side(peer, relay, folder))
        eventually(
            lambda: all(total(url, "alertmanager_cluster_members") == 2 for url in urls) or not clustered
        )
        yield running


def cluster(directory: Path, *, clustered: bool) -> Iterator[AbstractContextManager[Service]]:
    """Give two Alertmanagers, to be started; without a cluster neither knows of the other."""
    ports = [free_port() for _ in range(2)]
    for number, port in enumerate(ports):
        folder = directory / str(number)
        folder.mkdir()
        (folder / "alertmanager.yml").write_text(QUIET)
        others = [f"--cluster.peer={LOOPBACK}:{other}" for other in ports[:number]]
        flags = [f"--cluster.listen-address={LOOPBACK}:{port}", f"--cluster.peer-timeout={PATIENCE}", *HASTY]
        yield alertmanager(
            folder / "data",
            folder / "alertmanager.yml",
            cluster=[*flags, *others] if clustered else [ALONE],
        )


def has_ended(side: Side) -> bool:
    """Say whether Alertmanager has ended what it began while the relay was away: it took it, or not in time.

    The cluster knows one thing of a group: what was told last. A late copy of what was before would let it
    forget what the other side has told meanwhile.
    """
    given_up = total(side.alertmanager.url, "alertmanager_notifications_failed_total", integration="webhook")
    return bool(given_up or deliveries(side.relay, "ops"))


def kill(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, newest_postgres: PostgresServer) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cluster"), newest_postgres, clustered=True) as running:
        yield running


def test_a_cluster_tells_once_and_each_life_is_one_row(whole: World) -> None:
    name = "Healthy"
    whole.fire(name)
    whole.flush()
    eventually(lambda: whole.lives(name) == ["open"])
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved"])
    whole.fire(name)
    whole.flush()
    eventually(lambda: whole.lives(name) == ["resolved", "open"])
    posts = [*whole.receiver.posts]  # whatever the second side had told of the former ones would be here
    assert [post.alerts for post in posts] == [
        [(name, status)] for status in ("firing", "resolved", "firing")
    ]
    assert len({post.id for post in posts}) == 3
    assert whole.attempts() == dict.fromkeys([(post.id, "delivered") for post in posts], 1)
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved", "resolved"])


def test_when_a_relay_dies_the_other_side_tells(whole: World) -> None:
    name = "RelayDies"
    whole.fire(name)
    eventually(lambda: whole.lives(name) == ["open"])
    first, second = whole.in_turn()
    kill(first.relay.process)
    told = deliveries(second.relay, "ops").get("delivered", 0)
    whole.resolve(name)
    eventually(lambda: deliveries(second.relay, "ops").get("delivered", 0) > told)
    eventually(lambda: whole.lives(name) == ["resolved"])
    whole.revive(first)
    eventually(lambda: has_ended(first), LONG)
    whole.fire(name)
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved", "resolved"])


def test_relays_restarted_between_two_lives_know_them_apart(whole: World) -> None:
    name = "RelaysRestart"
    whole.fire(name)
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved"])
    for side in whole.sides:
        kill(side.relay.process)
    for side in whole.sides:
        whole.revive(side)
    whole.fire(name)
    eventually(lambda: whole.lives(name) == ["resolved", "open"])
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved", "resolved"])


def test_when_an_alertmanager_dies_the_other_side_tells(whole: World) -> None:
    name = "AlertmanagerDies"
    whole.fire(name)
    eventually(lambda: whole.lives(name) == ["open"])
    first, second = whole.in_turn()
    kill(first.alertmanager.process)
    told = deliveries(second.relay, "ops").get("delivered", 0)
    whole.resolve(name)
    eventually(lambda: whole.lives(name) == ["resolved"])
    whole.fire(name)
    whole.resolve(name)
    assert deliveries(second.relay, "ops")["delivered"] >= told + 3
    eventually(lambda: whole.lives(name) == ["resolved", "resolved"])


def test_parted_both_tell_and_the_receiver_knows_the_copies(
    tmp_path: Path, newest_postgres: PostgresServer
) -> None:
    name = "Healthy"
    with world(tmp_path, newest_postgres, clustered=False) as parted:
        for change in (parted.fire, parted.resolve) * 2:
            change(name)
            eventually(parted.has_copies)
        eventually(lambda: parted.lives(name) == ["resolved", "resolved"])
        copies = Counter(post.id for post in parted.receiver.posts)
        assert list(copies.values()) == [2] * 4
        eventually(lambda: parted.attempts() == {(each, "delivered"): 2 for each in copies})
        for side in parted.sides:
            assert deliveries(side.relay, "ops") == {"delivered": 4}
