"""Takes a set of files into service: published, loaded by all, and seen to run; or the former set again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from pathlib import Path

import aiohttp

from plimsoll.alerts.peer import PeerError
from plimsoll.alerts.rollout.releases import ReleaseError, Releases, opened
from plimsoll.alerts.rollout.running import Alertmanager, Limits, Prometheus, Running
from plimsoll.alerts.rollout.wanted import Wanted
from plimsoll.alerts.settings import OpenedAlertmanager, OpenedPrometheus


class RolloutError(RuntimeError):
    """A set is not in service; `problems` says why, a line each, and what is in force instead."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


async def take_into_service(
    directory: Path,
    files: Mapping[str, str],
    *,
    prometheus: OpenedPrometheus,
    alertmanager: OpenedAlertmanager,
    limits: Limits | None = None,
) -> str:
    """Publish a set, let all programs load it, see that they run it, and give its version.

    When one of them refuses or does not answer, the accepted set (or without one, the former) is linked and
    loaded again. A run that follows one which was killed, at any point, mends what that left.

    Args:
        directory: where sets are published; see `releases`.
        files: text by relative path, such as `rules/alerts.yml`.
        prometheus: who evaluates the rules, and how to ask it.
        alertmanager: every Alertmanager that reads these files, and how to ask it.
        limits: how long to wait for them.

    Raises:
        RolloutError: the set is not in service.
        ReleaseError: it could not be written, and nothing was changed.
    """
    with opened(directory) as releases:
        connector = aiohttp.TCPConnector(force_close=True)  # a connection may not outlive a restart unnoticed
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                wanted = Wanted.of(files)
            except ValueError as error:
                raise RolloutError([str(error)]) from None
            peers = [
                Prometheus(session, prometheus.url, limits, prometheus),
                *(Alertmanager(session, url, limits, alertmanager) for url in alertmanager.urls),
            ]
            version = await _take(releases, files, wanted, peers)
        releases.prune()
        return version


async def _take(
    releases: Releases, files: Mapping[str, str], wanted: Wanted, peers: Sequence[Running]
) -> str:
    """Disturb nobody before all have answered once."""
    before = releases.current
    if silent := await _problems(peer.difference(wanted) for peer in peers):
        raise RolloutError([*silent, *await _stay(releases, before, peers)])
    version = releases.publish(files)
    if refusals := await _load(peers, wanted):
        former = releases.accepted or before
        raise RolloutError([*refusals, *await _go_back(releases, version, former, peers)])
    releases.accept(version)
    return version


async def _stay(releases: Releases, current: str | None, peers: Sequence[Running]) -> list[str]:
    """Leave what is linked, unless a run was killed before that was accepted: nobody may start with it."""
    if releases.accepted and releases.accepted != current:
        return await _go_back(releases, current, releases.accepted, peers)
    if current is None:
        return ["nothing was published: programs that need a first set to start with get it without --reload"]
    return ["nothing was changed"]


async def _load(peers: Sequence[Running], wanted: Wanted) -> list[str]:
    """Let all load what is linked, and give the problems of those that do not."""
    if refusals := await _problems(peer.reload() for peer in peers):
        return refusals
    return await _problems(peer.see(wanted) for peer in peers)


async def _go_back(
    releases: Releases, refused: str | None, former: str | None, peers: Sequence[Running]
) -> list[str]:
    """Link a former set, let everybody who answers load it, and tell what came of that."""
    if former is None or former == refused:
        return [f"there is no other set to go back to: {refused} stays linked"]
    try:
        releases.link(former)
        wanted = Wanted.of(releases.files(former))
    except (ReleaseError, ValueError) as error:
        return [f"going back to {former} failed: {error}"]
    problems = await _problems(_back(peer, wanted) for peer in peers)
    if problems:
        return [f"the former set, {former}, is linked again, but not in force everywhere:", *problems]
    return [f"the former set, {former}, is in force again"]


async def _back(peer: Running, wanted: Wanted) -> None:
    await peer.reload()
    await peer.see(wanted)


async def _problems(asked: Iterable[Awaitable[object]]) -> list[str]:
    """Ask all at once, and give what went wrong, in their order."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, PeerError):
            raise answer
    return [str(answer) for answer in answers if isinstance(answer, PeerError)]
