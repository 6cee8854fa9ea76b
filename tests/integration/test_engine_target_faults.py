"""What is lost, and what is not, when an engine answers badly, hangs, or goes away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.typing import EventDict

from docker_proxy import Fault, Hang, cut, drop, refusal, saying
from fake_engine import FakeEngine
from fix_fake_engine import Clock, expected, names_with, scrape, settings_for, states, until
from plimsoll.serve.collectors import containers
from plimsoll.serve.exporter import Exporter
from plimsoll.serve.settings import Settings
from plimsoll.serve.sources import events
from plimsoll.serve.targets.containers import EngineTarget
from serving import Samples

# --- what faults cost ---------------------------------------------------------------------------------------


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
    fake: FakeEngine,
    target: EngineTarget,
    logged: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "_PUT_OFF", 0)
    for name in ("web", "db"):
        fake.run(name)
    bad = fake.run("bad")
    await scrape(target)
    fake.tell("update", bad)
    await until(lambda: target.state.events.last is not None)
    fake.fail(f"/containers/{bad.id}/json", fault)
    for _ in range(3):
        fake.asked()
        samples = await scrape(target)
        assert states(samples) == {"web": "running", "db": "running"}
        assert fake.asked("/containers/")[:2] == ["/containers/json", f"/containers/{bad.id}/json"]
    assert target.probe.success is False
    assert target.probe.complaint
    assert target.probe.complaint.startswith("1 of 3 containers could not be inspected: ")
    assert reason in target.probe.complaint
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["collection failed"]

    fake.heal()
    samples = await scrape(target)
    assert states(samples) == {"web": "running", "db": "running", "bad": "running"}
    assert target.probe.success


@pytest.mark.parametrize(
    "fault", [refusal(500, "layer not known"), cut, drop], ids=["500", "half", "dropped"]
)
async def test_a_container_that_cannot_be_inspected_costs_no_usage_of_others(
    fault: Fault, fake: FakeEngine, target: EngineTarget
) -> None:
    names = {fake.run(f"web-{number}").name for number in range(30)}
    fake.fail(f"/containers/{fake.run('bad').id}/json", fault)
    samples = await scrape(target)
    assert states(samples) == dict.fromkeys(names, "running")
    assert names_with("container_cpu_usage_seconds_total", samples) == names


async def test_a_new_container_that_cannot_be_inspected_costs_itself(
    fake: FakeEngine, target: EngineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, bad = fake.run("web"), fake.run("bad")
    fake.fail(f"/containers/{bad.id}/json", refusal(500, "layer not known"))
    assert states(await scrape(target)) == {"web": "running"}
    assert web.id in target.known().measured, "what the others use is measured"
    fake.heal()
    fake.asked()
    assert states(await scrape(target)) == {"web": "running"}
    assert f"/containers/{bad.id}/json" not in fake.asked(), "not asked again at once"
    monkeypatch.setattr(containers, "_PUT_OFF", 0)
    assert states(await scrape(target)) == {"web": "running", "bad": "running"}


NO_USAGE = "1 of 3 containers gave no usage: GET "
READ = '"read": "2026-11-21T13:23:14Z"'


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (refusal(500, "no such device"), NO_USAGE),
        (saying("[]"), NO_USAGE),
        (saying(f'{{{READ}, "cpu_stats": "much"}}'), NO_USAGE),
        (saying(f'{{{READ}, "memory_stats": {{"usage": "much"}}}}'), NO_USAGE),
        (refusal(404, "No such container"), None),  # it has gone
        (refusal(409, "container is not running"), None),
        (saying('{"read": "0001-01-01T00:00:00Z"}'), None),  # it has ended
        (saying(""), None),  # the same, by Podman
    ],
    ids=["500", "no usage", "no group", "no number", "404", "409", "ended", "nothing"],
)
async def test_a_container_that_cannot_be_measured_costs_its_usage(
    fault: Fault, complaint: str | None, fake: FakeEngine, target: EngineTarget
) -> None:
    for name in ("web", "db"):
        fake.run(name)
    bad = fake.run("bad")
    fake.fail(f"/containers/{bad.id}/stats", fault)
    samples = await scrape(target)
    assert len(states(samples)) == 3
    assert names_with("container_cpu_usage_seconds_total", samples) == {"web", "db"}
    assert samples.get("plimsoll_containers_measured", source="stats") == 2
    assert samples.get("plimsoll_containers_measured", source="none") == 1
    _, usage = target.jobs()
    assert (usage.complaint or "")[: len(complaint or "")] == (complaint or "")
    assert usage.success is (complaint is None)


async def test_a_refused_info_costs_the_hosts_size(
    fake: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    fake.run("web")
    fake.fail("/info", refusal())
    for _ in range(3):
        samples = await scrape(target)
        assert states(samples) == {"web": "running"}
        assert names_with("container_cpu_usage_seconds_total", samples) == {"web"}
        assert samples.get("machine_cpu_cores") is None
        assert samples.get("machine_memory_bytes") is None
    assert target.probe.success
    assert [line["event"] for line in logged] == ["the host's size is unknown"]


async def test_refused_events_cost_inspections(
    fake: FakeEngine, target: EngineTarget, clock: Clock, logged: list[EventDict]
) -> None:
    web = fake.run("web")
    fake.fail("/events", refusal())
    await scrape(target)
    fake.asked()
    samples = await scrape(target)
    assert Counter(fake.asked()) == {
        "/containers/json": 1,
        f"/containers/{web.id}/json": 1,
        f"/containers/{web.id}/stats": 1,
    }
    assert expected(samples) == {"web": 1}
    assert [line["log_level"] for line in logged] == ["warning"]

    fake.stop_container(web)
    assert expected(await scrape(target)) == {"web": 0}, "judged by how it ended"

    fake.heal()
    clock.now += 60
    await scrape(target)
    assert "/events" in fake.asked()
    await scrape(target)
    assert fake.asked() == ["/containers/json"]


async def test_a_lost_stream_costs_no_inspection_if_the_engine_remembers(
    fake: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    for name in ("web", "db"):
        fake.crash(fake.run(name))
    await scrape(target)
    await scrape(target)
    for _ in range(3):
        fake.end_streams()
        await until(lambda: fake.listeners == 0 and not target.state.events.is_open)
        fake.asked()
        await scrape(target)
        assert Counter(fake.asked()) == {"/version": 1, "/events": 2, "/containers/json": 1}
        await scrape(target)
        assert fake.asked() == ["/containers/json"]
    assert target.probe.success
    assert {line["log_level"] for line in logged} <= {"debug"}
    assert len(logged) <= 3


async def test_what_happened_while_the_stream_was_lost_is_made_up_for(
    fake: FakeEngine, target: EngineTarget
) -> None:
    web, db = fake.run("web"), fake.run("db")
    await scrape(target)
    fake.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    fake.end_streams()
    await until(lambda: not target.state.events.is_open)
    fake.stop_container(web)
    fake.crash(db)
    await scrape(target)
    await until(lambda: target.state.events.last and target.state.events.last.action == "die")
    assert expected(await scrape(target)) == {"web": 0, "db": 1}


async def test_an_order_that_the_engine_has_forgotten_is_no_crash(
    fake: FakeEngine, target: EngineTarget
) -> None:
    web, db, busy = fake.run("web"), fake.run("db"), fake.run("busy")
    await scrape(target)
    fake.end_streams()
    await until(lambda: not target.state.events.is_open)
    fake.stop_container(web)
    fake.crash(db)
    for _ in range(256):  # as of a health check
        fake.tell("exec_die", busy)
    for _ in range(2):
        assert expected(await scrape(target)) == {"web": 0, "db": 1, "busy": 1}


async def test_a_stream_that_a_proxy_drops_undoes_no_order(fake: FakeEngine, target: EngineTarget) -> None:
    """Some close it when nothing has happened for some minutes: the stop is then the last thing heard."""
    web = fake.run("web")
    await scrape(target)
    fake.stop_container(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "stop")
    for _ in range(3):
        fake.end_streams()
        await until(lambda: not target.state.events.is_open)
        assert expected(await scrape(target)) == {"web": 0}


async def test_events_that_never_come_are_not_relied_on(
    fake: FakeEngine, target: EngineTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something in between holds them back: neither refused nor told."""
    monkeypatch.setattr(events, "_PATIENCE", 0.05)
    web = fake.run("web")
    fake.fail("/events", Hang())
    assert expected(await scrape(target)) == {"web": 1}
    fake.stop_container(web)
    assert expected(await scrape(target)) == {"web": 0}, "judged by how it ended"


# --- an engine that hangs, goes, and comes back -------------------------------------------------------------


@pytest.fixture
async def exporter(fake: FakeEngine) -> AsyncIterator[Exporter]:
    settings = settings_for(fake, timeout="1m")
    exporter = Exporter(lambda: Settings(containers=(settings,)))
    yield exporter
    await exporter.stop()


async def page(exporter: Exporter, seconds: float = 20) -> Samples:
    pieces = await exporter.scrape(seconds, openmetrics=False, compress=False)
    return Samples(b"".join(pieces).decode())


@pytest.mark.parametrize("path", ["/version", "/info", "/containers/json", "/containers/.*/json"])
async def test_a_hung_engine_is_waited_for_until_the_deadline(
    path: str, fake: FakeEngine, exporter: Exporter
) -> None:
    web = fake.run("web")
    (target,) = exporter._engines.values()
    if path != "/version":
        assert states(await page(exporter)) == {"web": "running"}
        target.state.machine = None
        fake.tell("update", web)
        await until(lambda: target.state.events.last is not None)
    hang = Hang()
    fake.fail(path, hang)
    for _ in range(2):
        started = time.monotonic()
        samples = await page(exporter, seconds=0.5)
        assert time.monotonic() - started < 5
        assert not [line for line in samples.text.splitlines() if line.startswith(("container_", "machine_"))]
        assert target.probe.running, "it goes on in the background"
    assert hang.held == 1, "one at a time"

    fake.crash(web, 3)
    fake.heal()
    await until(lambda: not target.probe.running)
    samples = await page(exporter)
    assert states(samples) == {"web": "exited"}
    assert samples.get("container_exit_code") == 3


async def test_slow_stats_cost_no_states(fake: FakeEngine, exporter: Exporter) -> None:
    slow, quick = fake.run("slow"), fake.run("quick")
    await page(exporter)
    hang = Hang()
    fake.fail(f"/containers/{slow.id}/stats", hang)
    for _ in range(2):
        samples = await page(exporter, seconds=0.5)
        assert states(samples) == {"slow": "running", "quick": "running"}
    assert hang.held == 1, "one at a time"
    assert names_with("container_cpu_usage_seconds_total", samples) <= {"quick"}
    fake.heal()
    _, usage = next(iter(exporter._engines.values())).jobs()
    await until(lambda: not usage.running)
    samples = await page(exporter)
    assert names_with("container_cpu_usage_seconds_total", samples) == {"slow", "quick"}
    assert quick.state == "running"


async def test_an_engine_that_goes_and_comes_back(
    fake: FakeEngine, target: EngineTarget, logged: list[EventDict]
) -> None:
    web = fake.run("web")
    await scrape(target)
    fake.restart(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "start")
    assert (await scrape(target)).get("container_restarts_total") == 1

    await fake.stop()
    for _ in range(3):
        samples = await scrape(target)
        assert samples.text == "", "live or absent"
    assert target.probe.complaint == f"no engine listens on {fake.docker_host}"

    web.restarts = 0  # as a start by hand makes it
    await fake.start()
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
    end: Callable[[FakeEngine], None], fake: FakeEngine, target: EngineTarget
) -> None:
    """It comes back before we miss it, and no longer speaks the version that was agreed on."""
    fake.run("web")
    await scrape(target)
    end(fake)
    await until(lambda: not target.state.events.is_open)
    await fake.stop()
    fake.version = {"ApiVersion": "1.55", "MinAPIVersion": "1.44"}
    await fake.start()
    await scrape(target)
    assert states(await scrape(target)) == {"web": "running"}


async def test_an_engine_that_is_not_there_yet(fake: FakeEngine, target: EngineTarget) -> None:
    await fake.stop()
    assert (await scrape(target)).text == ""
    assert target.probe.success is False
    await fake.start()
    fake.run("web")
    assert states(await scrape(target)) == {"web": "running"}


@pytest.mark.parametrize("path", ["/version", "/info", "/containers/json"])
async def test_garbage_costs_everything_for_as_long_as_it_lasts(
    path: str, fake: FakeEngine, target: EngineTarget
) -> None:
    fake.run("web")
    fake.fail(path, saying("<html>Welcome!</html>"))
    assert (await scrape(target)).text == ""
    assert target.probe.complaint
    assert target.probe.complaint.endswith("was not answered with JSON")
    fake.heal()
    assert states(await scrape(target)) == {"web": "running"}


async def test_podman_is_watched_too(fake: FakeEngine, target: EngineTarget) -> None:
    fake.components = ["Podman Engine", "Conmon"]
    web = fake.run("web")
    samples = await scrape(target)
    (labels,) = samples.all("container_last_seen")
    assert dict(labels)["id"] == f"/libpod_parent/libpod-{web.id}"
