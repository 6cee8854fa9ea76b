"""Acknowledges alerts, and replaces acknowledgements."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.ack.listing import Row, called, moment, printable
from plimsoll.relay.ack.person import login_name
from plimsoll.relay.ack.scene import Scene
from plimsoll.relay.acknowledging.silences import is_ours, limit_of, make, matchers_for, owner, words
from plimsoll.relay.sources.alertmanager import Silence
from plimsoll.relay.times import after

ALONE = 86400.0
"""Seconds that a silence lasts which nobody prolongs, and nobody ends."""

DEFAULT_COMMENT = "taken with plimsoll ack"


async def acknowledge(scene: Scene) -> None:
    """Make a silence of its own for each alert that is not acknowledged, or is to be in another way."""
    if scene.selects and not scene.selected:
        scene.nothing_fits()
        return
    taken = [row for row in scene.selected if row.state == "acknowledged"]
    wanted = [row for row in scene.selected if row.state != "acknowledged"]
    if scene.selects and scene.request.changes:
        wanted = scene.selected
    elif scene.selects:
        scene.outcome.say(*(_left(row) for row in taken))
    elif not wanted:
        scene.outcome.say("every active alert is acknowledged" if scene.all else "no alert is active")
    await _Taking(scene).take(wanted)


def _left(row: Row) -> str:
    until = f" until {moment(row.until)}" if row.until else ""
    return f"{called(row.alert)}: already acknowledged by {printable(row.owner)}{until}; left as it is"


class _Taking:
    """Makes silences; an alert that fires at two severities needs one."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._made: dict[str, Silence] = {}
        """By the identity of the alert."""

    async def take(self, wanted: Iterable[Row]) -> None:
        """Make them all before any former one is ended, for that may be about several alerts."""
        taken = [row for row in wanted if await self._take(row)]
        former = self._replaced(taken)
        for row in taken:
            by = printable(self._made[row.alert.identity].created_by)
            self._scene.outcome.say(f"{called(row.alert)}: acknowledged by {by}{self._former(row, former)}")
        for silence in former.values():
            await self._end(silence)
        self._scene.outcome.say(*dict.fromkeys(_promise(self._scene, each) for each in self._made.values()))

    async def _take(self, row: Row) -> bool:
        if row.alert.identity in self._made:
            return True
        silence = _silence(self._scene, row)
        try:
            await self._scene.peers.put(silence)
        except PeerError as error:
            self._scene.outcome.fail(f"{called(row.alert)}: not acknowledged: {error}")
            return False
        self._made[row.alert.identity] = silence
        return True

    def _replaced(self, taken: Iterable[Row]) -> dict[str, Silence]:
        """Give our former silences, by id, unless they silence an alert that has no new one."""
        needed = {
            silence.id
            for row in self._scene.all
            if row.alert.identity not in self._made
            for silence in row.silences
        }
        silences = (silence for row in taken for silence in row.acknowledgements)
        return {each.id: each for each in silences if is_ours(each) and each.id not in needed}

    def _former(self, row: Row, replaced: Iterable[str]) -> str:
        """Tell what becomes of the acknowledgements that an alert has already."""
        limit = self._scene.usual_limit
        return "".join(
            f"; that of {printable(owner(each))} until {moment(limit_of(each, limit))} "
            f"{'is replaced' if each.id in replaced else 'stays'}"
            for each in row.acknowledgements
        )

    async def _end(self, silence: Silence) -> None:
        try:
            await self._scene.peers.expire(silence)
        except PeerError as error:
            by = printable(owner(silence))
            self._scene.outcome.fail(f"the former acknowledgement by {by} could not be ended: {error}")


def _silence(scene: Scene, row: Row) -> Silence:
    """Make a silence; what nobody asks for is as in one of ours that is there already, or the usual."""
    request, settings = scene.request, scene.settings
    former = next(filter(is_ours, row.acknowledgements), None)
    limit = _limit(scene, former)
    comment = words(former.comment) if former else DEFAULT_COMMENT
    return make(
        matchers_for(row.alert.labels),
        by=(owner(former) if former else login_name()) if request.by is None else request.by,
        text=comment if request.comment is None else request.comment,
        now=scene.now,
        period=settings.period if settings else (limit - scene.now).total_seconds() + 1,
        limit=limit,
    )


def _limit(scene: Scene, former: Silence | None) -> datetime:
    if former and scene.request.seconds is None:
        return limit_of(former, scene.usual_limit)
    return after(scene.now, scene.request.seconds or scene.usual_limit or ALONE)


def _promise(scene: Scene, made: Silence) -> str:
    limit = moment(limit_of(made, 0))
    if scene.settings:
        return (
            f"Silenced until {moment(made.ends_at)}. The relay prolongs this while the alert fires, until "
            f"{limit} at the latest, and ends it when the alert has resolved."
        )
    file = scene.request.config_file
    reason = f"{file} has no section relay" if file else "Without --config.file no relay is known"
    return f"{reason}, so this lasts until {limit}, whether the alert resolves or not; --undo ends it."
