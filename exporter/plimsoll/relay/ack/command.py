"""`plimsoll ack`: acknowledges alerts by silences, undoes that, and lists who has taken what."""

from __future__ import annotations

import asyncio

import aiohttp

from plimsoll.relay.ack.acknowledge import acknowledge
from plimsoll.relay.ack.listing import as_json, printable, table
from plimsoll.relay.ack.peers import Peers
from plimsoll.relay.ack.scene import Outcome, Request, Scene
from plimsoll.relay.ack.targets import Targets, read_targets
from plimsoll.relay.ack.undo import undo
from plimsoll.relay.sources.alertmanager import Alertmanager

_DEFAULT = " (the default; --config.file names others)"


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
            alertmanagers = Alertmanager.members(session, targets.alertmanager)
        except ValueError as error:
            outcome.fail(f"alertmanager.urls: {error}")
            return outcome
        peers = await Peers.ask(alertmanagers)
        hint = "" if request.config_file else _DEFAULT
        outcome.complaints += (printable(complaint + hint) for complaint in peers.complaints)
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
        scene.outcome.say(as_json(scene.selected, scene.now))
    elif scene.selected:
        scene.outcome.say(*table(scene.selected, scene.now))
    else:
        fits = (
            f" fits {printable(str(scene.request.selection))}"
            if scene.selects and scene.all
            else " is active"
        )
        scene.outcome.say(f"no {'active ' if scene.all else ''}alert{fits}")
