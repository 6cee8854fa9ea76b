"""What a target asks an engine for, and what it publishes of the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from docker_proxy import Hang, SocketProxy, only_reading, refusal
from fake_engine import Container, FakeEngine, fake_engine
from fix_fake_engine import expected, scrape, settings_for, states, until
from plimsoll.demo.processes import workspace
from plimsoll.serve.targets.containers import EngineTarget
from waiting import eventually

# --- what it asks -------------------------------------------------------------------------------------------


async def test_only_get_is_sent_and_only_to_few_paths(fake: FakeEngine, target: EngineTarget) -> None:
    web, db = fake.run("web"), fake.run("db")
    await scrape(target)
    fake.crash(db)
    await until(lambda: target.state.events.last is not None)
    await scrape(target)

    assert {asked.method for asked in fake.requests} == {"GET"}
    assert set(fake.asked()) == {
        "/version",
        "/info",
        "/events",
        "/containers/json",
        *(f"/containers/{one.id}/{what}" for one in (web, db) for what in ("json", "stats")),
    }


async def test_stopped_containers_are_listed_too_and_stats_come_at_once(
    fake: FakeEngine, target: EngineTarget
) -> None:
    fake.run("web")
    await scrape(target)
    queries = {asked.path.rpartition("/")[2]: dict(asked.query) for asked in fake.requests[2:]}
    assert fake.queries("/containers/json") == [{"all": "1"}]
    assert queries["stats"] == {"stream": "false", "one-shot": "true"}


def add_cgroups(root: Path, *containers: Container) -> None:
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu io memory pids\n")
    for container in containers:
        folder = root / "sys/fs/cgroup/docker" / container.id
        folder.mkdir(parents=True)
        (folder / "memory.current").write_text("4096\n")
        (folder / "cgroup.procs").write_text("7\n")


async def test_a_host_where_nothing_happens_costs_one_list(fake: FakeEngine, tmp_path: Path) -> None:
    running = [fake.run(f"web-{number}", health="healthy") for number in range(3)]
    fake.crash(fake.run("job"), 0)
    fake.create("new")
    add_cgroups(tmp_path, *running)
    target = EngineTarget(settings_for(fake, host_root=str(tmp_path)))
    await scrape(target)
    everything = Counter(fake.asked())
    assert everything == {"/version": 1, "/events": 1, "/info": 1, "/containers/json": 1} | {
        f"/containers/{identity}/json": 1 for identity in fake.containers
    }

    for _ in range(5):
        samples = await scrape(target)
        assert fake.asked() == ["/containers/json"]
    assert len(states(samples)) == 5
    assert samples.get("plimsoll_containers_measured", source="cgroup") == 3
    await target.stop()


async def test_what_an_event_told_of_is_asked_about_once(fake: FakeEngine, target: EngineTarget) -> None:
    web, job = fake.run("web"), fake.run("job")
    fake.stop_container(web)
    fake.crash(job)
    await scrape(target)
    fake.asked()
    fake.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    await scrape(target)
    assert fake.asked() == ["/containers/json", f"/containers/{web.id}/json"]
    await scrape(target)
    assert fake.asked() == ["/containers/json"]


async def test_what_is_excluded_is_not_asked_about(fake: FakeEngine) -> None:
    fake.run("web")
    fake.run("scratch_1")
    target = EngineTarget(settings_for(fake, exclude=["scratch_.*"]))
    assert states(await scrape(target)) == {"web": "running"}
    web = next(identity for identity, one in fake.containers.items() if one.name == "web")
    assert set(fake.asked("/containers/")) == {
        "/containers/json",
        f"/containers/{web}/json",
        f"/containers/{web}/stats",
    }
    await target.stop()


async def test_a_proxy_that_lets_only_reading_through_suffices(fake: FakeEngine) -> None:
    web = fake.run("web")
    with workspace() as folder:
        behind = Path(fake.docker_host.removeprefix("unix://"))
        async with SocketProxy(behind, folder / "proxy.sock") as proxy:
            proxy.lets_through = only_reading
            target = EngineTarget(settings_for(proxy))
            samples = await scrape(target)
            assert samples.get("machine_cpu_cores") == 4
            fake.stop_container(web)
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


# --- what it publishes --------------------------------------------------------------------------------------


async def test_the_life_of_a_container(fake: FakeEngine, target: EngineTarget) -> None:
    await scrape(target)
    web = fake.run("web", health="starting", created_at=fake._now())
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "running"}, {"web": 1})
    assert samples.get("container_health_status", status="starting") == 1
    assert samples.get("container_restarts_total") == 0
    assert samples.get("container_memory_working_set_bytes") == 3072
    assert samples.get("container_exit_code") is None

    fake.restart(web)
    web.health = "healthy"
    fake.tell("oom", web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "oom")
    samples = await scrape(target)
    assert samples.get("container_restarts_total") == 1
    assert samples.get("container_oom_events_total") == 1
    assert samples.get("container_health_state") == 1

    fake.crash(web, 3)
    await until(lambda: target.state.events.last and target.state.events.last.action == "die")
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "exited"}, {"web": 1})
    assert samples.get("container_exit_code") == 3
    assert samples.get("container_health_state") is None
    assert samples.get("container_memory_working_set_bytes") is None

    fake.remove(web)
    await until(lambda: target.state.events.last and target.state.events.last.action == "destroy")
    samples = await scrape(target)
    assert (states(samples), expected(samples)) == ({"web": "removed"}, {"web": 1})
    assert samples.get("container_restarts_total") == 1


async def test_a_container_that_goes_between_list_and_inspection(
    fake: FakeEngine, target: EngineTarget
) -> None:
    web, db = fake.run("web"), fake.run("db")
    fake.fail(f"/containers/{web.id}/json", refusal(404, f"No such container: {web.id}"))
    assert states(await scrape(target)) == {"db": "running"}
    assert target.probe.success
    fake.heal()
    assert states(await scrape(target)) == {"web": "running", "db": "running"}

    fake.tell("update", web)
    await until(lambda: target.state.events.last is not None)
    fake.fail(f"/containers/{web.id}/json", refusal(404, f"No such container: {web.id}"))
    assert states(await scrape(target)) == {"web": "removed", "db": "running"}
    assert target.probe.success
    assert db.id in target.state.live_usage()


# --- its end ------------------------------------------------------------------------------------------------


def tasks() -> set[str]:
    """Name those that are under way, but for the test's own."""
    found = (task.get_coro() for task in asyncio.all_tasks() - {asyncio.current_task()})
    names = {getattr(coroutine, "__qualname__", "?") for coroutine in found}
    return {name for name in names if not name.startswith(("RequestHandler.", "Server.", "Front."))}


async def test_a_stopped_target_leaves_nothing_behind(fake: FakeEngine) -> None:
    fake.run("web")
    target = EngineTarget(settings_for(fake))
    await scrape(target)
    assert tasks() == {"EventStream._listen"}
    await target.stop()
    await until(lambda: not tasks())
    fake.end_streams()
    await until(lambda: fake.connections == 0)
    fake.asked()
    await target.collect()
    assert fake.asked() == []


@pytest.mark.parametrize(
    "path",
    ["/version", "/info", "/events", "/containers/json", "/containers/.*/json", "/containers/.*/stats"],
)
async def test_a_target_can_be_stopped_whatever_hangs(path: str, fake: FakeEngine) -> None:
    fake.run("web")
    hang = Hang()
    fake.fail(path, hang)
    target = EngineTarget(settings_for(fake))
    collecting = asyncio.create_task(target.collect())
    await until(lambda: hang.held)
    async with asyncio.timeout(5):
        await target.stop()
        await collecting
    await until(lambda: not tasks() - {"Hang.__call__"})


async def test_a_successor_goes_on_from_what_was_known(fake: FakeEngine) -> None:
    """As after a reload that changed the settings."""
    web = fake.run("web")
    former = EngineTarget(settings_for(fake))
    await scrape(former)
    fake.restart(web)
    await until(lambda: former.state.events.last and former.state.events.last.action == "start")
    await scrape(former)
    web.restarts = 0
    successor = EngineTarget(settings_for(fake, labels=["team"]), former)
    await former.stop()
    fake.stop_container(web)
    fake.asked()
    await scrape(successor)
    await until(lambda: successor.state.events.last and successor.state.events.last.action == "stop")
    samples = await scrape(successor)
    assert samples.get("container_restarts_total") == 1
    assert (states(samples), expected(samples)) == ({"web": "exited"}, {"web": 0})
    await successor.stop()


async def test_another_engine_of_the_name_is_another(fake: FakeEngine) -> None:
    fake.crash(fake.run("web"))
    former = EngineTarget(settings_for(fake))
    await scrape(former)
    async with fake_engine() as other:
        successor = EngineTarget(settings_for(other), former)
        await former.stop()
        assert states(await scrape(successor)) == {}
        assert "since" not in other.queries("/events")[0]
        await successor.stop()
