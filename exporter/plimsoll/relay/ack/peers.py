"""All Alertmanagers of one file: asked together, and told one after another until one has heard."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import aiohttp

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.sources.alertmanager import Alertmanager, Listed, Silence
from plimsoll.relay.sources.somewhere import somewhere


class View(NamedTuple):
    """What one Alertmanager lists."""

    peer: Alertmanager
    alerts: list[Listed]
    silences: list[Silence]


class Peers:
    """The Alertmanagers that answered, and what is to be said of those that did not."""

    def __init__(self, views: Sequence[View], complaints: Sequence[str]) -> None:
        self.views = views
        self.complaints = complaints
        self._peers = [view.peer for view in views]
        self._ids = {view.peer: {silence.id for silence in view.silences} for view in views}

    @classmethod
    async def ask(cls, peers: Iterable[Alertmanager]) -> Peers:
        """Ask all at once what they list."""
        answers = await asyncio.gather(*map(_view, peers))
        return cls(
            [answer for answer in answers if isinstance(answer, View)],
            [answer for answer in answers if isinstance(answer, str)],
        )

    async def put(self, silence: Silence) -> None:
        """Hand a silence to the first that takes it.

        Raises:
            PeerError: none takes it.
        """
        await somewhere(self._peers, Alertmanager.put, silence)

    async def expire(self, silence: Silence) -> None:
        """Let the first that ends a silence do so, of those that list it: to others it is none.

        Raises:
            PeerError: none does.
        """
        knowing = [peer for peer in self._peers if silence.id in self._ids[peer]]
        await somewhere(knowing, Alertmanager.expire, silence.id)


async def _view(peer: Alertmanager) -> View | str:
    try:
        return View(peer, await peer.alerts(), await peer.silences())
    except PeerError as error:
        return _plain(peer, error)


def _plain(peer: Alertmanager, error: PeerError) -> str:
    """Say in plain words why nobody could be reached; what else went wrong is said as it is."""
    cause = error.__context__
    if isinstance(cause, aiohttp.ClientConnectorError) and not isinstance(cause, aiohttp.ClientSSLError):
        return f"{peer.url}: {_reason(cause.os_error)}"
    return str(error)


def _reason(error: OSError) -> str:
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()
