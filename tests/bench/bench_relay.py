"""What the relay costs: notifications per second and latency through it, beside posting directly.

    make bench

The receiver and the relay are processes of their own on loopback; there is no Alertmanager that the relay
could ask. The same notification, of five alerts, is
posted to the receiver and to the relay in turns, so that both meet the same machine: one at a time, which
gives the latency, and several at once, which gives the rate. Each figure is the median over the rounds.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import yaml
from aiohttp import web

from bench.reporting import Row, Table, quotient, report
from plimsoll import __version__
from plimsoll.demo.processes import workspace
from plimsoll.relay.forwarding.receiver import client_session
from plimsoll.web.listener import Address, listening
from waiting import eventually

NOTIFICATIONS = int(os.environ.get("NOTIFICATIONS", "500"))
ROUNDS = int(os.environ.get("ROUNDS", "10"))
AT_ONCE = 4
"""As many as the relay has places for."""

TOKEN = "bench-token"
SECRET = f"whsec_{base64.b64encode(bytes(24)).decode()}"
RECEIVER = (sys.executable, __file__, "receiver")
RELAY = (sys.executable, "-m", "plimsoll", "relay", "--web.listen-address=127.0.0.1:0")


class Cost(NamedTuple):
    """Of one round: seconds at the median and at the 99th percentile, and notifications per second."""

    median: float
    p99: float
    rate: float


def main() -> int:
    """Measure, print a table and write it down."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workspace())
        receiver = stack.enter_context(running(*RECEIVER, log=folder / "receiver.log"))
        flag = f"--config.file={written(folder, receiver)}"
        relay = stack.enter_context(running(*RELAY, flag, log=folder / "relay.log"))
        targets = {"directly": receiver, "through the relay": f"{relay}/webhook/ops"}
        costs = asyncio.run(measured(targets))
    report("relay", "The relay", [table(costs)], {"Plimsoll": __version__})
    return 0


def written(folder: Path, receiver: str) -> Path:
    """Write a user's file, and the token."""
    (folder / "token").write_text(TOKEN)
    file = folder / "plimsoll.yml"
    relay = {"url": "http://127.0.0.1:9746", "token_file": "token", "max_in_flight": AT_ONCE}
    file.write_text(
        yaml.safe_dump({"webhooks": {"ops": {"url": receiver, "secret": SECRET}}, "relay": relay})
    )
    return file


@contextlib.contextmanager
def running(*command: str, log: Path) -> Iterator[str]:
    """Run a program until its log names a URL, and end it afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: process.poll() is not None or url_in(log))
        url = url_in(log)
        assert url, log.read_text()
        yield url[1]
    finally:
        process.terminate()
        process.wait(15)


def url_in(log: Path) -> re.Match[str] | None:
    return re.search(r"url=(\S+)\s", log.read_text())


# --- measuring ----------------------------------------------------------------------------------------------


async def measured(targets: dict[str, str]) -> dict[str, list[Cost]]:
    """Post to each target in turns."""
    costs: dict[str, list[Cost]] = {name: [] for name in targets}
    async with client_session() as session:
        for number in range(-1, ROUNDS):
            for name, url in targets.items():
                cost = await one_round(session, url)
                if number >= 0:  # the first warms up
                    costs[name].append(cost)
    return costs


async def one_round(session: aiohttp.ClientSession, url: str) -> Cost:
    times = sorted([await post(session, url) for _ in range(NOTIFICATIONS)])
    began = time.perf_counter()
    await asyncio.gather(*(several(session, url) for _ in range(AT_ONCE)))
    rate = NOTIFICATIONS // AT_ONCE * AT_ONCE / (time.perf_counter() - began)
    return Cost(statistics.median(times), times[int(len(times) * 0.99)], rate)


async def several(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(NOTIFICATIONS // AT_ONCE):
        await post(session, url)


async def post(session: aiohttp.ClientSession, url: str) -> float:
    """Give the seconds until the answer."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    began = time.perf_counter()
    async with session.post(url, data=BODY, headers=headers) as response:
        await response.read()
        assert response.status == 200, await response.text()
    return time.perf_counter() - began


def table(costs: dict[str, list[Cost]]) -> Table:
    """Write what the way through the relay adds."""
    directly, relayed = (Cost(*map(statistics.median, zip(*all_, strict=True))) for all_ in costs.values())
    figures = [
        ("latency, median, ms", directly.median * 1e3, relayed.median * 1e3),
        ("latency, p99, ms", directly.p99 * 1e3, relayed.p99 * 1e3),
        (f"notifications per second, {AT_ONCE} at once", directly.rate, relayed.rate),
    ]
    rows = [Row(name, (one, other), ratio=quotient(other, one)) for name, one, other in figures]
    caption = (
        f"{NOTIFICATIONS} notifications of {len(BODY):,} bytes, median of {ROUNDS} rounds each, in turns:"
    )
    return Table(caption, tuple(costs), rows, "relay : directly")


def alert(number: int) -> dict[str, object]:
    labels = {
        "alertname": "DatabaseGrowthHigh",
        "category": "storage",
        "datname": f"database{number}",
        "organization": "acme",
        "server": "main",
        "severity": "high",
    }
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {
            "summary": "A database grows",
            "description": "It grew by 40 percent in a day. " * 10,
        },
        "startsAt": "2026-03-01T12:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=vector%281%29&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


BODY = json.dumps(
    {
        "receiver": "ops",
        "status": "firing",
        "alerts": [alert(number) for number in range(5)],
        "groupLabels": {"alertname": "DatabaseGrowthHigh"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="DatabaseGrowthHigh"}',
        "truncatedAlerts": 0,
    }
).encode()


# --- what is measured ---------------------------------------------------------------------------------------


async def be_receiver() -> None:
    """Be a receiver."""

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    await serve([web.post("/", receive)])


async def serve(routes: list[web.RouteDef]) -> None:
    application = web.Application()
    application.add_routes(routes)
    async with listening(application, Address("127.0.0.1", 0)) as url:
        print(f"url={url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(be_receiver()) if sys.argv[1:] == ["receiver"] else main())
