"""What the section `sql` and its collector files mean; their mistakes are in tests/fixtures/config/bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from plimsoll.serve import self_metrics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.metrics import Family
from plimsoll.serve.settings import Settings, load_settings
from plimsoll.serve.settings.collector_files import CollectorSettings, MetricSettings, read_collector_file
from plimsoll.serve.settings.sql import SHIPPED, Query

FAMILIES = [family for collector in COLLECTORS for family in collector.families] + [*self_metrics.FAMILIES]
GOOD = Path(__file__).parents[1] / "fixtures" / "config" / "good"
SERVERS = "postgres: {servers: [{name: main, dsn: host=db}, {name: second, dsn: host=db2}]}\n"
FILE = """
collector_name: NAME
metrics:
  - {metric_name: app_NAME, type: gauge, help: Of a test., values: [v], query: SELECT 1 AS v}
"""


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", "secret")
    monkeypatch.setenv("PLIMSOLL_TEST_CONNECTIONS", "2")
    monkeypatch.setenv("PLIMSOLL_TEST_HOST", "docker")
    return load_settings(GOOD / "full.yml")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("b", "a", "sub/c", "odd[1]"):
        file = tmp_path / "collectors" / f"{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FILE.replace("NAME", Path(name).stem.replace("[1]", "")))
    (tmp_path / "collectors" / "notes.txt").write_text("no collector file")
    return tmp_path


def load(directory: Path, sql: str) -> Settings:
    path = directory / "plimsoll.yml"
    path.write_text(f"{SERVERS}sql:\n{sql}")
    return load_settings(path)


def names(settings: Settings) -> list[str]:
    return [file.settings.collector_name for entry in settings.sql for file in entry.collectors]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("  - collectors/?.yml", ["a", "b"]),
        ("  - collectors/**/*.yml", ["a", "b", "odd", "c"]),
        ("  - ./collectors/../collectors/a.yml", ["a"]),
        ("  - {files: [collectors/b.yml, collectors/a.yml, agents]}", ["b", "a", "agents"]),
        ("  - collectors/b.yml\n  - {files: collectors/b.yml, servers: [main]}", ["b", "b"]),
        ("  - agents", ["agents"]),
    ],
)
def test_files_are_found(directory: Path, sql: str, found: list[str]) -> None:
    assert names(load(directory, sql)) == found


def test_a_pattern_may_be_absolute(directory: Path) -> None:
    assert names(load(directory, f"  - {directory}/collectors/[ab].yml")) == ["a", "b"]


def test_the_folder_s_own_name_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "etc[1]*"
    folder.mkdir()
    (folder / "a.yml").write_text(FILE.replace("NAME", "a"))

    assert names(load(folder, "  - ./*a.yml")) == ["a"]


def test_a_collector_file_has_its_values(full: Settings) -> None:
    _, of_main, of_second = full.sql

    jobs, info = of_main.queries
    assert jobs == Query(
        "queue",
        "jobs",
        "SELECT queue, state, waiting, running, done FROM job",
        300,
        50,
        jobs.metrics,
    )
    by_state, done = jobs.metrics
    assert (by_state.metric_name, by_state.kind) == ("app_queue_jobs", "gauge")
    assert by_state.labels == ("phase", "queue", "state", "unit")
    assert (done.kind, done.values, done.static_value) == ("counter", ("done",), None)
    assert (info.name, info.metrics[0].static_value) == ("app_queue_info", 1.0)
    assert info.text.endswith("'${NOT_A_VARIABLE}'")
    assert [query.row_limit for query in of_second.queries] == [1000, 1000]


def test_entries_choose_servers_and_databases(full: Settings) -> None:
    agents, of_main, of_second = full.sql

    assert [full.sql_of(server) for server in full.servers] == [
        (agents, of_main),
        (agents, of_second),
    ]
    assert agents.databases is None
    assert of_main.databases
    assert [of_main.databases.wanted(name) for name in ("tenant_0", "tenant_1", "billing")] == [
        True,
        False,
        False,
    ]


def test_settings_differ_if_a_collector_file_does(directory: Path) -> None:
    first, same = load(directory, "  - collectors/a.yml"), load(directory, "  - collectors/a.yml")
    assert first.sql[0].queries  # remembered by one of them only
    file = directory / "collectors" / "a.yml"
    file.write_text(file.read_text().replace("SELECT 1", "SELECT 2"))
    other = load(directory, "  - collectors/a.yml")

    assert first == same
    assert first.sql != other.sql


def test_a_static_label_may_be_a_number(directory: Path) -> None:
    file = directory / "collectors" / "a.yml"
    file.write_text(file.read_text().replace("values:", "static_labels: {le: 5, of: 0.5}, values:"))

    (query,) = load(directory, "  - collectors/a.yml").sql[0].queries
    assert query.metrics[0].static_labels == {"le": "5", "of": "0.5"}


def test_shipped_files_may_give_more_rows(directory: Path) -> None:
    settings = load(directory, "  - collectors/a.yml\n  - agents\n  - {files: agents, row_limit: 5}")

    assert [entry.queries[0].row_limit for entry in settings.sql] == [1000, 10_000, 5]


def test_one_metric_may_have_several_sources(directory: Path) -> None:
    file = directory / "collectors" / "b.yml"
    file.write_text(file.read_text().replace("app_b", "app_a"))

    assert names(load(directory, "  - collectors/?.yml")) == ["a", "b"]


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yml")), ids=lambda file: file.stem)
def test_shipped_files_are_good_and_say_what_they_need(file: Path) -> None:
    settings: CollectorSettings = read_collector_file(file).settings

    assert settings.collector_name == file.stem
    assert file.with_suffix(".sql").is_file()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_metric_of_ours_can_be_taken(family: Family) -> None:
    metric = {
        "metric_name": family.name,
        "type": "gauge",
        "help": "Mine.",
        "values": ["v"],
        "query": "SELECT 1",
    }

    with pytest.raises(ValidationError, match="is a name that the exporter publishes"):
        MetricSettings.model_validate(metric)
