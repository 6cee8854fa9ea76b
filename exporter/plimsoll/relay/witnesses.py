"""Asks everybody who knows of alerts, at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import aiohttp
import structlog

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.alert import identity
from plimsoll.relay.lives.look import Judge, Look
from plimsoll.relay.lives.runs import Run
from plimsoll.relay.repeats import repeat_intervals
from plimsoll.relay.settings import Settings
from plimsoll.relay.sources.alertmanager import Alertmanager, Listed, Running, Silence, merged
from plimsoll.relay.sources.prometheus import TOLERANCE, Prometheus

_log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_OVERLAP = timedelta(seconds=TOLERANCE)
"""How far before the last look Prometheus' series are read again, so that runs are seen to go on."""


_CATCHING_UP = 120.0
"""Seconds that reading Prometheus' series may take, for nothing else is done meanwhile."""


class _Told(NamedTuple):
    """What one Alertmanager says."""

    running: Running
    alerts: Sequence[Listed]
    silences: Sequence[Silence]


class _Judged(NamedTuple):
    """What Prometheus says."""

    judge: Judge
    runs: Sequence[Run]


@dataclass(frozen=True)
class Heard:
    """What was heard: the look at alerts, and what else Alertmanager says; None where none answered.

    `silences` has them by id, and `silenced` the ids of those that silence an alert, by its identity, for all
    that are listed.
    """

    look: Look
    silences: Mapping[str, Silence] | None
    silenced: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inhibited: frozenset[str] = frozenset()
    repeat_intervals: Mapping[str, float] | None = None


class Witnesses:
    """Every Alertmanager, and Prometheus."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self.alertmanagers = Alertmanager.members(session, settings.alertmanager)
        self._prometheus = Prometheus(session, settings.prometheus.url, access=settings.prometheus)
        self._tolerance = min(TOLERANCE, settings.relay.grace)
        """Seconds of a break in a series that is none: what is gone for longer than the grace is over."""
        self.answers: dict[tuple[str, str], bool] = {}
        """Whether each answered when it was last asked, by what it is and its URL."""
        self._ignored: tuple[str, ...] = ()

    async def hear(self, at: datetime, since: datetime) -> Heard:
        """Ask all of them.

        Args:
            at: the time.
            since: from when on Prometheus' series are of interest.
        """
        told, judged = await asyncio.gather(
            asyncio.gather(
                *(self._answer("alertmanager", peer.url, _ask(peer)) for peer in self.alertmanagers)
            ),
            self._answer("prometheus", self._prometheus.url, self._judge(since, at)),
        )
        return _heard(at, [each for each in told if each], judged)

    async def _judge(self, since: datetime, until: datetime) -> _Judged:
        started_at = await self._prometheus.started_at()  # who does not answer this is not asked for more
        shown, runs = await asyncio.gather(self._prometheus.now(), self._runs(since, until))
        judge = Judge(started_at, _identities(shown.firing), _identities(shown.pending))
        return _Judged(judge, () if self._is_relabelled() else runs)

    async def _runs(self, since: datetime, until: datetime) -> Sequence[Run]:
        """Read the series since some time, or only the last ones if that takes too long."""
        try:
            async with asyncio.timeout(_CATCHING_UP):
                return await self._prometheus.runs(since - _OVERLAP, until, self._tolerance)
        except TimeoutError:
            _log.warning(
                "Prometheus is too slow: what fired and ended cannot be known", since=since.isoformat()
            )
            return await self._prometheus.runs(until - _OVERLAP, until, self._tolerance)

    def _is_relabelled(self) -> bool:
        """Say whether Prometheus' series may have other labels than the alerts that Alertmanager lists."""
        ignored = self._prometheus.ignored
        if ignored != self._ignored:
            _log.warning(
                "alerts are relabelled in a way that is not followed, so ALERTS is not",
                actions=",".join(ignored),
            )
        self._ignored = ignored
        return bool(ignored)

    async def _answer(self, source: str, url: str, asked: Awaitable[Answer]) -> Answer | None:
        """Give an answer, or None; that it changes whether somebody answers is told once."""
        try:
            answer = await asked
        except PeerError as error:
            if self.answers.get((source, url)) is not False:
                _log.warning(
                    "no answer; nothing is taken for resolved meanwhile",
                    source=source,
                    url=url,
                    error=str(error),
                )
            self.answers[source, url] = False
            return None
        if self.answers.get((source, url)) is False:
            _log.info("answers again", source=source, url=url)
        self.answers[source, url] = True
        return answer


async def _ask(peer: Alertmanager) -> _Told:
    running = await peer.status()  # who does not answer this is not asked for more
    alerts, silences = await asyncio.gather(peer.alerts(), peer.silences())
    return _Told(running, alerts, silences)


def _heard(at: datetime, told: Sequence[_Told], judged: _Judged | None) -> Heard:
    listed = [each for one in told for each in one.alerts]
    look = Look(
        at,
        listed=[each.alert for each in listed],
        alertmanager_started_at=min((one.running.started_at for one in told), default=None),
        judge=judged.judge if judged else None,
        runs=judged.runs if judged else (),
    )
    if not told:
        return Heard(look, None)
    silenced: dict[str, frozenset[str]] = {}
    for each in listed:
        key = each.alert.identity
        silenced[key] = silenced.get(key, frozenset()) | each.silenced_by
    return Heard(
        look,
        merged(one.silences for one in told),
        silenced,
        frozenset(each.alert.identity for each in listed if each.inhibited),
        _shortest(repeat_intervals(one.running.configuration) for one in told),
    )


def _shortest(intervals: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in intervals:
        for receiver, seconds in one.items():
            found[receiver] = min(seconds, found.get(receiver, seconds))
    return found


def _identities(alerts: Iterable[Mapping[str, str]]) -> frozenset[str]:
    return frozenset(identity(labels) for labels in alerts)
