"""That nothing stays of what has gone: tables, partitions, databases, rows, containers, and who scrapes us.

Each round makes what is watched, and drops what the rounds before have made. Everything that lives in this
process is counted from time to time, whatever it is and whoever holds it: what is left behind shows once for
each round, or more often. The memory that all takes is not asked for, since it varies.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import re
import shutil
import threading
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import web

from docker_proxy import refusal
from fake_engine import Container, FakeEngine
from fix_fake_engine import names_with, scrape, settings_for, until
from fix_postgres import Database
from plimsoll.demo.processes import alive
from plimsoll.serve.exporter import Exporter
from plimsoll.serve.settings import load_settings
from plimsoll.serve.state.postgres import ServerState
from plimsoll.serve.targets.containers import EngineTarget
from plimsoll.web.application import make_application
from plimsoll.web.listener import Address, listening
from waiting import eventually

WARM_UP = 4
ROUNDS = 8
"""From one count to the next, of which there are three: what happens once is not in both halves."""

NOISE = ROUNDS // 2
"""So many more of a kind there may be at one time than at another."""

THREADS = 4
"""Of the event loop, for what would block it."""

EACH = 4
"""Tables, and partitions, that a round makes."""

LIMIT = 10
"""Tables that have series: fewer than there are."""

KEPT = """
CREATE TABLE kept_{number} (id int PRIMARY KEY, document text) WITH (autovacuum_enabled = off);
INSERT INTO kept_{number} SELECT i, repeat('x', 99) FROM generate_series(1, 2000) i;
"""
PARTED = "CREATE TABLE parted (id int, note text) PARTITION BY LIST (id); CREATE INDEX ON parted (id);"
MADE = """
CREATE TABLE made_{round}_{number} (id int PRIMARY KEY, document text);
CREATE TABLE part_{round}_{number} PARTITION OF parted FOR VALUES IN ({round} * 10 + {number});
"""
GROWN = "INSERT INTO made_{round}_{number} SELECT i, repeat('x', 99) FROM generate_series(1, 1000) i;"
DROPPED = "DROP TABLE made_{round}_{number}, part_{round}_{number};"
NAMES = (
    "SELECT relname AS name, oid::bigint % 7 AS rest FROM pg_class WHERE relname ~ '^(made|part)_.*[0-9]$'"
)
QUERIES = {
    "collector_name": "made",
    "min_interval": "0s",
    "metrics": [
        {
            "metric_name": "made_rest",
            "type": "gauge",
            "help": "Of a test.",
            "key_labels": ["name"],
            "values": ["rest"],
            "query": NAMES,
        }
    ],
}

Round = Callable[[int], Awaitable[None]]


# --- counting -----------------------------------------------------------------------------------------------


async def is_flat(a_round: Round) -> None:
    """Fail if rounds leave something behind. There is nothing under way when a round has ended."""
    await start_threads()
    numbers = itertools.count(1)
    counts = []
    for rounds in (WARM_UP, ROUNDS, ROUNDS):
        for number in itertools.islice(numbers, rounds):
            await a_round(number)
        counts.append(await living())
    first, second, third = (Counter(json.loads(count)) for count in counts)
    more = (second - first) & (third - second)
    left = {kind: count for kind, count in more.items() if count > NOISE}
    assert not left, f"{ROUNDS} rounds left behind, and so did the {ROUNDS} before: {left}"


async def living() -> str:
    """Count all objects by type, those too that the collector of garbage does not know by itself.

    It is written as JSON, since the next count must not find many more objects because of this one.
    """
    await forget_timers()
    forget_addresses()
    re.purge()
    gc.collect()
    known = {id(each): each for each in gc.get_objects()}
    new = list(known.values())
    while new:
        found = {id(each): each for each in gc.get_referents(*new) if id(each) not in known}
        known |= found
        new = list(found.values())
    names: Counter[str] = Counter()
    for kind, count in Counter([type(each) for each in known.values()]).items():
        names[f"{kind.__module__}.{kind.__qualname__}"] += count
    return json.dumps(names)


async def start_threads() -> None:
    """Begin with all the threads that there may be, which otherwise come when many are wanted at once."""
    barrier = threading.Barrier(THREADS)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    await asyncio.gather(*(asyncio.to_thread(barrier.wait) for _ in range(THREADS)))


async def forget_timers() -> None:
    """Have the event loop forget cancelled timers, which it does when there are more than a hundred."""
    for _ in range(1000):
        asyncio.get_running_loop().call_later(60, print).cancel()
    await asyncio.sleep(0)


def forget_addresses() -> None:
    """Empty yarl's caches, each of which has a limit; its cache_clear() knows of some of them only."""
    for each in gc.get_objects():
        if type(each) is functools._lru_cache_wrapper and each.__module__.startswith("yarl"):
            each.cache_clear()


# --- PostgreSQL ---------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_nothing_stays_of_what_a_server_had(newest_database: Database, tmp_path: Path) -> None:
    with newest_database.connect() as session:
        session.execute(PARTED + "".join(KEPT.format(number=number) for number in range(LIMIT)))
    exporter = Exporter(lambda: load_settings(written(tmp_path, newest_database)))
    with dropping(newest_database):
        async with served(exporter) as url:
            tasks = len(asyncio.all_tasks())

            async def a_round(number: int) -> None:
                await asyncio.to_thread(change, newest_database, number)
                await exporter.scrape(0, openmetrics=True, compress=True)
                await leave_before_the_answer(url)
                await shown(url, f'datname="{newest_database.name}_{number}"', f'name="made_{number}_1"')
                await until(lambda: len(asyncio.all_tasks()) == tasks)

            await is_flat(a_round)
    await exporter.stop()
    (target,) = exporter._servers.values()
    assert_all_was_at_work(target.state)


def written(folder: Path, database: Database, name: str = "made") -> Path:
    """Write a configuration: few tables have series, and a query gives a row for each that comes and goes."""
    (folder / "made.yml").write_text(yaml.safe_dump(QUERIES | {"collector_name": name}))
    selection = {"include": [f"{database.name}.*"]}
    config = database.config(databases=selection, tables={"limit": LIMIT, "statistics": True})
    config["sql"] = [{"files": "./made.yml", "servers": ["main"], "databases": selection}]
    path = folder / "plimsoll.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def change(database: Database, number: int) -> None:
    """Make tables, partitions and a database; let the former tables grow; drop what is older."""
    with database.connect() as session:
        session.execute(of_round(MADE, number))
        if number > 1:
            session.execute(of_round(GROWN, number - 1))
            session.execute(f"DROP DATABASE {database.name}_{number - 1} WITH (FORCE)")
        if number > 2:
            session.execute(of_round(DROPPED, number - 2))
        session.execute(f"CREATE DATABASE {database.name}_{number} TEMPLATE template0")
        pid = session.info.backend_pid
    eventually(lambda: not alive(pid))  # then the statistics say that tables have grown
    with database.connect(f"{database.name}_{number}") as session:
        session.execute("CREATE TABLE made (id int PRIMARY KEY, document text)")


@contextmanager
def dropping(database: Database) -> Iterator[None]:
    """Drop in the end the databases whose names begin like that of `database`."""
    try:
        yield
    finally:
        with database.connect() as session:
            names = session.execute(f"SELECT datname FROM pg_database WHERE datname ~ '^{database.name}_'")
            for (name,) in names.fetchall():
                session.execute(f"DROP DATABASE {name} WITH (FORCE)")


def of_round(statement: str, number: int) -> str:
    return "".join(statement.format(round=number, number=each) for each in range(EACH))


async def leave_before_the_answer(url: str) -> None:
    address = urlsplit(url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def shown(url: str, *texts: str) -> None:
    """Scrape over a connection of its own, until everything has been measured."""
    page = ""
    async with asyncio.timeout(30):
        while not all(text in page for text in texts):
            page = await asyncio.to_thread(fetched, url)


def fetched(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        return str(response.read().decode())


@asynccontextmanager
async def served(exporter: Exporter) -> AsyncIterator[str]:
    """Serve an exporter's pages, and give its URL."""

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=b"".join(await exporter.scrape(30, openmetrics=False, compress=False)))

    application = make_application(
        title="", description="", metrics=metrics, is_ready=lambda: True, reload=exporter.reload
    )
    async with listening(application, Address("127.0.0.1", 0)) as url:
        yield url


def assert_all_was_at_work(state: ServerState) -> None:
    """Make sure that there was something that could have been left behind."""
    last = max(state.passes.values(), key=lambda each: each.listed)
    selection = last.shown.tables
    assert len(selection.published) == LIMIT < last.listed
    assert selection.growth
    assert selection.growers
    assert last.shown.roots
    assert last.statistics
    assert len(state.passes) == len(state.sizes) == len(state.outcomes) == 2


async def test_nothing_stays_of_what_a_reload_has_changed(newest_database: Database, tmp_path: Path) -> None:
    """Collector files, servers and engines come and go by configuration, while one server stays."""
    with newest_database.connect() as session:
        session.execute(PARTED + of_round(MADE, 1))
    path = written(tmp_path, newest_database)
    exporter = Exporter(lambda: load_settings(path))
    tasks = len(asyncio.all_tasks())

    async def a_round(number: int) -> None:
        written(tmp_path, newest_database, f"made_{number}")
        config = yaml.safe_load(path.read_text())
        gone = {"name": f"gone_{number}", "dsn": f"postgresql://plimsoll@127.1.0.{number}:1/postgres"}
        kept = {**config["postgres"]["servers"][0], "name": "kept"}
        config["postgres"]["servers"] += [kept, gone]
        config["containers"] = [{"name": f"gone_{number}", "docker_host": "tcp://127.0.0.1:1"}]
        path.write_text(yaml.safe_dump(config))
        assert await exporter.reload() is None
        await exporter.scrape(30, openmetrics=False, compress=False)
        await until(lambda: len(asyncio.all_tasks()) == tasks)

    await is_flat(a_round)
    await exporter.stop()


# --- containers ---------------------------------------------------------------------------------------------


async def test_nothing_stays_of_containers_that_have_gone(fake: FakeEngine, tmp_path: Path) -> None:
    kept = {"exclude": ["ignored.*"], "keep_removed": "0s"}
    target = EngineTarget(settings_for(fake, timeout="10s", host_root=str(tmp_path), **kept))
    cgroups = tmp_path / "sys/fs/cgroup"
    await target.collect()

    async def a_round(number: int) -> None:
        forget(fake)
        cgroup, stopped, crashing, bad, ignored, fleeting = (
            fake.run(f"{name}{number}") for name in ("cgroup", "stop", "crash", "bad", "ignored", "fleet")
        )
        put_cgroup(cgroups, cgroup)
        fake.fail(f"/containers/{bad.id}/json", refusal(500))
        fake.remove(fleeting)
        await told(fake, target)
        samples = await scrape(target)
        assert names_with("container_state", samples) == {each.name for each in (cgroup, stopped, crashing)}
        assert samples.get("plimsoll_containers_measured", source="cgroup") == 1
        fake.stop_container(stopped)
        fake.restart(crashing)
        await told(fake, target)
        await target.collect()
        for container in (cgroup, stopped, crashing, bad, ignored):
            fake.remove(container)
        await told(fake, target)
        assert not names_with("container_state", await scrape(target))
        shutil.rmtree(cgroups)

    await is_flat(a_round)
    await target.stop()


def forget(fake: FakeEngine) -> None:
    """Have the engine itself forget what it keeps for tests."""
    fake.asked()
    fake.heal()
    fake.events.clear()
    fake.remembered.clear()


def put_cgroup(root: Path, container: Container) -> None:
    folder = root / "docker" / container.id
    folder.mkdir(parents=True)
    (root / "cgroup.controllers").write_text("memory\n")
    (folder / "memory.current").write_text("4096\n")


async def told(fake: FakeEngine, target: EngineTarget) -> None:
    """Wait until the last event has arrived."""
    stream, last = target.state.events, fake.events[-1]["timeNano"]
    await until(lambda: stream.last and stream.last.nanoseconds == last)
