"""Tries whom the relay asks, and where it keeps history. Nothing is posted to receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime

import aiohttp

from plimsoll.alerts.peer import PeerError
from plimsoll.config.finding import Finding
from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.trying import try_history
from plimsoll.relay.settings import Settings
from plimsoll.relay.sources.alertmanager import Alertmanager
from plimsoll.relay.sources.prometheus import Prometheus


async def try_all(settings: Settings) -> Sequence[Finding]:
    """Try all at once, each in 10 seconds at most, and write nothing."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        return await asyncio.gather(*_trials(settings, session))


def _trials(settings: Settings, session: aiohttp.ClientSession) -> Iterator[Awaitable[Finding]]:
    for peer in Alertmanager.members(session, settings.alertmanager):
        yield _try("alertmanager", _alertmanager(peer))
    yield _try(
        "prometheus", _prometheus(Prometheus(session, settings.prometheus.url, access=settings.prometheus))
    )
    if settings.history:
        yield _try("history", try_history(settings.history.conninfo))


async def _try(subject: str, told: Awaitable[str]) -> Finding:
    try:
        return Finding(subject, good=True, message=await told)
    except (PeerError, HistoryError) as error:
        return Finding(subject, good=False, message=str(error))


async def _alertmanager(peer: Alertmanager) -> str:
    return _running(peer.url, (await peer.status()).started_at)


async def _prometheus(peer: Prometheus) -> str:
    return _running(peer.url, await peer.started_at())


def _running(url: str, since: datetime) -> str:
    return f"{url}, running since {since.isoformat(timespec='seconds')}"
