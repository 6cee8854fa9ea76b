"""Undoes acknowledgements."""

from __future__ import annotations

from collections import defaultdict

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.ack.listing import Row, called, few, moment, printable
from plimsoll.relay.ack.scene import Scene
from plimsoll.relay.acknowledging.silences import is_acknowledgement, owner
from plimsoll.relay.alert import Alert
from plimsoll.relay.sources.alertmanager import Silence


async def undo(scene: Scene) -> None:
    """End the acknowledgements of alerts, whoever made them, and those that silence none which is active."""
    idle = [silence for silence in _idle(scene) if scene.fits(_about(silence))]
    if scene.selects and not scene.selected and not idle:
        scene.nothing_fits()
        return
    undoing = _Undoing(scene)
    for row in scene.selected:
        await undoing.undo(row)
    for silence in idle:
        await undoing.end(silence, _about(silence), "; it silenced no active alert")
    if not undoing.ended and not scene.selects:
        scene.outcome.say("no alert is acknowledged")


class _Undoing:
    """Ends each silence once, though it may be about several alerts."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        meant = {id(row) for row in scene.selected}
        self._others: dict[str, list[str]] = defaultdict(list)
        """What alerts are called that are not meant, by the ids of what silences them."""
        for row in scene.all:
            for silence in () if id(row) in meant else row.silences:
                self._others[silence.id].append(called(row.alert))
        self.ended: dict[str, PeerError | None] = {}

    async def undo(self, row: Row) -> None:
        """End what acknowledges an alert."""
        if not row.acknowledgements and self._scene.selects:
            self._scene.outcome.say(f"{called(row.alert)}: is not acknowledged")
        for silence in row.acknowledgements:
            await self.end(silence, row.alert, self._beyond(silence) + _still(row))

    async def end(self, silence: Silence, alert: Alert, note: str) -> None:
        """End a silence, and tell what that means for an alert."""
        if silence.id not in self.ended:
            self.ended[silence.id] = await self._expire(silence)
        by = printable(owner(silence))
        if error := self.ended[silence.id]:
            self._scene.outcome.fail(f"{called(alert)}: acknowledgement by {by} not undone: {error}")
        else:
            self._scene.outcome.say(f"{called(alert)}: acknowledgement by {by} undone{note}")

    async def _expire(self, silence: Silence) -> PeerError | None:
        try:
            await self._scene.peers.expire(silence)
        except PeerError as error:
            return error
        return None

    def _beyond(self, silence: Silence) -> str:
        """Tell of alerts that are not meant, which a silence is about, too."""
        others = self._others.get(silence.id, ())
        return f"; it was also that of {few(others)}" if others else ""


def _still(row: Row) -> str:
    """Tell of the plain silence under which an alert stays longest."""
    plain = [silence for silence in row.silences if not is_acknowledgement(silence)]
    if not plain:
        return ""
    last = max(plain, key=lambda silence: silence.ends_at)
    return f"; still silenced by {printable(owner(last))} until {moment(last.ends_at)}"


def _idle(scene: Scene) -> list[Silence]:
    """Give the acknowledgements that silence no active alert."""
    busy = {silence.id for row in scene.all for silence in row.silences}
    known = (each for each in scene.silences.values() if each.state != "expired" and each.id not in busy)
    return [silence for silence in known if is_acknowledgement(silence)]


def _about(silence: Silence) -> Alert:
    """Give the alert that a silence names, as far as it does."""
    named = {each.name: each.value for each in silence.matchers if each.is_equal and not each.is_regex}
    return Alert(named, None, silence.starts_at)
