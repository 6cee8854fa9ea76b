"""`plimsoll ack`: acknowledges alerts by silences, undoes that, and lists who has taken what."""

from __future__ import annotations

import asyncio

import aiohttp

from plimsoll.config.fields import parse_duration
from plimsoll.relay.acknowledging.listing import as_json, printable, table
from plimsoll.relay.acknowledging.peers import Peers
from plimsoll.relay.acknowledging.scene import Outcome, Request, Scene
from plimsoll.relay.acknowledging.taking import acknowledge
from plimsoll.relay.acknowledging.targets import Targets, read_targets
from plimsoll.relay.acknowledging.undoing import undo
from plimsoll.relay.sources.alertmanager import Alertmanager

_LONGEST = 31536000.0


def parse_limit(text: str) -> float:
    """Read for how long somebody takes an alert, and give seconds.

    Raises:
        ValueError: it is no duration, or none from 1s to 1y.
    """
    seconds = parse_duration(text)
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("must be 1s to 1y")
    return seconds


def run(request: Request) -> Outcome:
    """Do what is wanted.

    Raises:
        ConfigError: the user's file is bad.
    """
    return asyncio.run(_run(request, read_targets(request.config_file)))


async def _run(request: Request, targets: Targets) -> Outcome:
    outcome = Outcome()
    async with aiohttp.ClientSession() as session:
        try:
            alertmanagers = [Alertmanager(session, url) for url in targets.urls]
        except ValueError as error:
            outcome.fail(f"alertmanager.urls: {error}")
            return outcome
        peers = await Peers.ask(alertmanagers)
        outcome.complaints += map(printable, peers.complaints)
        if not peers.views:
            outcome.fail("no Alertmanager answers")
            return outcome
        await _act(Scene(request, targets, peers, outcome))
    return outcome


async def _act(scene: Scene) -> None:
    match scene.request.action:
        case "acknowledge":
            await acknowledge(scene)
        case "undo":
            await undo(scene)
        case "list":
            _show(scene)


def _show(scene: Scene) -> None:
    if scene.request.format == "json":
        scene.outcome.say(as_json(scene.selected))
    elif scene.selected:
        scene.outcome.say(*table(scene.selected, scene.now))
    else:
        fits = (
            f" fits {printable(str(scene.request.selection))}"
            if scene.selects and scene.all
            else " is active"
        )
        scene.outcome.say(f"no {'active ' if scene.all else ''}alert{fits}")
