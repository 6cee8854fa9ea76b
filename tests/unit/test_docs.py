"""The README and the changelog tell the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from plimsoll.config import Section
from plimsoll.serve import self_metrics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.metrics import Family
from plimsoll.serve.settings import load_settings
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.settings.postgres import ServerSettings

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
    monkeypatch.setenv("REPORTS_PASSWORD", "secret")
    settings = load_settings(file)
    assert [server.name for server in settings.servers] == ["main", "reports"]
    assert [engine.name for engine in settings.engines] == ["local"]


@pytest.mark.parametrize(
    ("heading", "model"),
    [("PostgreSQL servers", ServerSettings), ("Container engines", EngineSettings)],
    ids=["servers", "engines"],
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


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_changelog_names_every_metric(family: Family) -> None:
    assert f"`{family.name}`" in CHANGELOG


def test_every_alert_has_a_row_that_is_true() -> None:
    told = {row[0]: row[2:] for row in rows("Alerts")}
    real = {
        name: [f"`{rule['expr']}`", rule["for"], rule["labels"]["severity"]] for name, rule in ALERTS.items()
    }
    assert told == real


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
