"""Does what acknowledgements need: prolongs them, ends them, makes lost ones again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from plimsoll.alerts.peer import PeerError
from plimsoll.alerts.settings import AcknowledgementSettings
from plimsoll.relay.acknowledging.covering import Covering
from plimsoll.relay.acknowledging.keeping import Kept, Watched, keep, remembered
from plimsoll.relay.alert import Alert
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.sources.alertmanager import Alertmanager, Silence
from plimsoll.relay.sources.somewhere import somewhere
from plimsoll.relay.witnesses import Heard

_log = structlog.get_logger(__name__)

_LATELY = timedelta(hours=1)
"""How long the silences of what has resolved are looked for, in case they could not be ended at once."""

_UNCHANGED = "a silence could not be changed, and is tried again"


class Keeper:
    """Keeps acknowledgements while their alerts fire."""

    def __init__(self) -> None:
        self._former: Mapping[str, Silence] = {}
        self._resolved: list[Life] = []

    async def keep(
        self,
        heard: Heard,
        lives: Mapping[str, Life],
        ended: Sequence[Life],
        settings: AcknowledgementSettings,
        peers: Sequence[Alertmanager],
    ) -> dict[str, Acknowledgement | None]:
        """Do what is needed, and give who has taken which alert, by identity; None is nobody.

        Args:
            heard: what Alertmanager says.
            lives: those that are not over, by identity.
            ended: those that have ended since the last time.
            settings: for how long silences are made.
            peers: the Alertmanagers; one of them is told of each silence.
        """
        now = heard.look.at
        recent = [life for life in self._resolved if life.ended and life.ended.at > now - _LATELY]
        self._resolved = [*recent, *ended]
        kept = keep(
            heard.silences,
            [Watched(life, heard.silenced.get(key)) for key, life in lives.items()],
            self._resolved,
            former=self._former,
            settings=settings,
            now=now,
        )
        self._former = remembered(self._former, heard.silences, kept)
        await _do(kept, peers)
        await _tell_the_end(self._ends(kept.expire, lives), peers)
        return kept.acknowledgements

    def _ends(self, silences: Iterable[Silence], lives: Container[str]) -> list[tuple[Alert, datetime]]:
        """Give the alerts that silences were about, and when they resolved."""
        about = Covering(silences)
        return [
            (life.alert, life.ended.at)
            for life in self._resolved
            if life.ended and life.alert.identity not in lives and about.of(life.alert.labels)
        ]


async def _do(kept: Kept, peers: Sequence[Alertmanager]) -> None:
    peers = list(peers)
    for silence in kept.prolong:
        with _told_if_it_fails(_UNCHANGED):
            if await somewhere(peers, Alertmanager.prolong, silence):
                _log.debug("acknowledgement prolonged", **_described(silence))
            else:
                _log.info("acknowledgement had ended before it was prolonged", **_described(silence))
    for silence in kept.make:
        with _told_if_it_fails(_UNCHANGED):
            made = await somewhere(peers, Alertmanager.put, silence)
            _log.warning(
                "acknowledgement was lost, and is made again", **_described(replace(silence, id=made))
            )
    for silence in kept.expire:
        with _told_if_it_fails(_UNCHANGED):
            await somewhere(peers, Alertmanager.expire, silence.id)
            _log.info("acknowledgement ended, for its alert has resolved", **_described(silence))


async def _tell_the_end(ends: Sequence[tuple[Alert, datetime]], peers: Sequence[Alertmanager]) -> None:
    """Tell every Alertmanager that alerts have resolved which were silenced until now.

    Prometheus repeats that for a quarter of an hour only, and not when it was restarted. An Alertmanager that
    has not told its receivers of the end takes the next firing for the same, and does not tell it.
    """
    for peer in peers if ends else ():
        with _told_if_it_fails("an Alertmanager was not told that alerts have resolved"):
            firing = {listed.alert.identity for listed in await peer.alerts()}  # it may fire again by now
            if over := [end for end in ends if end[0].identity not in firing]:
                await peer.resolve(over)


@contextmanager
def _told_if_it_fails(message: str) -> Iterator[None]:
    try:
        yield
    except PeerError as error:
        _log.warning(message, error=str(error))


def _described(silence: Silence) -> dict[str, str]:
    return {"id": silence.id, "by": silence.created_by, "until": silence.ends_at.isoformat()}
