"""VictoriaMetrics, vmagent and vmalert do what Prometheus does: the same rules, the same dashboards.

They run as docs/scaling.md says. What differs stands there, too.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import victoria
from asking import Answer, Labels, Prometheus
from boards import Board, Data
from dashboards import Panel, Query, files
from fix_postgres import Database
from plimsoll.cli import GOOD, main
from plimsoll.demo import alertmanager, exporter, prometheus
from plimsoll.demo.history import DAY, History, shipped_rule
from plimsoll.demo.receiver import Notification, receiving
from plimsoll.demo.service import Service, fetch
from programs import run_prometheus
from reloading import alertmanager as run_alertmanager
from reloading import rules_of
from remote_write import copy_samples
from support import require_program
from waiting import eventually
from watching import EVERY_SCRAPE, WAITS, Watching

pytestmark = pytest.mark.long

RULES = Path(__file__).parents[2] / "rules"
CHANGED = """
prometheus: {{url: "{judge}"}}
alertmanager: {{urls: ["{telling}"]}}
webhooks: {{default: {{url: "http://127.0.0.1:1/"}}}}
alerts: {{Own: {{metric: up, operator: "<", threshold: 1, severity: low, summary: Down}}}}
"""
"""A user's file with an alert of one's own."""

GROWTH = {"DatabaseGrowthHigh", "TableGrowthHigh"}
STORE = "http://victoria-metrics:8428"
TELLING = "http://alertmanager:9093"

Key = frozenset[tuple[str, str]]
"""Labels, to compare them."""

OWN_WAY = re.compile(r"\b(rate|increase)\(")
"""What MetricsQL computes from samples alone, where Prometheus extrapolates; and from one sample already."""


# --- alerts -------------------------------------------------------------------------------------------------


def test_the_same_alert_fires_and_resolves(newest_database: Database, tmp_path: Path) -> None:
    with newest_database.connect() as session:
        session.execute(
            "CREATE UNLOGGED TABLE ledger AS SELECT repeat('x', 1000) FROM generate_series(1, 150000)"
        )
        with watching(newest_database, tmp_path) as watcher:
            eventually(lambda: complete(watcher), 60)
            check_growth(complete(watcher)[0], watcher, newest_database.name)
            assert mistakes(watcher) == {}
            eventually(lambda: all(goes_on(watcher, name) for name in GROWTH), 60)
            session.execute("TRUNCATE ledger")
            eventually(lambda: watcher.told("DatabaseGrowthHigh", "resolved"), 60)
            eventually(lambda: watcher.told("TableGrowthHigh", "resolved"))
            watcher.check_lives(GROWTH)


def complete(watcher: Victorious) -> list[dict[str, Any]]:
    """Give the alerts that were told with the former size, which a rule records for their texts only."""
    return [alert for alert in watcher.told("DatabaseGrowthHigh") if alert["annotations"]["previous"]]


def goes_on(watcher: Victorious, name: str) -> bool:
    """Say whether vmalert itself has recorded what an alert compares: what was invented has no end."""
    return bool(watcher.query(f"timestamp({shipped_rule(name).signal}) > {watcher.since}"))


def check_growth(alert: dict[str, Any], watcher: Victorious, database: str) -> None:
    labels = {"server": "main", "datname": database, "severity": "warning", "category": "storage"}
    assert alert["labels"] == {"alertname": "DatabaseGrowthHigh", **labels}
    ((stored, _),) = watcher.query('ALERTS{alertname="DatabaseGrowthHigh",alertstate="firing"}')
    assert stored == {"__name__": "ALERTS", "alertstate": "firing", **alert["labels"]}
    texts = alert["annotations"]
    assert texts["percent"] == "+100.0 %"
    assert f"in 24 hours, from {texts['previous']} to {texts['current']}." in texts["description"]
    assert '"public"."ledger" +' in texts["description"]


def mistakes(watcher: Victorious) -> dict[str, Any]:
    """Give the rules that vmalert could not evaluate."""
    groups = json.loads(fetch(f"{watcher.judge.url}/api/v1/rules"))["data"]["groups"]
    return {
        rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule["lastError"]
    }


@dataclass(frozen=True)
class Victorious(Watching):
    """What runs, where VictoriaMetrics is asked, and vmalert judges."""

    judge: Service
    since: float


@contextmanager
def watching(database: Database, directory: Path) -> Iterator[Victorious]:
    """Watch a server as the page says, at every second, with a past in which it has grown."""
    told: list[Notification] = []
    with ExitStack() as stack:
        servers = {"main": database.dsn("postgres")}
        configuration = exporter.write_configuration(directory, servers, **EVERY_SCRAPE)
        watched = stack.enter_context(exporter.serving(configuration, directory))
        store = stack.enter_context(storing(directory, invented(directory, database, watched)))
        victoria.write_scraping(directory / "vmagent.yml", watched.address)
        folders = {"/etc/plimsoll": str(directory), "/var/lib/vmagent": str(directory / "unsent")}
        stack.enter_context(victoria.run("vmagent", directory, {STORE: store.url, **folders}))
        webhook = stack.enter_context(receiving(told.append))
        program = Path(require_program("alertmanager", "prometheus-alertmanager"))
        telling = stack.enter_context(alertmanager.running(program, directory, webhook=webhook, waits=WAITS))
        judge = stack.enter_context(judging(directory, RULES, store.url, telling))
        yield Victorious(store, telling, told, judge, time.time())


def judging(directory: Path, rules: Path, store: str, telling: Service) -> AbstractContextManager[Service]:
    """Run vmalert, at every second."""
    where = {STORE: store, TELLING: telling.url, "/etc/plimsoll/rendered/rules": str(rules)}
    return victoria.run(
        "vmalert", directory, {**where, "=30s": "=1s", "flushInterval=1s": "flushInterval=200ms"}
    )


@contextmanager
def storing(directory: Path, past: Path, *flags: str) -> Iterator[Service]:
    """Run VictoriaMetrics, which takes over what a Prometheus has stored."""
    changes = {"/var/lib/victoria-metrics": str(directory / "stored"), "=1y": "=100y", "=5s": "=0s"}
    with victoria.run("victoria-metrics", directory, changes, *flags) as store:
        copy_samples(past, store)
        fetch(f"{store.url}/internal/force_flush")  # so that it is seen at once
        yield store


def invented(directory: Path, database: Database, watched: Service) -> Path:
    """Make what a Prometheus would have stored, had all been half as large until twelve hours ago."""

    def page() -> str:
        return fetch(f"{watched.url}/metrics")

    eventually(lambda: 'relname="ledger"' in page())
    history = History(span=25 * 3600, step=60)
    target = {"instance": watched.address, "job": "plimsoll"}
    history.add_sizes(page(), database.name, lambda age: 0.5 if age > DAY / 2 else 1.0, scraped_by=target)
    of_database = f'server="main",datname="{database.name}"'
    of_table = f'{of_database},schemaname="public",relname="ledger"'
    for size, labels in (("database:pg_database", of_database), ("table:pg_stat_user_tables", of_table)):
        for made in ("max_offset24h", "growth24h_percent"):  # so that it exists: a new one is found late
            history.add(f"{size}_size_bytes:{made}", labels, lambda _: math.nan, since=60)
    folder = prometheus.data(directory)
    history.write(Path(require_program("promtool")), directory / "history", folder)
    (folder / "wal").mkdir()  # promtool looks for it, too
    return folder


def test_changed_rules_are_taken_into_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(require_program("promtool")).parent))
    file, output = tmp_path / "plimsoll.yml", tmp_path / "rendered"
    command = ["render", f"--config.file={file}", f"--output={output}"]
    assert main(["render", f"--output={output}"]) == GOOD
    with (
        run_alertmanager(tmp_path / "telling", output / "alertmanager" / "alertmanager.yml") as telling,
        judging(tmp_path, output / "rules", "http://127.0.0.1:1", telling) as judge,
    ):
        file.write_text(CHANGED.format(judge=judge.url, telling=telling.url))
        assert main([*command, "--reload"]) == GOOD, capsys.readouterr().err
        assert "custom" in rules_of(judge)


def test_prometheus_writes_there_what_it_stores(tmp_path: Path) -> None:
    changes = {"/var/lib/victoria-metrics": str(tmp_path / "stored"), "=5s": "=0s"}
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: one, rules: [{record: one, expr: vector(1)}]}]")
    with victoria.run("victoria-metrics", tmp_path, changes) as store:
        writing = yaml.safe_load(victoria.block("remote-write").replace(STORE, store.url))
        configuration = {"rule_files": [str(rules)], "global": {"evaluation_interval": "1s"}, **writing}
        with run_prometheus(tmp_path / "run", configuration, f"--storage.tsdb.path={tmp_path / 'data'}"):
            arrived = re.compile(r'vm_rows_inserted_total\{type="promremotewrite"\} [1-9]')
            eventually(lambda: arrived.search(fetch(f"{store.url}/metrics")))
            fetch(f"{store.url}/internal/force_flush")
            (sample,) = Prometheus(store.url, time.time()).instant("one").samples
            assert sample.value == 1


# --- dashboards ---------------------------------------------------------------------------------------------


@pytest.fixture
def other(world: Data, world_folder: Path, tmp_path: Path) -> Iterator[Data]:
    """Give the world of the dashboards as VictoriaMetrics has it."""
    past = tmp_path / "past"
    shutil.copytree(world_folder / "prometheus", past)
    # With its cache, it moves the ends of a range to multiples of the step; but the world lasts for seconds.
    with storing(tmp_path, past, "-search.disableCache") as store:
        yield replace(world, prometheus=Prometheus(store.url, world.now))


def test_every_query_and_rule_gives_the_same(world: Data, other: Data) -> None:
    wrong = [*differences(world, other), *different_rules(world.prometheus, other.prometheus)]
    assert not wrong, "\n".join(wrong)


def differences(world: Data, other: Data) -> Iterator[str]:
    """Say which queries of dashboards give something else, and which variables offer less."""
    for file in files():
        board = Board.open(file.stem, world)
        there = Board.open(file.stem, other)
        for name, options in board.options.items():
            if lacking := set(options) - set(there.options[name]):
                yield f"{file.stem}, {name}: {lacking} is not offered"
        for title, query, panel in asked(board):
            filled, period = board.fill(query, panel), board.period(panel, query)
            here, elsewhere = (data.ask(query, filled, period) for data in (world, other))
            if said := difference(filled, here, elsewhere):
                yield f"{file.stem}, {title}, {query.ref}: {said}, by: {filled}"


def asked(board: Board) -> Iterator[tuple[str, Query, Panel | None]]:
    """Give what a dashboard asks Prometheus: the panel's title, or `annotation`, the query and its panel."""
    for panel in board.dashboard.panels:
        for query in panel.queries:
            if query.kind == "prometheus":
                yield panel.title, query, panel
    for annotation in board.dashboard.annotations:
        if annotation.kind == "prometheus":
            yield "annotation", annotation, None


def different_rules(here: Prometheus, there: Prometheus) -> Iterator[str]:
    """Say which rules have an expression that gives something else."""
    for name, expression in {(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()}:
        if said := difference(expression, here.instant(expression), there.instant(expression)):
            yield f"{name}: {said}"


def rules() -> Iterator[dict[str, Any]]:
    for name in ("recording", "alerts"):
        for group in yaml.safe_load((RULES / f"{name}.yml").read_text())["groups"]:
            yield from group["rules"]


def difference(expression: str, here: Answer, there: Answer) -> str:
    """Say how an answer of VictoriaMetrics differs from that of Prometheus; nothing if it does not."""
    ours, theirs = numbers(here), numbers(there)
    if OWN_WAY.search(expression):
        ours = {labels: value for labels, value in ours.items() if not math.isnan(value)}
    if lacking := ours.keys() - theirs.keys():
        return f"lacks {len(lacking)} of {len(ours)}, such as {sorted(min(lacking, key=sorted))}"
    if here.series or OWN_WAY.search(expression):
        return ""
    if more := theirs.keys() - ours.keys():
        return f"has {len(more)} more than {len(ours)}, such as {sorted(min(more, key=sorted))}"
    others = {labels for labels, value in ours.items() if not same(value, theirs[labels])}
    return f"gives other values for {sorted(map(sorted, others))}" if others else ""


def numbers(answer: Answer) -> dict[Key, float]:
    """Give the values of samples, and of series the last ones, by labels without the metric's name.

    What is no number is left out of series, for there it leaves a gap only.
    """
    values = {key(sample.labels): sample.value for sample in answer.samples}
    for series in answer.series:
        if found := [value for _, value in series.points if not math.isnan(value)]:
            values[key(series.labels)] = found[-1]
    return values


def key(labels: Labels) -> Key:
    return frozenset((name, value) for name, value in labels.items() if name != "__name__")


def same(one: float, other: float) -> bool:
    """Say whether values are as good as equal: of a time, VictoriaMetrics keeps no more than 0.00001 s."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-4) or (math.isnan(one) and math.isnan(other))
