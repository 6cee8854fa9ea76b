"""Acknowledges alerts."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.acknowledging.listing import Row, called, moment, printable
from plimsoll.relay.acknowledging.scene import Scene
from plimsoll.relay.acknowledging.silences import limit_of, make, matchers_for
from plimsoll.relay.alert import Alert
from plimsoll.relay.sources.alertmanager import Silence, after

ALONE = 86400.0
"""Seconds that a silence lasts which nobody prolongs, and nobody ends."""


async def acknowledge(scene: Scene) -> None:
    """Make a silence of its own for each alert that is not acknowledged."""
    if scene.selects and not scene.selected:
        scene.nothing_fits()
        return
    wanted = [row for row in scene.selected if row.state != "acknowledged"]
    if scene.selects:
        scene.outcome.say(*(_left(row) for row in scene.selected if row.state == "acknowledged"))
    elif not wanted:
        scene.outcome.say("every active alert is acknowledged" if scene.all else "no alert is active")
    if made := await _make_all(scene, wanted):
        scene.outcome.say(_promise(scene, made[0]))


def _left(row: Row) -> str:
    until = f" until {moment(row.until)}" if row.until else ""
    return f"{called(row.alert)}: already acknowledged by {printable(row.owner)}{until}; left as it is"


async def _make_all(scene: Scene, wanted: Iterable[Row]) -> list[Silence]:
    """Make silences; an alert that fires at two severities needs one."""
    made: dict[str, Silence] = {}
    for row in wanted:
        alert = row.alert
        try:
            if alert.identity not in made:
                silence = _silence(scene, alert)
                await scene.peers.put(silence)
                made[alert.identity] = silence
        except PeerError as error:
            scene.outcome.fail(f"{called(alert)}: not acknowledged: {error}")
        else:
            by = printable(made[alert.identity].created_by)
            scene.outcome.say(f"{called(alert)}: acknowledged by {by}")
    return list(made.values())


def _silence(scene: Scene, alert: Alert) -> Silence:
    settings = scene.settings
    seconds = scene.request.seconds or (settings.limit if settings else ALONE)
    return make(
        matchers_for(alert.labels),
        by=scene.request.by,
        text=scene.request.comment,
        now=scene.now,
        period=settings.period if settings else seconds + 1,
        limit=after(scene.now, seconds),
    )


def _promise(scene: Scene, made: Silence) -> str:
    limit = moment(limit_of(made, 0))
    if scene.settings:
        return (
            f"The relay prolongs this while the alert fires, until {limit} at the latest, and ends it when "
            "the alert has resolved."
        )
    file = scene.request.config_file
    reason = f"{file} has no section relay" if file else "Without --config.file no relay is known"
    return f"{reason}, so this lasts until {limit}, whether the alert resolves or not; --undo ends it."
