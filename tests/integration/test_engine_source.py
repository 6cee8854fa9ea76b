"""What is asked of a container engine, and what an engine that misbehaves costs.

The engine is one that the test leads; real ones have tests of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from docker_proxy import (
    Container,
    FakeEngine,
    Fault,
    Front,
    Hang,
    SocketProxy,
    cut,
    drop,
    fake_engine,
    only_reading,
    refusal,
    saying,
)
from plimsoll.demo.processes import workspace
from plimsoll.serve.collectors import containers
from plimsoll.serve.exporter import Exporter
from plimsoll.serve.metrics import Page
from plimsoll.serve.settings import Settings
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources import events
from plimsoll.serve.sources.answers import Event
from plimsoll.serve.sources.docker import Engine, EngineError, RefusedError
from plimsoll.serve.sources.events import EventStream
from plimsoll.serve.targets.containers import EngineTarget
from serving import Samples
from waiting import eventually

TLS = Path(__file__).parents[1] / "fixtures/engine/tls"


def settings_for(engine: Front, **changes: Any) -> EngineSettings:
    """Give settings with which no cgroup file is found."""
    known = {"name": "local", "docker_host": engine.docker_host, "host_root": "/nonexistent", **changes}
    return EngineSettings.model_validate(known)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as running:
        yield running


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[Engine]:
    client = Engine(settings_for(engine, timeout="10s"))
    yield client
    await client.close()


@pytest.fixture
async def hasty(engine: FakeEngine) -> AsyncIterator[Engine]:
    """A client that does not wait for long."""
    client = Engine(settings_for(engine, timeout="300ms"))
    yield client
    await client.close()


@pytest.fixture
async def target(engine: FakeEngine) -> AsyncIterator[EngineTarget]:
    target = EngineTarget(settings_for(engine, timeout="10s"))
    yield target
    await target.stop()


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


async def until(condition: Callable[[], object]) -> None:
    """Let things happen until the condition holds; as `eventually`, in the loop where they happen."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of things that have no event
            await asyncio.sleep(0.01)


def published(target: EngineTarget) -> Samples:
    """Give the page as it is now."""
    page = Page()
    target.picture()(page)
    return Samples(page.encode(openmetrics=False))


async def scrape(target: EngineTarget) -> Samples:
    await target.collect()
    return published(target)


def names_with(family: str, samples: Samples) -> set[str]:
    return {dict(labels)["name"] for labels in samples.all(family)}


def states(samples: Samples) -> dict[str, str]:
    found = (dict(labels) for labels, value in samples.all("container_state").items() if value)
    return {labels["name"]: labels["state"] for labels in found}


def expected(samples: Samples) -> dict[str, float]:
    values = samples.all("container_expected_running").items()
    return {dict(labels)["name"]: value for labels, value in values}


# --- which version of the API -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest", "oldest", "agreed"),
    [
        ("1.41", "1.12", "1.41"),  # Docker 20.10
        ("1.43", "1.12", "1.43"),
        ("1.44", "1.24", "1.44"),
        ("1.55", "1.44", "1.44"),  # newer than we know
        ("1.70", "1.60", "1.60"),  # it has forgotten what we know
        ("1.41", None, "1.41"),
        ("1.41", "", "1.41"),
        ("1.41.0", "1.24.0", "1.41"),
    ],
)
async def test_the_version_is_one_that_both_know(
    newest: str, oldest: str | None, agreed: str, engine: FakeEngine, client: Engine
) -> None:
    engine.version = {"ApiVersion": newest, **({"MinAPIVersion": oldest} if oldest is not None else {})}
    engine.fail(r"/containers/json", saying("[]"))

    assert await client.get("/containers/json") == []
    assert client.version == f"v{agreed}"
    assert [(asked.version, asked.path) for asked in engine.requests] == [
        ("", "/version"),
        (agreed, "/containers/json"),
    ]


async def test_an_engine_that_is_too_old(engine: FakeEngine, client: Engine) -> None:
    engine.version = {"ApiVersion": "1.40", "MinAPIVersion": "1.12"}
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert str(caught.value) == "the engine speaks version 1.40 of the API, 1.41 or later is needed"
    assert engine.asked() == ["/version"]


@pytest.mark.parametrize(
    "answer", ["[]", "null", "{}", '{"ApiVersion": 1.41}', '{"ApiVersion": "new"}', '{"ApiVersion": "1"}']
)
async def test_something_that_is_no_engine(answer: str, engine: FakeEngine, client: Engine) -> None:
    engine.fail("/version", saying(answer))
    with pytest.raises(EngineError, match=r"^GET /version was not answered as an engine would$"):
        await client.get("/info")


async def test_the_version_is_asked_once(engine: FakeEngine, client: Engine) -> None:
    await asyncio.gather(*(client.get("/info") for _ in range(20)))
    await client.get("/info")
    assert Counter(engine.asked()) == {"/version": 1, "/info": 21}


@pytest.mark.parametrize(
    ("components", "is_podman"),
    [(["Engine", "containerd", "runc"], False), (["Podman Engine", "Conmon"], True), ([], False)],
)
async def test_podman_is_told_from_docker(
    components: list[str], is_podman: bool, engine: FakeEngine, client: Engine
) -> None:
    engine.components = components
    await client.get("/info")
    assert client.is_podman is is_podman


async def test_whoever_comes_back_is_asked_for_its_version_again(engine: FakeEngine, client: Engine) -> None:
    await client.get("/info")
    await engine.stop()
    with pytest.raises(EngineError, match="no engine listens on unix://"):
        await client.get("/info")
    engine.version = {"ApiVersion": "1.55", "MinAPIVersion": "1.44"}
    engine.components = ["Podman Engine"]
    await engine.start()

    assert (await client.get("/info"))["NCPU"] == 4
    assert (client.version, client.is_podman) == ("v1.44", True)


# --- what goes wrong with a request -------------------------------------------------------------------------


async def test_a_refusal_is_told_in_the_engines_words(engine: FakeEngine, client: Engine) -> None:
    engine.fail("/info", refusal(500, "context canceled"))
    with pytest.raises(RefusedError) as caught:
        await client.get("/info")
    assert str(caught.value) == "GET /v1.41/info was answered with 500: context canceled"
    assert caught.value.status == 500


async def test_a_refusal_by_a_proxy(engine: FakeEngine, client: Engine) -> None:
    engine.lets_through = lambda request: not request.path.endswith("/info")
    with pytest.raises(RefusedError) as caught:
        await client.get("/info")
    assert str(caught.value) == "GET /v1.41/info was answered with 403: Forbidden"


@pytest.mark.parametrize("body", ["[]", '"no"', "{}", "null", "\xff"])
async def test_a_refusal_in_odd_words(body: str, engine: FakeEngine, client: Engine) -> None:
    async def refuse(request: Any, answer: Any) -> Any:
        response = await saying(body)(request, answer)
        response.set_status(502)
        return response

    engine.fail("/info", refuse)
    with pytest.raises(RefusedError, match=r"was answered with 502: Bad Gateway$"):
        await client.get("/info")


async def test_we_go_nowhere_else(engine: FakeEngine, client: Engine) -> None:
    async def redirect(request: Any, answer: Any) -> Any:
        response = await saying("")(request, answer)
        response.set_status(301)
        response.headers["Location"] = "http://127.0.0.1:1/elsewhere"
        return response

    engine.fail("/info", redirect)
    with pytest.raises(RefusedError, match="was answered with 301"):
        await client.get("/info")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (saying("<html>Welcome!</html>"), "GET /v1.41/info was not answered with JSON"),
        (saying(""), "GET /v1.41/info was not answered with JSON"),
        (cut, "broke off GET /v1.41/info: "),
        (drop, "broke off GET /v1.41/info: "),
    ],
    ids=["no JSON", "nothing", "half", "dropped"],
)
async def test_an_answer_that_is_none(fault: Fault, message: str, engine: FakeEngine, client: Engine) -> None:
    engine.fail("/info", fault)
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert message in str(caught.value)
    assert not isinstance(caught.value, RefusedError)

    engine.heal()
    assert (await client.get("/info"))["NCPU"] == 4


@pytest.mark.parametrize("path", ["/version", "/info"])
async def test_an_engine_that_hangs(path: str, engine: FakeEngine, hasty: Engine) -> None:
    engine.fail(path, Hang())
    with pytest.raises(EngineError) as caught:
        await hasty.get("/info")
    prefix = "" if path == "/version" else "/v1.41"
    assert str(caught.value) == f"{engine.docker_host} did not answer GET {prefix}{path} within 0.3 s"

    engine.heal()
    assert (await hasty.get("/info"))["NCPU"] == 4


async def test_at_most_16_requests_are_under_way(engine: FakeEngine, client: Engine) -> None:
    hang = Hang()
    engine.fail("/info", hang)
    asking = [asyncio.create_task(client.get("/info")) for _ in range(40)]
    await until(lambda: hang.held == 16)
    engine.heal()
    assert len(await asyncio.gather(*asking)) == 40
    assert hang.most == 16


async def test_nobody_is_there(tmp_path: Path) -> None:
    client = Engine(EngineSettings(name="local", docker_host=f"unix://{tmp_path}/no.sock"))
    with pytest.raises(EngineError, match=f"^no engine listens on unix://{tmp_path}/no.sock$"):
        await client.get("/info")
    await client.close()


async def test_a_socket_that_was_left_behind() -> None:
    with workspace() as folder, socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "s"))
        client = Engine(EngineSettings(name="local", docker_host=f"unix://{folder}/s"))
        with pytest.raises(EngineError, match=f"^no engine listens on unix://{folder}/s$"):
            await client.get("/info")
        await client.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
async def test_a_socket_that_is_not_for_us(engine: FakeEngine, client: Engine) -> None:
    os.chmod(engine.docker_host.removeprefix("unix://"), 0)  # noqa: PTH101 - it is quick
    with pytest.raises(EngineError, match="not permitted to use unix://"):
        await client.get("/info")


async def test_a_closed_client_may_be_used_again(engine: FakeEngine, client: Engine) -> None:
    await client.get("/info")
    await client.close()
    await until(lambda: engine.connections == 0)
    assert (await client.get("/info"))["NCPU"] == 4
    assert Counter(engine.asked()) == {"/version": 2, "/info": 2}


async def test_a_broken_connection_costs_those_who_wait_nothing(engine: FakeEngine, client: Engine) -> None:
    """A handler that panics makes Docker's daemon hang up."""
    await client.get("/info")
    first, others = Hang(), Hang()
    engine.fail("/containers/first/json", first)
    engine.fail("/containers/json", others)
    engine.fail("/containers/broken/json", drop)
    held = [asyncio.create_task(client.get("/containers/first/json"))]
    held += [asyncio.create_task(client.get("/containers/json")) for _ in range(15)]
    await until(lambda: first.held + others.held == 16)
    broken = asyncio.create_task(client.get("/containers/broken/json"))
    waiting = [asyncio.create_task(client.get("/containers/json")) for _ in range(10)]
    first.release()
    await asyncio.wait({broken})
    later = asyncio.create_task(client.get("/info"))  # agrees on a version anew
    await until(lambda: others.held == 16)
    engine.heal()

    assert isinstance(broken.exception(), EngineError)
    assert await asyncio.gather(*held[1:], *waiting) == [[]] * 25
    assert (await later)["NCPU"] == 4
    await asyncio.wait(held)
    assert isinstance(held[0].exception(), RefusedError), "there is no such container"


# --- an engine on the network -------------------------------------------------------------------------------


async def test_an_engine_on_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of no concern
    async with FakeEngine() as engine:
        client = Engine(settings_for(engine))
        assert (await client.get("/info"))["NCPU"] == 4
        await client.close()


def tls_server(name: str = "server") -> ssl.SSLContext:
    """Make a server that believes whoever has a certificate of our authority's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(TLS / "ca.pem"))
    context.load_cert_chain(TLS / f"{name}.pem", TLS / f"{name}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


OURS = {"cert_file": str(TLS / "client.pem"), "key_file": str(TLS / "client.key")}


@pytest.fixture
async def secured() -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tls=tls_server()) as engine:
        yield engine


async def test_tls_with_a_certificate_of_our_own(secured: FakeEngine) -> None:
    client = Engine(settings_for(secured, tls={"ca_file": str(TLS / "ca.pem"), **OURS}))
    assert (await client.get("/info"))["NCPU"] == 4
    await client.close()


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca_file": str(TLS / "other.pem"), **OURS}, "certificate verify failed"),
        ({"ca_file": str(TLS / "ca.pem")}, "broke off GET /version"),
        ({}, "broke off GET /version"),
    ],
    ids=["another authority", "no certificate of ours", "no TLS"],
)
async def test_tls_that_does_not_come_about(tls: dict[str, str], message: str, secured: FakeEngine) -> None:
    client = Engine(settings_for(secured, **({"tls": tls} if tls else {})))
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert secured.docker_host in str(caught.value)
    assert message in str(caught.value)
    assert secured.requests == []
    await client.close()


async def test_tls_with_a_server_of_another_name() -> None:
    async with FakeEngine(tls=tls_server("stranger")) as engine:
        client = Engine(settings_for(engine, tls={"ca_file": str(TLS / "ca.pem"), **OURS}))
        with pytest.raises(EngineError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await client.get("/info")
        assert engine.requests == []
        await client.close()


# --- the event stream ---------------------------------------------------------------------------------------


class Ears:
    """Someone who listens to an engine's events."""

    def __init__(self, client: Engine, former: EventStream | None = None) -> None:
        self.heard: list[str] = []
        self.exchanged = 0
        self.stream = EventStream(client, self._hear, self._exchange, former)

    def _hear(self, event: Event) -> None:
        self.heard.append(event.action)

    def _exchange(self, _moment: float) -> None:
        self.exchanged += 1


class Clock:
    """Stands in for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events, "time", clock)
    return clock


@pytest.fixture
async def ears(client: Engine) -> AsyncIterator[Ears]:
    ears = Ears(client)
    yield ears
    ears.stream.stop()


def asked_events(engine: FakeEngine) -> list[dict[str, str]]:
    return [dict(asked.query) for asked in engine.requests if asked.path == "/events"]


async def test_events_are_heard_as_they_happen(engine: FakeEngine, ears: Ears) -> None:
    assert not await ears.stream.follow(), "who knows what was before"
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert await ears.stream.follow()
    engine.crash(next(iter(engine.containers.values())))
    await until(lambda: ears.heard == ["create", "start", "die"])
    assert await ears.stream.follow()
    assert ears.exchanged == 0
    assert engine.listeners == 1


async def test_only_what_we_need_is_asked_for(engine: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    (query,) = asked_events(engine)
    assert query.keys() == {"filters"}
    filters = json.loads(query["filters"])
    assert filters["type"] == ["container"]
    assert {"start", "die", "stop", "oom", "destroy", "health_status", "rename"} <= set(filters["event"])
    assert not [name for name in filters["event"] if name.startswith("exec")]


async def test_podman_does_not_know_dockers_names_of_events(engine: FakeEngine, ears: Ears) -> None:
    engine.components = ["Podman Engine"]
    await ears.stream._engine.get("/info")
    await ears.stream.follow()
    (query,) = asked_events(engine)
    assert json.loads(query["filters"]) == {"type": ["container"]}


@pytest.mark.parametrize("end", [FakeEngine.end_streams, FakeEngine.break_streams])
async def test_a_stream_that_ended_goes_on_after_the_last_event(
    end: Callable[[FakeEngine], None], engine: FakeEngine, ears: Ears
) -> None:
    web = engine.create("web")
    await ears.stream.follow()
    engine.start_container(web)
    await until(lambda: ears.heard == ["start"])
    last = engine.events[-1]["timeNano"]
    end(engine)
    await until(lambda: not ears.stream.is_open)
    engine.crash(web)

    assert await ears.stream.follow(), "what was missed is told"
    await until(lambda: ears.heard == ["start", "die"])
    seconds, nanoseconds = divmod(last + 1, 10**9)
    assert asked_events(engine)[-1]["since"] == f"{seconds}.{nanoseconds:09}"
    assert await ears.stream.follow()
    assert ears.exchanged == 0


async def test_a_new_daemon_is_not_asked_what_it_did_while_it_started(engine: FakeEngine, ears: Ears) -> None:
    web = engine.create("web")
    await ears.stream.follow()
    engine.start_container(web)
    await until(lambda: ears.heard == ["start"])
    engine.end_streams()
    await until(lambda: not ears.stream.is_open)
    engine.forgets = True

    assert not await ears.stream.follow(), "something may have been missed"
    assert ears.exchanged == 1
    assert "since" not in asked_events(engine)[-1]


async def test_one_that_takes_over_goes_on_after_the_last_event(
    engine: FakeEngine, client: Engine, ears: Ears
) -> None:
    await ears.stream.follow()
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    last = engine.events[-1]["timeNano"]
    ears.stream.stop()
    successor = Ears(client, ears.stream)
    assert await successor.stream.follow()
    seconds, nanoseconds = divmod(last + 1, 10**9)
    assert asked_events(engine)[-1]["since"] == f"{seconds}.{nanoseconds:09}"
    successor.stream.stop()


async def test_refused_events_are_a_warning_once_and_asked_for_again_after_a_while(
    engine: FakeEngine, ears: Ears, clock: Clock, logged: list[EventDict]
) -> None:
    engine.fail("/events", refusal())
    for _ in range(3):
        assert not await ears.stream.follow()
    assert ears.stream.is_refused
    assert engine.asked("/events") == ["/events"]
    clock.now += 59
    assert not await ears.stream.follow()
    assert engine.asked("/events") == []
    clock.now += 1
    assert not await ears.stream.follow()
    assert engine.asked("/events") == ["/events"]
    assert [(line["log_level"], line["error"]) for line in logged] == [
        ("warning", "GET /v1.41/events was answered with 403: Forbidden")
    ]
    assert ears.exchanged == 0

    engine.heal()
    clock.now += 60
    assert not await ears.stream.follow()
    assert await ears.stream.follow()
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert not ears.stream.is_refused


async def test_a_stream_that_does_not_open_keeps_nobody_waiting(
    engine: FakeEngine, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_PATIENCE", 0.05)
    hang = Hang()
    engine.fail("/events", hang)
    assert not await ears.stream.follow()
    assert not await ears.stream.follow()
    assert hang.held == 1, "one at a time"
    engine.heal()
    await until(lambda: engine.listeners == 1)
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert not await ears.stream.follow(), "before it opened something was missed"
    assert await ears.stream.follow()


async def test_an_engine_that_is_not_there_is_tried_again(engine: FakeEngine, ears: Ears) -> None:
    await engine.stop()
    assert not await ears.stream.follow()
    assert not await ears.stream.follow()
    assert ears.exchanged == 0
    await engine.start()
    assert not await ears.stream.follow()
    assert await ears.stream.follow()


async def test_however_the_stream_is_cut_up(engine: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    line = (
        json.dumps({"Action": "die", "Actor": {"ID": "é", "Attributes": {}}, "timeNano": 5}).encode() + b"\n"
    )
    half = line.index(b"\\u") + 3
    engine.say(line[:half])
    engine.say(line[half:] + b"\n\n" + line + line[:1])
    engine.say(line[1:-1])
    engine.say(b"\r\n")
    await until(lambda: ears.heard == ["die", "die", "die"])
    assert ears.exchanged == 0


async def test_a_stream_that_stands_is_not_refused(engine: FakeEngine, ears: Ears, clock: Clock) -> None:
    engine.fail("/events", refusal())
    assert not await ears.stream.follow()
    engine.heal()
    clock.now += 60
    await ears.stream.follow()
    await ears.stream.follow()
    assert engine.listeners == 1
    assert not ears.stream.is_refused, "although nothing has happened yet"


async def test_a_stream_outlives_the_broken_connections_of_others(
    engine: FakeEngine, ears: Ears, client: Engine
) -> None:
    await ears.stream.follow()
    engine.fail("/info", drop)
    with pytest.raises(EngineError, match="broke off"):
        await client.get("/info")
    engine.heal()
    await client.get("/info")
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert engine.listeners == 1


async def test_a_stream_has_no_end_in_time(engine: FakeEngine, hasty: Engine) -> None:
    ears = Ears(hasty)
    await ears.stream.follow()
    engine.fail("/info", Hang())
    with pytest.raises(EngineError, match="did not answer"):
        await hasty.get("/info")  # for as long as any other answer may take
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert ears.exchanged == 0
    ears.stream.stop()


@pytest.mark.parametrize("line", [b"<html>\n", b"[]\n", b'{"message": "no"}\n'])
async def test_a_stream_that_talks_nonsense_is_begun_anew(
    line: bytes, engine: FakeEngine, ears: Ears, logged: list[EventDict]
) -> None:
    await ears.stream.follow()
    engine.say(line)
    await until(lambda: not ears.stream.is_open)
    assert not await ears.stream.follow()
    engine.run("web")
    await until(lambda: ears.heard == ["create", "start"])
    assert [entry["log_level"] for entry in logged] == ["debug"]


async def test_who_stops_listening_has_gone(engine: FakeEngine, ears: Ears) -> None:
    await ears.stream.follow()
    await until(lambda: engine.listeners == 1)
    ears.stream.stop()
    await until(lambda: not ears.stream.is_open)
    engine.run("web")
    await until(lambda: engine.listeners == 0)
    assert ears.heard == []


# --- a target: what it asks ---------------------------------------------------------------------------------


async def test_only_get_is_sent_and_only_to_few_paths(engine: FakeEngine, target: EngineTarget) -> None:
    web, db = engine.run("web"), engine.run("db")
    await scrape(target)
    engine.crash(db)
    await until(lambda: target.state.events.last is not None)
    await scrape(target)

    assert {asked.method for asked in engine.requests} == {"GET"}
    assert set(engine.asked()) == {
        "/version",
        "/info",
        "/events",
        "/containers/json",
        *(f"/containers/{one.id}/{what}" for one in (web, db) for what in ("json", "stats")),
    }


async def test_stopped_containers_are_listed_too_and_stats_come_at_once(
    engine: FakeEngine, target: EngineTarget
) -> None:
    engine.run("web")
    await scrape(target)
    queries = {asked.path.rpartition("/")[2]: dict(asked.query) for asked in engine.requests[2:]}
    assert [dict(asked.query) for asked in engine.requests if asked.path == "/containers/json"] == [
        {"all": "1"}
    ]
    assert queries["stats"] == {"stream": "false", "one-shot": "true"}


def add_cgroups(root: Path, *containers: Container) -> None:
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu io memory pids\n")
    for container in containers:
        folder = root / "sys/fs/cgroup/docker" / container.id
        folder.mkdir(parents=True)
        (folder / "memory.current").write_text("4096\n")
        (folder / "cgroup.procs").write_text("7\n")


async def test_a_host_where_nothing_happens_costs_one_list(engine: FakeEngine, tmp_path: Path) -> None:
    running = [engine.run(f"web-{number}", health="healthy") for number in range(3)]
    engine.crash(engine.run("job"), 0)
    engine.create("new")
    add_cgroups(tmp_path, *running)
    target = EngineTarget(settings_for(engine, host_root=str(tmp_path)))
    await scrape(target)
    everything = Counter(engine.asked())
    assert everything == {"/version": 1, "/events": 1, "/info": 1, "/containers/json": 1} | {
        f"/containers/{identity}/json": 1 for identity in engine.containers
    }

    for _ in range(5):
        samples = await scrape(target)
        assert engine.asked() == ["/containers/json"]
    assert len(states(samples)) == 5
    assert samples.get("plimsoll_containers_measured", source="cgroup") == 3
    await target.stop()


async def test_what_an_event_told_of_is_asked_about_once(engine: FakeEngine, target: EngineTarget) -> None:
    web, job = engine.run("web"), engine.run("job")
    engine.stop_container(web)
    engine.crash(job)
    await scrape(target)
    engine.asked()
    engine.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    await scrape(target)
    assert engine.asked() == ["/containers/json", f"/containers/{web.id}/json"]
    await scrape(target)
    assert engine.asked() == ["/containers/json"]


async def test_what_is_excluded_is_not_asked_about(engine: FakeEngine) -> None:
    engine.run("web")
    engine.run("scratch_1")
    target = EngineTarget(settings_for(engine, exclude=["scratch_.*"]))
    assert states(await scrape(target)) == {"web": "running"}
    web = next(identity for identity, one in engine.containers.items() if one.name == "web")
    assert set(engine.asked("/containers/")) == {
        "/containers/json",
        f"/containers/{web}/json",
        f"/containers/{web}/stats",
    }
    await target.stop()


async def test_a_proxy_that_lets_only_reading_through_suffices(engine: FakeEngine) -> None:
    web = engine.run("web")
    with workspace() as folder:
        behind = Path(engine.docker_host.removeprefix("unix://"))
        async with SocketProxy(behind, folder / "proxy.sock") as proxy:
            proxy.lets_through = only_reading
            target = EngineTarget(settings_for(proxy))
            samples = await scrape(target)
            assert samples.get("machine_cpu_cores") == 4
            engine.stop_container(web)
            await until(lambda: target.state.events.last and target.state.events.last.action == "stop")
            samples = await scrape(target)
            assert (states(samples), expected(samples)) == ({"web": "exited"}, {"web": 0})
            assert [job.complaint for job in target.jobs()] == [None, None]
            assert proxy.refused == []
            await target.stop()
            await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("kind", ["docker", "podman"])
async def test_real_engines_suffice_with_reading_too(kind: str, request: pytest.FixtureRequest) -> None:
    real = request.getfixturevalue(kind)
    name = await asyncio.to_thread(real.name)
    await asyncio.to_thread(real.run, name=name)
    with workspace() as folder:
        async with SocketProxy(real.socket, folder / "proxy.sock") as proxy:
            proxy.lets_through = only_reading
            target = EngineTarget(settings_for(proxy))
            samples = await scrape(target)
            assert states(samples) == {name: "running"}
            assert samples.get("container_memory_usage_bytes", name=name)
            await asyncio.to_thread(real.cli, "kill", name)
            await asyncio.to_thread(eventually, lambda: not real.inspect(name)["State"]["Running"])
            samples = await scrape(target)
            assert (states(samples)[name], samples.get("container_exit_code", name=name)) == ("exited", 137)
            assert [job.complaint for job in target.jobs()] == [None, None]
            assert proxy.refused == []
            await target.stop()
            await until(lambda: proxy.connections == 0)


# --- a target: what it publishes ----------------------------------------------------------------------------


async def test_the_life_of_a_container(engine: FakeEngine, target: EngineTarget) -> None:
    await scrape(target)
    web = engine.run("web", health="starting", created_at=engine._now())
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "running"}, {"web": 1})
    assert samples.get("container_health_status", status="starting") == 1
    assert samples.get("container_restarts_total") == 0
    assert samples.get("container_memory_working_set_bytes") == 3072
    assert samples.get("container_exit_code") is None

    engine.restart(web)
    web.health = "healthy"
    engine.tell("oom", web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "oom")
    samples = await scrape(target)
    assert samples.get("container_restarts_total") == 1
    assert samples.get("container_oom_events_total") == 1
    assert samples.get("container_health_state") == 1

    engine.crash(web, 3)
    await until(lambda: target.state.events.last and target.state.events.last.action == "die")
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "exited"}, {"web": 1})
    assert samples.get("container_exit_code") == 3
    assert samples.get("container_health_state") is None
    assert samples.get("container_memory_working_set_bytes") is None

    engine.remove(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "destroy")
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "removed"}, {"web": 1})
    assert samples.get("container_restarts_total") == 1


async def test_a_container_that_goes_between_list_and_inspection(
    engine: FakeEngine, target: EngineTarget
) -> None:
    web, db = engine.run("web"), engine.run("db")
    engine.fail(f"/containers/{web.id}/json", refusal(404, f"No such container: {web.id}"))
    assert states(await scrape(target)) == {"db": "running"}
    assert target.probe.success
    engine.heal()
    assert states(await scrape(target)) == {"web": "running", "db": "running"}

    engine.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    engine.fail(f"/containers/{web.id}/json", refusal(404, f"No such container: {web.id}"))
    assert states(await scrape(target)) == {"web": "removed", "db": "running"}
    assert target.probe.success
    assert db.id in target.state.live_usage()


# --- a target: what faults cost -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusal(500, "layer not known"), "was answered with 500: layer not known"),
        (saying("<html>"), "was not answered with JSON"),
        (saying("[]"), "was not answered as an engine would"),
        (cut, "broke off GET"),
    ],
    ids=["500", "no JSON", "no container", "half"],
)
async def test_a_container_that_cannot_be_inspected_costs_itself(
    fault: Fault,
    reason: str,
    engine: FakeEngine,
    target: EngineTarget,
    logged: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "_PUT_OFF", 0)
    for name in ("web", "db"):
        engine.run(name)
    bad = engine.run("bad")
    await scrape(target)
    engine.tell("update", bad)
    await until(lambda: target.state.events.last is not None)
    engine.fail(f"/containers/{bad.id}/json", fault)
    for _ in range(3):
        engine.asked()
        samples = await scrape(target)
        assert states(samples) == {"web": "running", "db": "running"}
        assert engine.asked("/containers/")[:2] == ["/containers/json", f"/containers/{bad.id}/json"]
    assert target.probe.success is False
    assert target.probe.complaint
    assert target.probe.complaint.startswith("1 of 3 containers could not be inspected: ")
    assert reason in target.probe.complaint
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["collection failed"]

    engine.heal()
    samples = await scrape(target)
    assert states(samples) == {"web": "running", "db": "running", "bad": "running"}
    assert target.probe.success


@pytest.mark.parametrize(
    "fault", [refusal(500, "layer not known"), cut, drop], ids=["500", "half", "dropped"]
)
async def test_a_container_that_cannot_be_inspected_costs_no_usage_of_others(
    fault: Fault, engine: FakeEngine, target: EngineTarget
) -> None:
    names = {engine.run(f"web-{number}").name for number in range(30)}
    engine.fail(f"/containers/{engine.run('bad').id}/json", fault)
    samples = await scrape(target)
    assert states(samples) == dict.fromkeys(names, "running")
    assert names_with("container_cpu_usage_seconds_total", samples) == names


async def test_a_new_container_that_cannot_be_inspected_costs_itself(
    engine: FakeEngine, target: EngineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, bad = engine.run("web"), engine.run("bad")
    engine.fail(f"/containers/{bad.id}/json", refusal(500, "layer not known"))
    assert states(await scrape(target)) == {"web": "running"}
    assert web.id in target.known().measured, "what the others use is measured"
    engine.heal()
    engine.asked()
    assert states(await scrape(target)) == {"web": "running"}
    assert f"/containers/{bad.id}/json" not in engine.asked(), "not asked again at once"
    monkeypatch.setattr(containers, "_PUT_OFF", 0)
    assert states(await scrape(target)) == {"web": "running", "bad": "running"}


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (refusal(500, "no such device"), "1 of 3 containers gave no usage: GET "),
        (saying("[]"), "1 of 3 containers gave no usage: GET "),
        (refusal(404, "No such container"), None),  # it has gone
        (refusal(409, "container is not running"), None),
        (saying('{"read": "0001-01-01T00:00:00Z"}'), None),  # it has ended
    ],
    ids=["500", "no usage", "404", "409", "ended"],
)
async def test_a_container_that_cannot_be_measured_costs_its_usage(
    fault: Fault, complaint: str | None, engine: FakeEngine, target: EngineTarget
) -> None:
    for name in ("web", "db"):
        engine.run(name)
    bad = engine.run("bad")
    engine.fail(f"/containers/{bad.id}/stats", fault)
    samples = await scrape(target)
    assert len(states(samples)) == 3
    assert names_with("container_cpu_usage_seconds_total", samples) == {"web", "db"}
    assert samples.get("plimsoll_containers_measured", source="stats") == 2
    assert samples.get("plimsoll_containers_measured", source="none") == 1
    _, usage = target.jobs()
    assert (usage.complaint or "")[: len(complaint or "")] == (complaint or "")
    assert usage.success is (complaint is None)


async def test_a_refused_info_costs_the_hosts_size(
    engine: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    engine.run("web")
    engine.fail("/info", refusal())
    for _ in range(3):
        samples = await scrape(target)
        assert states(samples) == {"web": "running"}
        assert names_with("container_cpu_usage_seconds_total", samples) == {"web"}
        assert samples.get("machine_cpu_cores") is None
        assert samples.get("machine_memory_bytes") is None
    assert target.probe.success
    assert [line["event"] for line in logged] == ["the host's size is unknown"]


async def test_refused_events_cost_inspections(
    engine: FakeEngine, target: EngineTarget, clock: Clock, logged: list[EventDict]
) -> None:
    web = engine.run("web")
    engine.fail("/events", refusal())
    await scrape(target)
    engine.asked()
    samples = await scrape(target)
    assert Counter(engine.asked()) == {
        "/containers/json": 1,
        f"/containers/{web.id}/json": 1,
        f"/containers/{web.id}/stats": 1,
    }
    assert expected(samples) == {"web": 1}
    assert [line["log_level"] for line in logged] == ["warning"]

    engine.stop_container(web)
    assert expected(await scrape(target)) == {"web": 0}, "judged by how it ended"

    engine.heal()
    clock.now += 60
    await scrape(target)
    assert "/events" in engine.asked()
    await scrape(target)
    assert engine.asked() == ["/containers/json"]


async def test_a_lost_stream_costs_no_inspection_if_the_engine_remembers(
    engine: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    for name in ("web", "db"):
        engine.crash(engine.run(name))
    await scrape(target)
    await scrape(target)
    for _ in range(3):
        engine.end_streams()
        await until(lambda: engine.listeners == 0 and not target.state.events.is_open)
        engine.asked()
        await scrape(target)
        assert Counter(engine.asked()) == {"/version": 1, "/events": 2, "/containers/json": 1}
        await scrape(target)
        assert engine.asked() == ["/containers/json"]
    assert target.probe.success
    assert {line["log_level"] for line in logged} <= {"debug"}
    assert len(logged) <= 3


async def test_what_happened_while_the_stream_was_lost_is_made_up_for(
    engine: FakeEngine, target: EngineTarget
) -> None:
    web, db = engine.run("web"), engine.run("db")
    await scrape(target)
    engine.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    engine.end_streams()
    await until(lambda: not target.state.events.is_open)
    engine.stop_container(web)
    engine.crash(db)
    await scrape(target)
    await until(lambda: target.state.events.last and target.state.events.last.action == "die")
    assert expected(await scrape(target)) == {"web": 0, "db": 1}


async def test_a_stream_that_a_proxy_drops_undoes_no_order(engine: FakeEngine, target: EngineTarget) -> None:
    """Some close it when nothing has happened for some minutes: the stop is then the last thing heard."""
    web = engine.run("web")
    await scrape(target)
    engine.stop_container(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "stop")
    for _ in range(3):
        engine.end_streams()
        await until(lambda: not target.state.events.is_open)
        assert expected(await scrape(target)) == {"web": 0}


async def test_events_that_never_come_are_not_relied_on(
    engine: FakeEngine, target: EngineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something in between holds them back: neither refused nor told."""
    monkeypatch.setattr(events, "_PATIENCE", 0.05)
    web = engine.run("web")
    engine.fail("/events", Hang())
    assert expected(await scrape(target)) == {"web": 1}
    engine.stop_container(web)
    assert expected(await scrape(target)) == {"web": 0}, "judged by how it ended"


# --- a target: an engine that hangs, goes, and comes back ---------------------------------------------------


@pytest.fixture
async def exporter(engine: FakeEngine) -> AsyncIterator[Exporter]:
    settings = settings_for(engine, timeout="1m")
    exporter = Exporter(lambda: Settings(containers=(settings,)))
    yield exporter
    await exporter.stop()


async def page(exporter: Exporter, seconds: float = 20) -> Samples:
    return Samples((await exporter.scrape(seconds, openmetrics=False, compress=False)).decode())


@pytest.mark.parametrize("path", ["/version", "/info", "/containers/json", "/containers/.*/json"])
async def test_a_hung_engine_is_waited_for_until_the_deadline(
    path: str, engine: FakeEngine, exporter: Exporter
) -> None:
    web = engine.run("web")
    (target,) = exporter._engines.values()
    if path != "/version":
        assert states(await page(exporter)) == {"web": "running"}
        target.state.machine = None
        engine.tell("update", web)
        await until(lambda: target.state.events.last is not None)
    hang = Hang()
    engine.fail(path, hang)
    for _ in range(2):
        started = time.monotonic()
        samples = await page(exporter, seconds=0.5)
        assert time.monotonic() - started < 5
        assert not [line for line in samples.text.splitlines() if line.startswith(("container_", "machine_"))]
        assert target.probe.running, "it goes on in the background"
    assert hang.held == 1, "one at a time"

    engine.crash(web, 3)
    engine.heal()
    await until(lambda: not target.probe.running)
    samples = await page(exporter)
    assert states(samples) == {"web": "exited"}
    assert samples.get("container_exit_code") == 3


async def test_slow_stats_cost_no_states(engine: FakeEngine, exporter: Exporter) -> None:
    slow, quick = engine.run("slow"), engine.run("quick")
    await page(exporter)
    hang = Hang()
    engine.fail(f"/containers/{slow.id}/stats", hang)
    for _ in range(2):
        samples = await page(exporter, seconds=0.5)
        assert states(samples) == {"slow": "running", "quick": "running"}
    assert hang.held == 1, "one at a time"
    assert names_with("container_cpu_usage_seconds_total", samples) <= {"quick"}
    engine.heal()
    _, usage = next(iter(exporter._engines.values())).jobs()
    await until(lambda: not usage.running)
    samples = await page(exporter)
    assert names_with("container_cpu_usage_seconds_total", samples) == {"slow", "quick"}
    assert quick.state == "running"


async def test_an_engine_that_goes_and_comes_back(
    engine: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    web = engine.run("web")
    await scrape(target)
    engine.restart(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "start")
    assert (await scrape(target)).get("container_restarts_total") == 1

    await engine.stop()
    for _ in range(3):
        samples = await scrape(target)
        assert samples.text == "", "live or absent"
    assert target.probe.complaint == f"no engine listens on {engine.docker_host}"

    web.restarts = 0  # as a start by hand makes it
    await engine.start()
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "running"}, {"web": 1})
    assert samples.get("container_restarts_total") == 1
    assert samples.get("machine_cpu_cores") == 4
    assert names_with("container_cpu_usage_seconds_total", samples) == {"web"}
    assert [line["event"] for line in logged if line["log_level"] != "debug"] == [
        "collection failed",
        "collection works again",
    ]


@pytest.mark.parametrize("end", [FakeEngine.end_streams, FakeEngine.break_streams])
async def test_an_engine_that_is_upgraded_between_two_scrapes(
    end: Callable[[FakeEngine], None], engine: FakeEngine, target: EngineTarget
) -> None:
    """It comes back before we miss it, and no longer speaks the version that was agreed on."""
    engine.run("web")
    await scrape(target)
    end(engine)
    await until(lambda: not target.state.events.is_open)
    await engine.stop()
    engine.version = {"ApiVersion": "1.55", "MinAPIVersion": "1.44"}
    await engine.start()
    await scrape(target)
    assert states(await scrape(target)) == {"web": "running"}


async def test_an_engine_that_is_not_there_yet(engine: FakeEngine, target: EngineTarget) -> None:
    await engine.stop()
    assert (await scrape(target)).text == ""
    assert target.probe.success is False
    await engine.start()
    engine.run("web")
    assert states(await scrape(target)) == {"web": "running"}


@pytest.mark.parametrize("path", ["/version", "/info", "/containers/json"])
async def test_garbage_costs_everything_for_as_long_as_it_lasts(
    path: str, engine: FakeEngine, target: EngineTarget
) -> None:
    engine.run("web")
    engine.fail(path, saying("<html>Welcome!</html>"))
    assert (await scrape(target)).text == ""
    assert target.probe.complaint
    assert target.probe.complaint.endswith("was not answered with JSON")
    engine.heal()
    assert states(await scrape(target)) == {"web": "running"}


async def test_podman_is_watched_too(engine: FakeEngine, target: EngineTarget) -> None:
    engine.components = ["Podman Engine", "Conmon"]
    web = engine.run("web")
    samples = await scrape(target)
    (labels,) = samples.all("container_last_seen")
    assert dict(labels)["id"] == f"/libpod_parent/libpod-{web.id}"


# --- a target: its end --------------------------------------------------------------------------------------


def tasks() -> set[str]:
    """Name those that are under way, but for the test's own."""
    found = (task.get_coro() for task in asyncio.all_tasks() - {asyncio.current_task()})
    names = {getattr(coroutine, "__qualname__", "?") for coroutine in found}
    return {name for name in names if not name.startswith(("RequestHandler.", "Server.", "Front."))}


async def test_a_stopped_target_leaves_nothing_behind(engine: FakeEngine) -> None:
    engine.run("web")
    target = EngineTarget(settings_for(engine))
    await scrape(target)
    assert tasks() == {"EventStream._listen"}
    await target.stop()
    await until(lambda: not tasks())
    engine.end_streams()
    await until(lambda: engine.connections == 0)
    engine.asked()
    await target.collect()
    assert engine.asked() == []


@pytest.mark.parametrize(
    "path",
    ["/version", "/info", "/events", "/containers/json", "/containers/.*/json", "/containers/.*/stats"],
)
async def test_a_target_can_be_stopped_whatever_hangs(path: str, engine: FakeEngine) -> None:
    engine.run("web")
    hang = Hang()
    engine.fail(path, hang)
    target = EngineTarget(settings_for(engine))
    collecting = asyncio.create_task(target.collect())
    await until(lambda: hang.held)
    async with asyncio.timeout(5):
        await target.stop()
        await collecting
    await until(lambda: not tasks() - {"Hang.__call__"})


async def test_a_successor_goes_on_from_what_was_known(engine: FakeEngine) -> None:
    """As after a reload that changed the settings."""
    web = engine.run("web")
    former = EngineTarget(settings_for(engine))
    await scrape(former)
    engine.restart(web)
    await until(lambda: former.state.events.last and former.state.events.last.action == "start")
    await scrape(former)
    web.restarts = 0
    successor = EngineTarget(settings_for(engine, labels=["team"]), former)
    await former.stop()
    engine.stop_container(web)
    engine.asked()
    await scrape(successor)
    await until(lambda: successor.state.events.last and successor.state.events.last.action == "stop")
    samples = await scrape(successor)
    assert samples.get("container_restarts_total") == 1
    assert (states(samples), expected(samples)) == ({"web": "exited"}, {"web": 0})
    await successor.stop()


async def test_another_engine_of_the_name_is_another(engine: FakeEngine) -> None:
    engine.crash(engine.run("web"))
    former = EngineTarget(settings_for(engine))
    await scrape(former)
    async with fake_engine() as other:
        successor = EngineTarget(settings_for(other), former)
        await former.stop()
        assert states(await scrape(successor)) == {}
        assert "since" not in asked_events(other)[0]
        await successor.stop()
