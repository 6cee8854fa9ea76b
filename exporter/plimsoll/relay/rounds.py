"""One look after another: what fires, who has taken it, what has to be done, what is worth remembering."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import structlog

from plimsoll.relay.acknowledging.keeper import Keeper
from plimsoll.relay.counts import Count, Counts
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.lives.life import Life
from plimsoll.relay.lives.look import Firing, Notice
from plimsoll.relay.lives.tracker import Tracker
from plimsoll.relay.memory import Memory
from plimsoll.relay.notification import Notification
from plimsoll.relay.repeats import DEFAULT_REPEAT
from plimsoll.relay.settings import Settings
from plimsoll.relay.witnesses import Heard, Witnesses

_log = structlog.get_logger(__name__)

_MOST_PASSED_ON = 20_000
"""Alerts that are passed on between two looks and noted, at most."""

_FARTHEST = timedelta(days=7)
"""How far back Prometheus' series are looked through."""

_PAUSE = timedelta(minutes=5)
"""Time without a look at Prometheus' series that is worth a word."""

_PRUNE_EVERY = timedelta(hours=1)


class Rounds:
    """Looks at everything at intervals, one round at a time.

    Args:
        session: asks Alertmanager and Prometheus.
        settings: whom to ask, how often, and where the history is.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._witnesses = Witnesses(session, settings)
        self._tracker = Tracker(timedelta(seconds=settings.relay.grace))
        self._keeper = Keeper()
        self._memory = Memory()
        self.counts = Counts(self._memory)
        self._firing: deque[Firing] = deque(maxlen=_MOST_PASSED_ON)
        self._notices: deque[Notice] = deque(maxlen=_MOST_PASSED_ON)
        self._repeats: dict[str, float] = {}
        self._covered_until: datetime | None = None
        """Up to when Prometheus' series have been looked through."""
        self._has_recalled = False
        self._prune_at: datetime | None = None

    def follow(self, settings: Settings) -> None:
        """Go on with other settings from the next round on; what is known stays."""
        self._witnesses = Witnesses(self._session, settings)
        self._settings = settings
        self._tracker.grace = timedelta(seconds=settings.relay.grace)

    def seen(self, notification: Notification) -> None:
        """Note what is passed on."""
        now = datetime.now(tz=UTC)
        for told in notification.alerts:
            if told.ends_at is None:
                self._firing.append(Firing(told.alert, now))
            else:
                self._notices.append(Notice(told.alert, told.ends_at))

    def delivered(self, delivery: Delivery) -> None:
        """Note how a delivery went."""
        self._memory.delivered(delivery)

    def repeat_interval(self, receiver: str) -> float:
        """Give the seconds after which Alertmanager reminds a receiver."""
        return self._repeats.get(receiver, DEFAULT_REPEAT)

    async def run(self) -> None:
        """Go round until cancelled. A round that fails is told, and the next one tries again."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self.go_round(datetime.now(tz=UTC))
            except Exception:  # noqa: BLE001 - whatever it is, notifications go on
                _log.exception("a round failed")
            await asyncio.sleep(max(0.0, started + self._settings.relay.interval - loop.time()))

    async def stop(self) -> None:
        """Write what is known, and let go of the history."""
        if self._has_recalled:
            await self._memory.exchange(self._tracker.unresolved.values(), None, datetime.now(tz=UTC))
        await self._memory.close()

    async def go_round(self, now: datetime) -> None:
        """Look at everything once."""
        if await self._memory.follow(self._settings.history, self._settings.relay.grace):
            self._has_recalled = False
        if not self._has_recalled:
            await self._recall(now)
        heard = await self._hear(now)
        ended = self._tracker.judge(heard.look)
        self._memory.keep(ended)
        await self._acknowledge(heard, ended)
        self.counts.last = self._count(heard)
        if heard.look.judge is not None:
            self._tell(ended, now)
            self._covered_until = now
        if self._has_recalled:
            lives = self._tracker.unresolved.values()
            remembered = await self._memory.exchange(lives, self._covered_until, now)
            self._tracker.remember(*remembered or ((), None, {}))
        if self._prune_at is None or now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            await self._memory.prune(now)

    async def _recall(self, now: datetime) -> None:
        """Take over what the history knows, and look again from where it ends: with nothing known before."""
        remembered = await self._memory.recall(now)
        if remembered is None:
            return
        self._has_recalled = True
        covered = remembered.covered_until
        if covered is not None:
            self._covered_until = min(covered, self._covered_until or covered, now)
        self._tracker = Tracker(timedelta(seconds=self._settings.relay.grace))
        self._tracker.remember(*remembered)

    async def _hear(self, now: datetime) -> Heard:
        since = self._covered_until or now
        if since < now - _FARTHEST:
            since = now - _FARTHEST
            _log.warning("what fired and ended before cannot be known", before=since.isoformat())
        heard = await self._witnesses.hear(now, since)
        look = replace(heard.look, firing=_credible(self._firing, heard), notices=tuple(self._notices))
        self._firing.clear()
        self._notices.clear()
        if heard.repeat_intervals is not None:
            self._repeats = dict(heard.repeat_intervals)
        return replace(heard, look=look)

    async def _acknowledge(self, heard: Heard, ended: Sequence[Life]) -> None:
        acknowledgements = await self._keeper.keep(
            heard,
            self._tracker.unresolved,
            ended,
            self._settings.relay.acknowledgement,
            self._witnesses.alertmanagers,
        )
        self._tracker.acknowledge(acknowledgements)

    def _count(self, heard: Heard) -> Count:
        silenced = {key for key, silences in heard.silenced.items() if silences}
        return Count(
            heard.look.at,
            tuple(self._tracker.unresolved.values()),
            silenced | heard.inhibited,
            heard.silences,
            dict(self._witnesses.answers),
        )

    def _tell(self, ended: Sequence[Life], now: datetime) -> None:
        """Say what was learnt after a pause, and what was not."""
        if self._covered_until is None or now - self._covered_until < _PAUSE:
            return
        _log.info(
            "caught up with Prometheus",
            since=self._covered_until.isoformat(),
            unresolved=len(self._tracker.unresolved),
            ended=len(ended),
            ended_without_texts=sum(life.alert.annotations is None for life in ended),
        )


def _credible(firing: Iterable[Firing], heard: Heard) -> list[Firing]:
    """Believe of what no Alertmanager lists only that it began to fire.

    A notification that nobody takes is repeated for minutes, though its alerts resolve meanwhile.
    """
    listed = {alert.identity for alert in heard.look.listed}
    return [
        each
        if heard.silences is None or each.alert.identity in listed
        else each._replace(at=min(each.at, each.alert.starts_at))
        for each in firing
    ]
