"""What keeps acknowledgements says only what it has done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web
from structlog.testing import capture_logs

from plimsoll.alerts.settings import AcknowledgementSettings
from plimsoll.relay.acknowledging.keeper import Keeper
from plimsoll.relay.acknowledging.silences import make, matchers_for
from plimsoll.relay.alert import Alert
from plimsoll.relay.lives.life import Acknowledgement, End, Life
from plimsoll.relay.lives.look import Look
from plimsoll.relay.sources.alertmanager import Alertmanager, Silence
from plimsoll.relay.witnesses import Heard
from reloading import answering

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
REFUSING: Mapping[str, str | tuple[int, str]] = {
    "/api/v2/silences": (500, "no"),
    "/api/v2/silence/over": (500, "no"),
    "/api/v2/alerts": (500, "no"),
}
NOT_TOLD = "an Alertmanager was not told that alerts have resolved"
DOING = {
    "/api/v2/silences": json.dumps({"silenceID": "ending"}),
    "/api/v2/silence/over": "",
    "/api/v2/alerts": "[]",
}


def life(name: str, silence_id: str, *, has_ended: bool = False) -> Life:
    alert = Alert({"alertname": name}, None, NOW - HOUR)
    taken = Acknowledgement(NOW - HOUR / 2, "ann", "", silence_id, NOW + HOUR)
    return Life(alert, NOW, taken, End(NOW, told=False) if has_ended else None)


def silence(name: str, about: Life) -> Silence:
    """Give an acknowledgement that ends in a minute."""
    made = make(
        matchers_for(about.alert.labels),
        by="ann",
        text="",
        now=NOW - HOUR,
        period=HOUR.total_seconds() + 60,
        limit=NOW + HOUR,
    )
    return Silence(name, *(getattr(made, each) for each in Silence.__slots__[1:]))


async def kept(*urls: str) -> list[str]:
    """Let one acknowledgement be prolonged, one made again and one ended, and give what is logged."""
    fires, lost, over = life("Fires", "ending"), life("Lost", "lost"), life("Over", "over", has_ended=True)
    listed = {"ending": silence("ending", fires), "over": silence("over", over)}
    heard = Heard(Look(NOW), listed, {each.alert.identity: frozenset() for each in (fires, lost)})
    async with aiohttp.ClientSession() as session:
        peers = [Alertmanager(session, url) for url in urls]
        with capture_logs() as entries:
            lives = {each.alert.identity: each for each in (fires, lost)}
            await Keeper().keep(heard, lives, [over], AcknowledgementSettings(), peers)
    return [entry["event"] for entry in entries]


async def test_what_is_refused_is_not_said_to_be_done() -> None:
    async with answering(REFUSING) as url:
        said = await kept(url)

    assert said == ["a silence could not be changed, and is tried again"] * 3 + [NOT_TOLD]


async def test_one_that_refuses_is_asked_once() -> None:
    asked: list[web.BaseRequest] = []
    async with answering(REFUSING, asked) as refusing, answering(DOING) as doing:
        said = await kept(refusing, doing)

    assert [request.path for request in asked] == ["/api/v2/silences", "/api/v2/alerts"]
    assert said == [
        "acknowledgement prolonged",
        "acknowledgement was lost, and is made again",
        "acknowledgement ended, for its alert has resolved",
        NOT_TOLD,  # the one that refuses; each has to know
    ]
