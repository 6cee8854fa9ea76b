"""Writes alerts and deliveries into the history, and reads back what has not ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history.link import Link
from plimsoll.relay.history.migrating import Migrated, apply
from plimsoll.relay.history.sql import query
from plimsoll.relay.history.statements import (
    Limits,
    Remembered,
    read,
    write_deliveries,
    write_lives,
    write_progress,
)
from plimsoll.relay.lives.life import Life
from plimsoll.relay.settings import HistorySettings

_log = structlog.get_logger(__name__)

_BATCH = 1000
"""Rows that are deleted at a time: whatever else the relay does goes on in between."""
_MOST = 5000
"""Lives that one transaction writes: a backlog gets shorter each time, however slow the database is."""
_BEHIND = 60.0
"""Seconds that last_seen_at may be behind: else every look would write every row, unchanged as it is."""
_EARLIEST = datetime.min.replace(tzinfo=UTC)

_PRUNE = (query("prune_alerts"), query("prune_deliveries"))


class Store:
    """The history in a database, which other relays write too.

    Whatever goes wrong is a HistoryError, and the next call connects anew.
    """

    def __init__(self, settings: HistorySettings, grace: float) -> None:
        """Take for how many seconds an alert must be gone before it counts as resolved."""
        self._settings = settings
        self._limits = Limits(timedelta(seconds=grace), timedelta(seconds=min(grace, _BEHIND)))
        self._link = Link(settings.conninfo)
        self._known: dict[str, Life] = {}

    async def exchange(
        self,
        lives: Sequence[Life],
        deliveries: Sequence[Delivery],
        covered_until: datetime | None,
        now: datetime,
    ) -> Remembered:
        """Write what is known here and give what is known there, in one transaction of 10 seconds at most.

        A life that goes on updates the row of its alert that is not resolved, or becomes one; a life that has
        ended resolves it. One whose row is resolved already is over, whoever tells late that it goes on;
        unless it was seen for longer than the grace afterwards: then it was resolved wrongly, and is opened
        again. Each delivery is written once, and `covered_until` never goes back. The same again writes
        nothing. The schema is made, or migrated, before. Of more than 5000 lives that are new, some are
        written before in transactions of their own.

        Raises:
            HistoryError: not all was written, or nobody knows; to write it again does no harm.
        """
        news = self._news(lives)
        self._known = {}
        while len(news) > _MOST:
            async with self._link.transaction() as session:
                migrated = await apply(session)
                await write_lives(session, news[:_MOST], self._limits, now)
            _tell(migrated)
            news = news[_MOST:]
        async with self._link.transaction() as session:
            migrated = await apply(session)
            await write_lives(session, news, self._limits, now)
            await write_deliveries(session, deliveries)
            if covered_until:
                await write_progress(session, covered_until, now)
            remembered = await read(session, now)
        _tell(migrated)
        self._known = {life.alert.identity: life for life in remembered.unresolved}
        return remembered

    async def prune(self, now: datetime) -> int:
        """Delete resolved alerts, and deliveries, that are too old or too many; give how many rows that were.

        An alert that resolved within the grace stays in any case: a relay that is late could bring it back.

        Raises:
            HistoryError: some, or all of them, are still there.
        """
        limits = {
            "oldest": _before(now, self._settings.retention),
            "youngest": now - self._limits.grace,
            "keep": self._settings.keep,
            "batch": _BATCH,
        }
        return sum([await self._prune(statement, limits) for statement in _PRUNE])

    async def migrate(self, target: int | None = None) -> Migrated:
        """Bring the schema to version `target`, or the newest; it takes as long as it takes.

        Raises:
            HistoryError: there is no such version, or the database refused; it is as it was before.
        """
        async with self._link.transaction(bounded=False) as session:
            migrated = await apply(session, target)
        _tell(migrated)
        return migrated

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    def _news(self, lives: Sequence[Life]) -> list[Life]:
        """Leave out what the history said itself when it was last read; in the order in which they began."""
        news = [life for life in lives if not self._knows(life)]
        return sorted(news, key=lambda life: life.alert.starts_at)

    def _knows(self, life: Life) -> bool:
        known = self._known.get(life.alert.identity)
        return (
            known is not None
            and not life.ended
            and life.alert == known.alert
            and life.acknowledgement == known.acknowledgement
            and life.last_seen < known.last_seen + self._limits.behind
        )

    async def _prune(self, statement: str, limits: dict[str, Any]) -> int:
        deleted, last = 0, _BATCH
        while last == _BATCH:
            async with self._link.transaction() as session:
                await apply(session)
                last = (await session.execute(statement.encode(), limits)).rowcount
            deleted += last
        return deleted


def _before(now: datetime, seconds: float) -> datetime:
    """Go back, but not beyond the beginning of time."""
    return _EARLIEST if seconds >= (now - _EARLIEST).total_seconds() else now - timedelta(seconds=seconds)


def _tell(migrated: Migrated) -> None:
    if migrated.before != migrated.after:
        _log.info("the history's schema was migrated", before=migrated.before, after=migrated.after)
