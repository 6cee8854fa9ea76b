"""All Alertmanagers of one file: asked together, and told one after another until one has heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.sources.alertmanager import Alertmanager, Listed, Silence


class View(NamedTuple):
    """What one Alertmanager lists."""

    peer: Alertmanager
    alerts: list[Listed]
    silences: list[Silence]


class Peers:
    """The Alertmanagers that answered, and what those that did not had to say."""

    def __init__(self, views: Sequence[View], complaints: Sequence[str]) -> None:
        self.views = views
        self.complaints = complaints

    @classmethod
    async def ask(cls, peers: Iterable[Alertmanager]) -> Peers:
        """Ask all at once what they list."""
        answers = await asyncio.gather(*map(_view, peers))
        return cls(
            [answer for answer in answers if isinstance(answer, View)],
            [str(answer) for answer in answers if isinstance(answer, PeerError)],
        )

    async def put(self, silence: Silence) -> None:
        """Hand a silence to the first that takes it: it tells the others.

        Raises:
            PeerError: none takes it.
        """
        await _first((view.peer for view in self.views), lambda peer: peer.put(silence))

    async def expire(self, silence: Silence) -> None:
        """Let the first that ends a silence do so, of those that list it.

        Raises:
            PeerError: none does.
        """
        knowing = (view.peer for view in self.views if any(each.id == silence.id for each in view.silences))
        await _first(knowing, lambda peer: peer.expire(silence.id))


async def _view(peer: Alertmanager) -> View | PeerError:
    try:
        return View(peer, await peer.alerts(), await peer.silences())
    except PeerError as error:
        return error


async def _first(peers: Iterable[Alertmanager], ask: Callable[[Alertmanager], Awaitable[object]]) -> None:
    refusals = []
    for peer in peers:
        try:
            await ask(peer)
        except PeerError as error:
            refusals.append(str(error))
        else:
            return
    raise PeerError("; ".join(refusals))
