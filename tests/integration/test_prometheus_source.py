"""What the relay asks of the real Prometheus, and what it makes of odd answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from plimsoll.alerts.peer import PeerError
from plimsoll.demo.service import LOOPBACK, Service, fetch
from plimsoll.relay.lives.runs import Run
from plimsoll.relay.sources.prometheus import Prometheus, Shown
from programs import LIFECYCLE, run_prometheus
from reloading import alertmanager, answering, reload
from support import require_program, said_by
from waiting import eventually

STEP = 30
HOUR = 3600 // STEP
"""Samples."""
BEGIN = float(int(time.time()) - 6 * 3600) + 0.123
RAN = {"Long": [(0, 2 * HOUR + 7), (3 * HOUR, 3 * HOUR), (4 * HOUR, 5 * HOUR)], "Always": [(0, 5 * HOUR)]}
"""When alerts fired, as numbers of their first and last samples."""

RULES = [
    {"alert": "Fires", "expr": "vector(1)", "labels": {"severity": "high", "replica": "own", "region": "us"}},
    {"alert": "Waits", "expr": "vector(1)", "for": "1h", "labels": {"severity": "low"}},
    {"alert": "Never", "expr": "vector(0) > 1"},
]
EXTERNAL = {"region": "eu", "replica": "a", "cluster": "007"}
NOT_SENT = {"action": "labeldrop", "regex": "repl.*|clus"}


def at(sample: int) -> datetime:
    return datetime.fromtimestamp(BEGIN + STEP * sample, UTC)


def past() -> str:
    """Give samples of what fired before Prometheus started."""
    lines = [
        f'ALERTS{{alertname="{name}",alertstate="firing",replica="old"}} 1 {BEGIN + STEP * number:.3f}'
        for name, spans in RAN.items()
        for first, last in spans
        for number in range(first, last + 1)
    ]
    waited = f'ALERTS{{alertname="Long",alertstate="pending"}} 1 {BEGIN + STEP * (2 * HOUR + 30):.3f}'
    return "\n".join([*lines, waited, "# EOF\n"])


def configuration(telling: Service, external: Mapping[str, str] = EXTERNAL) -> dict[str, Any]:
    return {
        "global": {"evaluation_interval": "1s", "external_labels": dict(external)},
        "rule_files": ["rules.yml"],
        "alerting": {
            "alert_relabel_configs": [NOT_SENT],
            "alertmanagers": [{"static_configs": [{"targets": [telling.address]}]}],
        },
    }


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("telling")
    file = directory / "alertmanager.yml"
    file.write_text(yaml.safe_dump({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}))
    with alertmanager(directory, file) as service:
        yield service


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judging")


@pytest.fixture(scope="module")
def judging(directory: Path, telling: Service) -> Iterator[Service]:
    rules = {"groups": [{"name": "rules", "rules": RULES}]}
    (directory / "rules.yml").write_text(yaml.safe_dump(rules))
    (directory / "past").write_text(past())
    create = ("tsdb", "create-blocks-from", "--quiet", "openmetrics")
    said_by(require_program("promtool"), *create, directory / "past", directory / "data")
    flags = (f"--storage.tsdb.path={directory / 'data'}", "--rules.alert.resend-delay=5s", LIFECYCLE)
    with run_prometheus(directory, configuration(telling), *flags) as service:
        eventually(lambda: "ALERTS" in fetch(f"{service.url}/api/v1/query?query=ALERTS"))
        yield service


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Prometheus]:
    async with aiohttp.ClientSession() as session:
        yield Prometheus(session, url)


@pytest.fixture
async def prometheus(judging: Service) -> AsyncIterator[Prometheus]:
    async with asking(judging.url) as source:
        yield source


async def test_a_time_of_hours_is_told_with_its_gaps(prometheus: Prometheus) -> None:
    """It is asked for in pieces, which begin and end with a sample of a run."""
    runs = await prometheus.runs(at(0), at(0) + timedelta(hours=5, minutes=30))
    labels = {"region": "eu", "cluster": "007"}
    expected = [
        Run({"alertname": name, **labels}, at(first), at(last))
        for name, spans in RAN.items()
        for first, last in spans
    ]
    assert sorted(runs, key=lambda run: (run.labels["alertname"], run.first)) == sorted(
        expected, key=lambda run: (run.labels["alertname"], run.first)
    )


async def test_a_time_cuts_what_fired_longer(prometheus: Prometheus) -> None:
    runs = await prometheus.runs(at(HOUR), at(HOUR) + timedelta(seconds=100))
    assert {(run.first, run.last) for run in runs} == {(at(HOUR), at(HOUR + 3))}
    assert await prometheus.runs(at(HOUR), at(HOUR)) == []


async def test_a_tolerance_shorter_than_the_distance_of_samples(prometheus: Prometheus) -> None:
    runs = await prometheus.runs(at(1), at(3), tolerance=STEP - 1)
    assert {(run.first, run.last) for run in runs} == {(at(number), at(number)) for number in (1, 2, 3)}


async def test_it_calls_alerts_as_alertmanager_does(prometheus: Prometheus, telling: Service) -> None:
    def told() -> list[dict[str, str]]:
        return [alert["labels"] for alert in json.loads(fetch(f"{telling.url}/api/v2/alerts"))]

    await asyncio.to_thread(eventually, told)
    shown = await prometheus.now()
    assert list(shown.firing) == told()
    assert list(shown.pending) == [
        {"alertname": "Waits", "severity": "low", "region": "eu", "cluster": "007"}
    ]
    assert shown.firing[0]["region"] == "us"


async def test_what_fires_has_a_run_until_now(prometheus: Prometheus) -> None:
    (alert,) = (await prometheus.now()).firing
    now = datetime.now(UTC)
    (run,) = await prometheus.runs(now - timedelta(minutes=5), now)
    assert run.labels == alert
    assert timedelta(0) <= now - run.last < timedelta(seconds=10)


async def test_it_says_when_it_was_started(prometheus: Prometheus, judging: Service) -> None:
    metrics = fetch(f"{judging.url}/metrics")
    match = re.search(r"^process_start_time_seconds (\S+)", metrics, re.MULTILINE)
    assert match
    started = await prometheus.started_at()
    assert abs(started.timestamp() - float(match[1])) < 5
    assert started.utcoffset() == timedelta(0)


async def test_another_configuration_is_noticed(
    prometheus: Prometheus, judging: Service, telling: Service, directory: Path
) -> None:
    before = await prometheus.sent()
    assert await prometheus.sent() is before
    file = directory / "prometheus.yml"
    text = file.read_text()
    file.write_text(yaml.safe_dump(configuration(telling, {"cluster": "b"})))
    try:
        await asyncio.to_thread(reload, judging)
        assert (await prometheus.sent()).external == {"cluster": "b"}
    finally:
        file.write_text(text)
        await asyncio.to_thread(reload, judging)
    assert await prometheus.sent() == before


async def test_an_agent_is_told_from_prometheus(tmp_path: Path) -> None:
    remote = {"remote_write": [{"url": f"http://{LOOPBACK}:9/"}]}
    flags = ("--enable-feature=agent", f"--storage.agent.path={tmp_path / 'data'}")
    with run_prometheus(tmp_path, remote, *flags) as agent:
        async with asking(agent.url) as source:
            with pytest.raises(
                PeerError, match=r"422: .*unavailable with Prometheus Agent.*agent answers none"
            ):
                await source.now()


CONFIG = json.dumps({"status": "success", "data": {"yaml": "global: {}\n"}})


def answer(*series: Mapping[str, Any], **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"result": list(series)}, **more})


@asynccontextmanager
async def odd(query: str | tuple[int, str] = "", **pages: str) -> AsyncIterator[Prometheus]:
    """Ask for pages, the name of which is the end of their path."""
    paths = {f"/api/v1/status/{name}": text for name, text in {"config": CONFIG, **pages}.items()}
    async with answering({"/api/v1/query": query, **paths}) as url, asking(url) as source:
        yield source


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ((422, '{"error":"too many samples"}'), r"422: .*too many samples.*--query\.max-samples bounds"),
        ((503, "Service Unavailable"), r"503: Service Unavailable \(it is starting or too busy"),
        ((404, "404 page not found"), r"--web\.route-prefix"),
        (answer(warnings=["a", "b"]), r"ALERTS may lack something: a; b$"),
        ('{"status":"success"}', "was not answered as Prometheus would"),
        ("[]", "was not answered as Prometheus would"),
        ("<html>", "was not answered as Prometheus would: <html>"),
        (answer({"metric": 3}), "was not answered as Prometheus would"),
        (answer({"metric": {}, "values": [[1]]}), "was not answered as Prometheus would"),
    ],
)
async def test_no_good_answer_is_an_error(query: str | tuple[int, str], said: str) -> None:
    async with odd(query) as source:
        with pytest.raises(PeerError, match=said):
            await source.now()


@pytest.mark.parametrize("config", ["[]", '{"data":{"yaml":"global: ["}}', '{"data":{"yaml":null}}'])
async def test_no_good_configuration_is_an_error(config: str) -> None:
    async with odd(answer(), config=config) as source:
        with pytest.raises(PeerError, match="was not answered as Prometheus would"):
            await source.now()


@pytest.mark.parametrize("start", ['"2030-01-01T00:00:00"', '"yesterday"', "3", "null"])
async def test_no_good_time_is_an_error(start: str) -> None:
    async with odd(runtimeinfo=f'{{"data":{{"startTime":{start}}}}}') as source:
        with pytest.raises(PeerError, match="was not answered as Prometheus would"):
            await source.started_at()


async def test_nanoseconds_are_cut_off() -> None:
    async with odd(runtimeinfo='{"data":{"startTime":"2030-01-01T00:00:00.123456789Z"}}') as source:
        assert await source.started_at() == datetime(2030, 1, 1, microsecond=123456, tzinfo=UTC)


async def test_series_that_alertmanager_cannot_tell_apart_are_one_alert() -> None:
    config = json.dumps(
        {"data": {"yaml": yaml.safe_dump({"alerting": {"alert_relabel_configs": [NOT_SENT]}})}}
    )
    series = [{"metric": {"alertname": "A", "alertstate": "firing", "replica": each}} for each in "ab"]
    async with odd(answer(*series), config=config) as source:
        assert await source.now() == Shown(({"alertname": "A"},), ())


async def test_an_answer_of_many_megabytes_is_read() -> None:
    values = [[number * STEP + 0.5, "1"] for number in range(120)]
    series = [{"metric": {"alertname": f"A{number}"}, "values": values} for number in range(5000)]
    text = answer(*series)
    assert len(text) > 8_000_000
    begin = datetime.fromtimestamp(0, UTC)
    async with odd(text) as source:
        runs = await source.runs(begin, begin + timedelta(minutes=15))
    assert len(runs) == 5000
    assert {(run.first.timestamp(), run.last.timestamp()) for run in runs} == {(0.5, 119 * STEP + 0.5)}
