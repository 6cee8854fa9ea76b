"""What the relay reads of the real Alertmanager, and what it does to silences there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from plimsoll.alerts.peer import PeerError
from plimsoll.relay.acknowledging.silences import covers, make, matchers_for
from plimsoll.relay.sources.alertmanager import Alertmanager, Silence, SilenceMatcher
from reloading import answering
from sending import Inbox, inbox
from support import require_program, said_by
from waiting import eventually

UNKNOWN = "6a2ad7c9-5b1e-4b9c-9b0b-5d5f0d8e3f11"
LABELS = {"alertname": "Full", "severity": "high", "path": 'ü "\\\n'}
INHIBITS = """
route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
  - {source_matchers: [alertname="Cause"], target_matchers: [alertname="Effect"]}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    with inbox(tmp_path_factory.mktemp("alertmanager"), INHIBITS) as started:
        yield started


@pytest.fixture
async def real(running: Inbox) -> AsyncIterator[Alertmanager]:
    async with aiohttp.ClientSession() as session:
        yield Alertmanager(session, running.url)
    running.clear()


def silence(seconds: float = 600, **labels: str) -> Silence:
    now = datetime.now(UTC)
    limit = now + timedelta(days=3)
    return make(
        matchers_for(LABELS | labels), by="ann", text="on it\n\u2028 ü", now=now, period=seconds, limit=limit
    )


async def listed(real: Alertmanager, silence_id: str) -> Silence:
    (found,) = [each for each in await real.silences() if each.id == silence_id]
    return found


async def test_alerts_with_what_holds_them_back(real: Alertmanager, running: Inbox) -> None:
    running.send(LABELS, {"alertname": "Cause"}, {"alertname": "Effect"}, age=100)
    made = await real.put(silence())

    found = {each.alert.name: each for each in await real.alerts()}

    assert found.keys() == {"Full", "Cause", "Effect"}
    full = found["Full"]
    assert full.alert.labels == LABELS
    assert full.alert.annotations == {}
    assert full.alert.fingerprint in {each["fingerprint"] for each in running.alerts()}
    assert timedelta(seconds=99) < datetime.now(UTC) - full.alert.starts_at < timedelta(seconds=160)
    assert full.ends_at - full.alert.starts_at == timedelta(seconds=400)
    assert full.silenced_by == {made}
    assert [each.inhibited for each in (full, found["Cause"], found["Effect"])] == [False, False, True]


async def test_a_silence_comes_back_as_it_was_made(real: Alertmanager) -> None:
    wanted = replace(
        silence(),
        matchers=(
            SilenceMatcher("alertname", "Full|x", is_regex=True),
            SilenceMatcher("job", "a", is_equal=False),
            SilenceMatcher("path", LABELS["path"]),
        ),
    )

    found = await listed(real, await real.put(wanted))

    assert found.state == "active"
    assert covers(found, LABELS)
    assert (found.matchers, found.created_by, found.comment) == (wanted.matchers, "ann", wanted.comment)
    assert abs(found.starts_at - wanted.starts_at) < timedelta(seconds=5)
    assert abs(found.ends_at - wanted.ends_at) < timedelta(milliseconds=1)


async def test_another_end_keeps_the_id(real: Alertmanager) -> None:
    found = await listed(real, await real.put(silence()))
    for _ in range(3):
        longer = replace(found, ends_at=found.ends_at + timedelta(minutes=10))
        assert await real.prolong(longer)
        known = await listed(real, found.id)
        assert replace(known, updated_at=longer.updated_at) == longer
        found = known


async def test_one_of_amtool_is_prolonged_too(real: Alertmanager) -> None:
    url = f"--alertmanager.url={real.url}"
    made = said_by(
        require_program("amtool"), url, "silence", "add", "--author=bob", "--comment=ACK! x", 'path=~"ü.*"'
    ).strip()
    found = await listed(real, made)

    assert await real.prolong(replace(found, ends_at=found.ends_at + timedelta(hours=1)))
    assert (await listed(real, made)).ends_at == found.ends_at + timedelta(hours=1)


async def test_what_was_ended_stays_so_when_it_is_prolonged_a_moment_later(real: Alertmanager) -> None:
    found = await listed(real, await real.put(silence()))
    await real.expire(found.id)

    assert not await real.prolong(replace(found, ends_at=found.ends_at + timedelta(hours=1)))
    assert {each.state for each in await real.silences()} == {"expired"}


async def test_who_expires_a_silence_sets_its_end_to_that_moment(real: Alertmanager) -> None:
    made = await real.put(silence())
    later = await real.put(
        replace(silence(), starts_at=datetime.now(UTC) + timedelta(seconds=99), comment="later")
    )
    assert (await listed(real, later)).state == "pending"
    for each in (made, later, made):
        await real.expire(each)
        found = await listed(real, each)
        assert found.state == "expired"
        assert found.ends_at == found.updated_at


async def test_what_lapses_keeps_the_end_that_it_had(real: Alertmanager, running: Inbox) -> None:
    made = await real.put(silence(seconds=0.7))
    await asyncio.to_thread(eventually, lambda: not running.silences())
    found = await listed(real, made)
    assert found.ends_at - found.updated_at > timedelta(seconds=0.6)

    await real.expire(made)
    assert await listed(real, made) == found


async def test_to_end_what_is_unknown_is_no_error(real: Alertmanager) -> None:
    await real.expire(UNKNOWN)
    await real.expire("nonsense")


async def test_a_refusal_is_told(real: Alertmanager) -> None:
    with pytest.raises(PeerError, match="start time must be before end time"):
        await real.put(silence(seconds=-60))
    with pytest.raises(PeerError, match="silence not found"):
        await real.put(replace(silence(), id=UNKNOWN))


async def test_since_when_it_runs_and_on_what(real: Alertmanager) -> None:
    status = await real.status()

    assert timedelta() < datetime.now(UTC) - status.started_at < timedelta(minutes=5)
    assert "inhibit_rules" in status.configuration


# answers that the real one does not give


ALERT: dict[str, Any] = {
    "labels": {"alertname": "A"},
    "startsAt": "2026-11-21T10:00:00.123456789+01:00",
    "status": {"silencedBy": ["1"], "inhibitedBy": ["x"]},
}
SILENCE: dict[str, Any] = {
    "id": "1",
    "status": {"state": "active"},
    "matchers": [{"name": "a", "value": "b"}],
    "startsAt": "2026-11-21T10:00:00Z",
    "endsAt": "2026-11-21T11:00:00Z",
}


async def test_odd_and_missing_fields_are_no_mistake() -> None:
    alerts = [ALERT, ALERT | {"annotations": {"a": 1, "b": "c"}, "status": None, "fingerprint": 3, "new": []}]
    pages = {"/api/v2/alerts": json.dumps(alerts), "/api/v2/silences": json.dumps([SILENCE | {"comment": 1}])}
    async with answering(pages) as url, aiohttp.ClientSession() as session:
        first, second = await Alertmanager(session, url).alerts()
        (found,) = await Alertmanager(session, url).silences()

    assert first.alert.starts_at == datetime(2026, 11, 21, 9, 0, 0, 123456, UTC) == first.ends_at
    assert (first.silenced_by, first.inhibited) == (frozenset("1"), True)
    assert (second.silenced_by, second.inhibited) == (frozenset(), False)
    assert first.alert.annotations == {}
    assert second.alert.fingerprint is None
    assert second.alert.annotations == {"b": "c"}
    assert found.matchers == (SilenceMatcher("a", "b"),)
    assert (found.comment, found.created_by, found.updated_at) == ("", "", found.starts_at)


@pytest.mark.parametrize(
    "answer",
    [
        *({}, "x", None, [1], [[]], [ALERT | {"labels": None}], [ALERT | {"labels": {"a": 1}}]),
        *([ALERT | {"startsAt": each}] for each in (None, 5, "soon", "2026-11-21T10:00:00")),
        [ALERT | {"startsAt": "0001-01-01T00:00:00+10:00"}],
    ],
    ids=str,
)
async def test_another_answer_for_alerts_is_refused(answer: object) -> None:
    async with answering({"/api/v2/alerts": json.dumps(answer)}) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PeerError, match="was not answered as Alertmanager would"):
            await Alertmanager(session, url).alerts()


@pytest.mark.parametrize(
    "changed",
    [{"id": 3}, {"status": None}, {"status": {"state": "odd"}}, {"matchers": [{}]}, {"endsAt": ""}],
    ids=str,
)
async def test_another_answer_for_silences_is_refused(changed: dict[str, object]) -> None:
    page = json.dumps([SILENCE | changed])
    async with answering({"/api/v2/silences": page}) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PeerError, match="was not answered as Alertmanager would"):
            await Alertmanager(session, url).silences()
        with pytest.raises(PeerError, match="was not answered as Alertmanager would"):
            await Alertmanager(session, url).put(silence())


async def test_what_newer_versions_tell_of_a_silence_is_handed_back() -> None:
    newer = SILENCE | {"annotations": {"ticket": "7"}}
    sent = []

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            return web.json_response([newer])
        sent.append(await request.json())
        return web.json_response({"silenceID": "1"})

    async with RawTestServer(answer) as server, aiohttp.ClientSession() as session:
        real = Alertmanager(session, str(server.make_url("")))
        (found,) = await real.silences()
        assert await real.prolong(found)

    assert sent[0]["annotations"] == {"ticket": "7"}
    assert sent[0].keys() == newer.keys() - {"status"} | {"createdBy", "comment"}


@pytest.mark.parametrize("answer", ["[]", "{}", '{"uptime": "x"}', '{"uptime": "2026-11-21T10:00:00Z"}'])
async def test_another_answer_for_its_status_is_refused(answer: str) -> None:
    async with answering({"/api/v2/status": answer}) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PeerError, match="was not answered as Alertmanager would"):
            await Alertmanager(session, url).status()


@pytest.mark.parametrize(("status", "ends"), [(404, True), (500, True), (403, False)])
async def test_ending_asks_what_there_is_when_it_is_refused(status: int, ends: bool) -> None:
    """Versions answer differently for one that has ended."""
    state = "expired" if ends else "active"
    pages: dict[str, str | tuple[int, str]] = {
        "/api/v2/silence/1": (status, "no"),
        "/api/v2/silences": json.dumps([SILENCE | {"status": {"state": state}}]),
    }
    async with answering(pages) as url, aiohttp.ClientSession() as session:
        if ends:
            await Alertmanager(session, url).expire("1")
        else:
            with pytest.raises(PeerError, match="403: no"):
                await Alertmanager(session, url).expire("1")
