"""How an engine's events are followed, and what is done when some were missed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.typing import EventDict

from docker_proxy import Hang, drop, refusal
from fake_engine import FakeEngine
from fix_fake_engine import Clock, until
from plimsoll.serve.sources import events
from plimsoll.serve.sources.answers import Event
from plimsoll.serve.sources.docker import Engine, EngineError
from plimsoll.serve.sources.events import EventStream


class Ears:
    """Someone who listens to an engine's events."""

    def __init__(self, client: Engine, former: EventStream | None = None) -> None:
        self.heard: list[str] = []
        self.ended = 0
        self.missed = 0
        self.stream = EventStream(client, self, former)

    def hear(self, event: Event) -> None:
        self.heard.append(event.action)

    def engine_ended(self, _moment: float) -> None:
        self.ended += 1

    def events_missed(self) -> None:
        self.missed += 1

    async def lose(self, engine: FakeEngine) -> None:
        """Lose the stream."""
        engine.end_streams()
        await until(lambda: not self.stream.is_open)


@pytest.fixture
async def ears(client: Engine) -> AsyncIterator[Ears]:
    ears = Ears(client)
    yield ears
    ears.stream.stop()


async def test_events_are_heard_as_they_happen(fake: FakeEngine, ears: Ears) -> None:
    assert not await ears.stream.follow(), "who knows what was before"
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert await ears.stream.follow()
    fake.crash(next(iter(fake.containers.values())))
    await until(lambda: ears.heard == ["create", "start", "die"])
    assert await ears.stream.follow()
    assert ears.ended == 0
    assert fake.listeners == 1


async def test_only_what_we_need_is_asked_for(fake: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    (query,) = fake.queries("/events")
    assert query.keys() == {"filters"}
    filters = json.loads(query["filters"])
    assert filters["type"] == ["container"]
    assert {"start", "die", "stop", "oom", "destroy", "health_status", "rename"} <= set(filters["event"])
    assert not [name for name in filters["event"] if name.startswith("exec")]


async def test_podman_does_not_know_dockers_names_of_events(fake: FakeEngine, ears: Ears) -> None:
    fake.components = ["Podman Engine"]
    await ears.stream._engine.get("/info")
    await ears.stream.follow()
    (query,) = fake.queries("/events")
    assert json.loads(query["filters"]) == {"type": ["container"]}


@pytest.mark.parametrize("end", [FakeEngine.end_streams, FakeEngine.break_streams])
async def test_a_stream_that_ended_goes_on_after_the_last_event(
    end: Callable[[FakeEngine], None], fake: FakeEngine, ears: Ears
) -> None:
    web = fake.create("web")
    await ears.stream.follow()
    fake.start_container(web)
    await until(lambda: ears.heard == ["start"])
    last = fake.events[-1]["timeNano"]
    end(fake)
    await until(lambda: not ears.stream.is_open)
    fake.crash(web)

    assert await ears.stream.follow(), "what was missed is told"
    await until(lambda: ears.heard == ["start", "die"])
    seconds, nanoseconds = divmod(last + 1, 10**9)
    assert fake.queries("/events")[-1]["since"] == f"{seconds}.{nanoseconds:09}"
    assert await ears.stream.follow()
    assert ears.ended == 0


@pytest.mark.parametrize("told", [0, 255])
async def test_a_new_daemon_is_not_asked_what_it_did_while_it_started(
    told: int, fake: FakeEngine, ears: Ears
) -> None:
    web = fake.create("web")
    await ears.stream.follow()
    fake.start_container(web)
    await until(lambda: ears.heard == ["start"])
    await ears.lose(fake)
    fake.remembered.clear()
    for _ in range(told):
        fake.tell("start", web)

    assert not await ears.stream.follow(), "something may have been missed"
    assert (ears.ended, ears.missed) == (1, 0)
    assert "since" not in fake.queries("/events")[-1]
    assert ears.heard == ["start"]


async def test_a_daemon_that_has_forgotten_since_is_no_new_one(fake: FakeEngine, ears: Ears) -> None:
    web = fake.create("web")
    await ears.stream.follow()
    fake.start_container(web)
    await until(lambda: ears.heard == ["start"])
    last = fake.events[-1]["timeNano"]
    await ears.lose(fake)
    fake.stop_container(web)
    for _ in range(255):
        fake.tell("update", web)

    assert not await ears.stream.follow(), "something was missed"
    assert (ears.ended, ears.missed) == (0, 1)
    seconds, nanoseconds = divmod(last + 1, 10**9)
    assert fake.queries("/events")[-1]["since"] == f"{seconds}.{nanoseconds:09}"
    await until(lambda: ears.heard == ["start", "stop", *["update"] * 255])
    assert await ears.stream.follow()
    assert (ears.ended, ears.missed) == (0, 1)


async def test_a_new_daemon_whose_clock_is_behind(
    fake: FakeEngine, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is asked for until now, it would tell until its own now."""
    monkeypatch.setattr(events, "_PATIENCE", 0.1)
    await ears.stream.follow()
    await ears.lose(fake)
    fake.clock_is_behind = True
    await ears.stream.follow()
    await until(lambda: ears.stream.is_open)
    assert (ears.ended, ears.missed) == (1, 0)
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])


async def test_a_daemon_that_does_not_say_what_it_remembers(
    fake: FakeEngine, ears: Ears, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    monkeypatch.setattr(events, "_PATIENCE", 0.1)
    fake.run("web")
    await ears.stream.follow()
    await ears.lose(fake)
    fake.fail("/events", Hang())
    assert not await ears.stream.follow()
    await until(lambda: logged)
    assert [line["error"] for line in logged] == ["GET /events was not answered in time"]
    assert (ears.ended, ears.missed) == (0, 0), "who knows"
    fake.heal()
    assert await ears.stream.follow()
    assert (ears.ended, ears.missed) == (0, 0)


async def test_one_that_takes_over_goes_on_after_the_last_event(
    fake: FakeEngine, client: Engine, ears: Ears
) -> None:
    await ears.stream.follow()
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    last = fake.events[-1]["timeNano"]
    ears.stream.stop()
    successor = Ears(client, ears.stream)
    assert await successor.stream.follow()
    seconds, nanoseconds = divmod(last + 1, 10**9)
    assert fake.queries("/events")[-1]["since"] == f"{seconds}.{nanoseconds:09}"
    successor.stream.stop()


async def test_refused_events_are_a_warning_once_and_asked_for_again_after_a_while(
    fake: FakeEngine, ears: Ears, clock: Clock, logged: list[EventDict]
) -> None:
    fake.fail("/events", refusal())
    for _ in range(3):
        assert not await ears.stream.follow()
    assert ears.stream.is_refused
    assert fake.asked("/events") == ["/events"]
    clock.now += 59
    assert not await ears.stream.follow()
    assert fake.asked("/events") == []
    clock.now += 1
    assert not await ears.stream.follow()
    assert fake.asked("/events") == ["/events"]
    assert [(line["log_level"], line["error"]) for line in logged] == [
        ("warning", "GET /v1.41/events was answered with 403: Forbidden")
    ]
    assert ears.ended == 0

    fake.heal()
    clock.now += 60
    assert not await ears.stream.follow()
    assert await ears.stream.follow()
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert not ears.stream.is_refused


async def test_a_stream_that_does_not_open_keeps_nobody_waiting(
    fake: FakeEngine, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_PATIENCE", 0.05)
    hang = Hang()
    fake.fail("/events", hang)
    assert not await ears.stream.follow()
    assert not await ears.stream.follow()
    assert hang.held == 1, "one at a time"
    fake.heal()
    await until(lambda: fake.listeners == 1)
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert not await ears.stream.follow(), "before it opened something was missed"
    assert await ears.stream.follow()


async def test_an_engine_that_is_not_there_is_tried_again(fake: FakeEngine, ears: Ears) -> None:
    await fake.stop()
    assert not await ears.stream.follow()
    assert not await ears.stream.follow()
    assert ears.ended == 0
    await fake.start()
    assert not await ears.stream.follow()
    assert await ears.stream.follow()


async def test_however_the_stream_is_cut_up(fake: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    line = (
        json.dumps({"Action": "die", "Actor": {"ID": "é", "Attributes": {}}, "timeNano": 5}).encode() + b"\n"
    )
    half = line.index(b"\\u") + 3
    fake.say(line[:half])
    fake.say(line[half:] + b"\n\n" + line + line[:1])
    fake.say(line[1:-1])
    fake.say(b"\r\n")
    await until(lambda: ears.heard == ["die", "die", "die"])
    assert ears.ended == 0


async def test_a_stream_that_stands_is_not_refused(fake: FakeEngine, ears: Ears, clock: Clock) -> None:
    fake.fail("/events", refusal())
    assert not await ears.stream.follow()
    fake.heal()
    clock.now += 60
    await ears.stream.follow()
    await ears.stream.follow()
    assert fake.listeners == 1
    assert not ears.stream.is_refused, "although nothing has happened yet"


async def test_a_stream_outlives_the_broken_connections_of_others(
    fake: FakeEngine, ears: Ears, client: Engine
) -> None:
    await ears.stream.follow()
    fake.fail("/info", drop)
    with pytest.raises(EngineError, match="broke off"):
        await client.get("/info")
    fake.heal()
    await client.get("/info")
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert fake.listeners == 1


async def test_a_stream_has_no_end_in_time(fake: FakeEngine, hasty: Engine) -> None:
    ears = Ears(hasty)
    await ears.stream.follow()
    fake.fail("/info", Hang())
    with pytest.raises(EngineError, match="did not answer"):
        await hasty.get("/info")  # for as long as any other answer may take
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert ears.ended == 0
    ears.stream.stop()


@pytest.mark.parametrize("line", [b"<html>\n", b"[]\n", b'{"message": "no"}\n'])
async def test_a_stream_that_talks_nonsense_is_begun_anew(
    line: bytes, fake: FakeEngine, ears: Ears, logged: list[EventDict]
) -> None:
    await ears.stream.follow()
    fake.say(line)
    await until(lambda: not ears.stream.is_open)
    assert not await ears.stream.follow()
    fake.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert [entry["log_level"] for entry in logged] == ["debug"]


async def test_who_stops_listening_has_gone(fake: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    await until(lambda: fake.listeners == 1)
    ears.stream.stop()
    await until(lambda: not ears.stream.is_open)
    fake.run("web")
    await until(lambda: fake.listeners == 0)
    assert ears.heard == []
