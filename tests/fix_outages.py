"""Everything around a relay, for tests that let some of it go away, and what they check of the history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fix_postgres import MAJORS, found
from outages import PATIENCE, Site, mend, now, site
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import workspace
from remembered import Row
from waiting import eventually

SLACK = timedelta(seconds=5)
"""The last evaluation before something: they are a second apart, and a busy machine leaves some out."""


@pytest.fixture(scope="module")
def running(postgres_binaries: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        workspace() as folder,
        PostgresServer(found(postgres_binaries, MAJORS[-1]), folder / "history") as server,
        site(tmp_path_factory.mktemp("site"), server) as started,
    ):
        yield started


@pytest.fixture
def all_there(running: Site) -> Site:
    """Give everything as it was at the start."""
    mend(running)
    eventually(lambda: running.relay.now.scrape().get("plimsoll_history_up") == 1, PATIENCE)
    return running


def goes_on(before: Row, after: Row) -> None:
    """Check that a life is the same, and taken by the same person since the same moment."""
    assert (after.id, after.created_at, after.taken) == (before.id, before.created_at, before.taken)


def resolved(row: Row, after: datetime, before: datetime) -> None:
    """Check when a life ended."""
    assert row.resolved_at is not None
    assert after - SLACK <= row.resolved_at <= before


def resolved_as_taken(row: Row, taken: Row) -> None:
    """Check that who took it stays, though Alertmanager never told that it resolved."""
    assert (row.id, row.acknowledged_at, row.acknowledged_by) == (taken.id, taken.acknowledged_at, "ann")
    assert (row.status, row.auto_resolved) == ("resolved", True)
    assert row.acknowledged_at is not None
    assert row.resolved_at is not None
    assert row.created_at <= row.acknowledged_at <= row.resolved_at


def open_and_taken(all_there: Site, opened: str, taken: str, name: str = "Disk") -> tuple[Row, Row]:
    """Let two alerts fire, one of which is acknowledged, and give their rows."""
    all_there.fire(opened, taken, name=name)
    all_there.tells("firing", opened, taken)
    all_there.acknowledge(taken)
    all_there.has("open", opened)
    all_there.has("acknowledged", taken)
    return all_there.row(opened), all_there.row(taken)


def end_both(all_there: Site, opened: Row, taken: Row, servers: tuple[str, str]) -> None:
    """Let two alerts resolve, and check how their rows end."""
    ended_at = all_there.end(*servers)
    all_there.has("resolved", *servers)
    first, second = (all_there.row(server) for server in servers)
    assert first.id == opened.id
    resolved(first, ended_at, now())
    resolved(second, ended_at, now())
    resolved_as_taken(second, taken)
    eventually(lambda: all_there.silence(servers[1]) is None, PATIENCE)
