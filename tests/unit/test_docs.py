"""The README and the changelog tell the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme
import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.rendering import render
from plimsoll.alerts.shape import Alert, Override, Webhook
from plimsoll.config import Section
from plimsoll.serve import self_metrics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.metrics import Family
from plimsoll.serve.settings import load_settings
from plimsoll.serve.settings.collector_files import (
    CollectorSettings,
    MetricSettings,
    QuerySettings,
    read_collector_file,
)
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.settings.postgres import ServerSettings, TableSettings
from plimsoll.serve.settings.sql import MOST_ROWS, ROW_LIMIT, SHIPPED, SqlEntry
from plimsoll.web.settings import load_web_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
FAMILIES = [family for collector in COLLECTORS for family in collector.families] + [*self_metrics.FAMILIES]
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "rules/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def rows(heading: str) -> list[list[str]]:
    """Give the cells of the table below a heading, without its first row."""
    section = re.split(rf"\n##+ {heading}\n", README)[1].partition("\n#")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines[1:]]


def test_the_role_is_the_one_that_the_tests_log_in_with() -> None:
    role = (ROOT / "exporter/plimsoll/demo/role.sql").read_text()
    assert f"```sql\n{role}```" in README


def test_the_configuration_example_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"<!-- example -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert example
    file = tmp_path / "plimsoll.yml"
    file.write_text(example[1])
    collector = re.search(r"<!-- collector -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert collector
    (tmp_path / "collectors").mkdir()
    (tmp_path / "collectors" / "queue.yml").write_text(collector[1])
    monkeypatch.setenv("REPORTS_PASSWORD", "secret")
    settings = load_settings(file)
    assert [query.key for entry in settings.sql for query in entry.queries] == [("queue", "jobs")]
    assert [server.name for server in settings.servers] == ["main", "reports"]
    assert [engine.name for engine in settings.containers] == ["local"]


def test_the_example_of_a_web_configuration_is_valid(tmp_path: Path) -> None:
    example = re.search(r"<!-- web -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert example
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    file = tmp_path / "web.yml"
    file.write_text(example[1])
    assert list(load_web_settings(file).basic_auth_users) == ["prometheus"]


@pytest.mark.parametrize(
    ("heading", "model"),
    [("PostgreSQL servers", ServerSettings), ("Container engines", EngineSettings), ("Custom SQL", SqlEntry)],
    ids=["servers", "engines", "sql"],
)
def test_every_key_is_described(heading: str, model: type[Section]) -> None:
    described = " ".join(row[0] for row in rows(heading))
    for key in model.model_fields:
        assert re.search(rf"`\.?{key}[`.]", described), key


def test_every_default_of_a_server_is_true() -> None:
    defaults = {row[0]: row[1] for row in rows("PostgreSQL servers")}
    server = ServerSettings.model_validate({"name": "n", "dsn": "host=h"})
    for key in ("connect_timeout", "statement_timeout", "lock_timeout", "max_age"):
        told = ServerSettings.model_validate({"name": "n", "dsn": "host=h", key: defaults[f"`{key}`"]})
        assert getattr(told, key) == getattr(server, key), key
    assert defaults["`max_connections`"] == str(server.max_connections)
    for key in TableSettings.model_fields:
        section = yaml.safe_load(f"{key}: {defaults[f'`tables.{key}`']}")
        assert TableSettings.model_validate(section) == TableSettings(), key


def test_the_row_limit_is_true() -> None:
    defaults = {row[0]: row[1] for row in rows("Custom SQL")}
    of_mine, of_shipped = re.findall("[0-9]+", defaults["`row_limit`"])
    assert (int(of_mine), int(of_shipped)) == (ROW_LIMIT, MOST_ROWS)
    assert {query.row_limit for query in SqlEntry.model_validate("agents").queries} == {MOST_ROWS}


@pytest.mark.parametrize("model", [CollectorSettings, MetricSettings, QuerySettings])
def test_every_key_of_a_collector_file_is_named(model: type[Section]) -> None:
    section = re.split(r"\n### Custom SQL\n", README)[1].partition("\n### ")[0]
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert re.search(rf"\b{key}\b", section), key
        assert f"`{key}`" in CHANGELOG, key


def test_every_default_of_an_engine_is_true() -> None:
    defaults = {row[0]: row[1] for row in rows("Container engines")}
    engine = EngineSettings(name="n")
    for key in ("docker_host", "host_root", "timeout", "keep_removed"):
        told = EngineSettings.model_validate({"name": "n", key: defaults[f"`{key}`"]})
        assert getattr(told, key) == getattr(engine, key), key
    assert engine.labels == ("com.docker.compose.project", "com.docker.compose.service")


def test_every_metric_has_a_row_and_every_row_a_metric() -> None:
    described = [row[0] for kind in ("PostgreSQL", "Containers", "The exporter itself") for row in rows(kind)]
    named = [name for cell in described for name in re.findall(r"`(\w+)`", cell)]
    named = [name for name in named if not name.startswith("process_")]
    assert sorted(named) == sorted(family.name for family in FAMILIES)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yml")), ids=lambda file: file.stem)
def test_the_changelog_names_every_metric_of_a_shipped_collector_file(file: Path) -> None:
    names = {metric.metric_name for metric in read_collector_file(file).settings.metrics}
    assert {name for name in names if f"`{name}`" not in CHANGELOG} == set()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_changelog_names_every_metric(family: Family) -> None:
    assert f"`{family.name}`" in CHANGELOG


def test_every_alert_is_named_in_its_group() -> None:
    told = [row[1].split(", ") for row in rows("Alerts")]
    assert told == [list(file.group.alerts) for file in load_catalogue().files]


def test_the_example_of_alerts_compiles(tmp_path: Path) -> None:
    example = re.search(r"<!-- alerts -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert example
    file = tmp_path / "plimsoll.yml"
    file.write_text(example[1])
    plan = render(file).plan
    branches = [branch for alert in plan.alerts for branch in alert.branches]
    assert [branch.threshold.value for branch in branches if branch.match] == [55, 30]


@pytest.mark.parametrize("model", [Alert, Override, Webhook])
def test_every_key_of_alerts_is_described(model: type[Section]) -> None:
    section = re.split(r"\n### Change alerts\n", README)[1].partition("\n### ")[0]
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert re.search(rf"[`.]{key}`", section), key
        assert f"`{key}`" in CHANGELOG, key


@pytest.mark.parametrize("alert", ALERTS)
def test_the_changelog_names_every_alert(alert: str) -> None:
    assert alert in CHANGELOG


def test_the_changelog_names_every_recorded_series() -> None:
    files = (yaml.safe_load((ROOT / f"rules/{name}.yml").read_text()) for name in ("recording", "alerts"))
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for name in recorded if f"`{name}`" not in CHANGELOG} == set()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
