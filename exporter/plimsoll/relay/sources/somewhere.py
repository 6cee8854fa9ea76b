"""Several Alertmanagers, of which one has to do something: they tell each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.sources.alertmanager import Alertmanager

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")


async def somewhere(
    peers: list[Alertmanager],
    ask: Callable[[Alertmanager, Argument], Awaitable[Answer]],
    argument: Argument,
) -> Answer:
    """Ask one after another until one does it; whoever does not goes to the end of the list.

    Raises:
        PeerError: none does it.
    """
    errors = []
    for peer in tuple(peers):
        try:
            return await ask(peer, argument)
        except PeerError as error:
            errors.append(str(error))
            peers.remove(peer)  # one that hangs must not hold up what is asked next, too
            peers.append(peer)
    raise PeerError("; ".join(errors))
