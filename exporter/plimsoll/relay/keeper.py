"""Does what acknowledgements need: prolongs them, ends them, makes lost ones again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import structlog

from plimsoll.alerts.peer import PeerError
from plimsoll.alerts.settings import AcknowledgementSettings
from plimsoll.relay.acknowledging.keeping import Kept, Watched, keep, remembered
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.sources.alertmanager import Alertmanager, Silence
from plimsoll.relay.witnesses import Heard

_log = structlog.get_logger(__name__)

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")

_LATELY = timedelta(hours=1)
"""How long the silences of what has resolved are looked for, in case they could not be ended at once."""


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
        return kept.acknowledgements


async def _do(kept: Kept, peers: Sequence[Alertmanager]) -> None:
    for silence in kept.prolong:
        if await _somewhere(peers, Alertmanager.prolong, silence) is False:
            _log.info("acknowledgement had ended before it was prolonged", **_described(silence))
        else:
            _log.debug("acknowledgement prolonged", **_described(silence))
    for silence in kept.make:
        await _somewhere(peers, Alertmanager.put, silence)
        _log.warning("acknowledgement was lost, and is made again", **_described(silence))
    for silence in kept.expire:
        await _somewhere(peers, Alertmanager.expire, silence.id)
        _log.info("acknowledgement ended, for its alert has resolved", **_described(silence))


async def _somewhere(
    peers: Iterable[Alertmanager],
    ask: Callable[[Alertmanager, Argument], Awaitable[Answer]],
    argument: Argument,
) -> Answer | None:
    """Ask one Alertmanager after another until one does it; they tell each other."""
    errors = []
    for peer in peers:
        try:
            return await ask(peer, argument)
        except PeerError as error:
            errors.append(str(error))
    _log.warning("a silence could not be changed, and is tried again", errors="; ".join(errors))
    return None


def _described(silence: Silence) -> dict[str, str]:
    return {"id": silence.id, "by": silence.created_by, "until": silence.ends_at.isoformat()}
