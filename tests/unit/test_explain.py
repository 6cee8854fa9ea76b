"""`plimsoll explain` names the value that holds, its origin, and who is told; amtool agrees on the last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plimsoll.alerts.explain import branch_for, explain
from plimsoll.alerts.matchers import Matcher
from plimsoll.alerts.rendering import make_plan, render
from plimsoll.alerts.routing import static_labels
from plimsoll.cli import GOOD, main
from plimsoll.config import ConfigError
from support import require_program, said_by

PAIRS = Path(__file__).parents[1] / "fixtures" / "alerts" / "pairs"
OVERRIDES = PAIRS / "in-overrides.yml"
WEBHOOKS = PAIRS / "in-webhooks.yml"


def line_of(path: Path, text: str) -> str:
    """Give the place of the first line that holds a text, as `explain` writes it."""
    (number, *_) = [n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if text in line]
    return f"{path}:{number}"


def table(text: str) -> dict[str, tuple[str, str]]:
    """Read the values and origins of an explanation."""
    rows = (re.split(r"  +", line.strip()) for line in text.splitlines() if line.startswith("  "))
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows if len(row) > 1}


def test_an_override_and_where_each_value_comes_from() -> None:
    text = explain(make_plan(OVERRIDES), "DatabaseGrowthHigh", {"server": "main", "datname": "billing"})
    rows = table(text)

    assert text.startswith('DatabaseGrowthHigh{server="main",datname="billing"}\nA database grew quickly')
    assert rows["taken by"] == ('override {datname="billing"}', line_of(OVERRIDES, "billing"))
    assert rows["threshold"] == ("55 %", line_of(OVERRIDES, "threshold: 55"))
    assert rows["for"][0] == "10m"
    assert re.fullmatch(r"catalogue/storage\.yml:\d+", rows["for"][1])
    assert rows["floor"][0] == "100MiB"
    assert rows["told to"] == ("default", "by the webhooks' match")
    signal = "database:pg_database_size_bytes:growth24h_percent_above_floor"
    assert f'  {signal}{{server="main",datname="billing"}} > 55\n' in text
    assert f'  {signal}{{datname="billing"}} > 55\n' in text
    assert "Overrides also look at organization" in text


def test_the_origin_in_the_catalogue_is_the_line_itself() -> None:
    rows = table(explain(make_plan(None), "DatabaseSizeCritical", {}))
    file, line = rows["threshold"][1].split(":")
    catalogue = Path(__file__).parents[2] / "exporter" / "plimsoll" / "alerts" / file
    lines = catalogue.read_text("utf-8").splitlines()

    assert lines[int(line) - 1].strip() == "threshold: 50GiB"
    assert "  DatabaseSizeCritical:" in lines[: int(line)]


def test_what_no_override_takes_has_the_alerts_own_values() -> None:
    text = explain(make_plan(OVERRIDES), "DatabaseGrowthHigh", {"datname": "shop", "organization": "acme"})

    assert "taken by" not in text
    assert table(text)["threshold"] == ("20 %", line_of(OVERRIDES, "threshold: 20"))


def test_a_disabled_override_says_so() -> None:
    rows = table(explain(make_plan(OVERRIDES), "DatabaseGrowthHigh", {"datname": "scratch_7"}))

    assert rows["enabled"] == ("no", line_of(OVERRIDES, "enabled: false"))
    assert "told to" not in rows


def test_an_alert_that_is_switched_off_has_no_rule(tmp_path: Path) -> None:
    file = tmp_path / "plimsoll.yml"
    file.write_text("alerts: {ContainerDown: {enabled: false}}\n", "utf-8")
    text = explain(make_plan(file), "ContainerDown", {})

    assert table(text)["enabled"] == ("no", f"{file}:1")
    assert "When it fires" not in text
    assert "The rule" not in text


def test_what_webhooks_look_at_is_told() -> None:
    plan = make_plan(WEBHOOKS)

    assert "Webhooks also look at organization" not in explain(plan, "DatabaseGrowthHigh", {"server": "main"})
    text = explain(plan, "CollectorFailing", {"server": "main", "alertname": "CollectorFailing"})
    assert "Webhooks also look at organization: what was not given counts as absent." in text


def test_the_environment_of_others_is_not_needed(tmp_path: Path) -> None:
    file = tmp_path / "plimsoll.yml"
    file.write_text(
        'webhooks: {default: {url: "https://hooks.example.com/${PLIMSOLL_TEST_NO_TOKEN}"}}\n'
        'prometheus: {url: "${PLIMSOLL_TEST_NO_URL}"}\n',
        "utf-8",
    )
    assert table(explain(make_plan(file), "ContainerDown", {}))["told to"][0] == "default"
    with pytest.raises(ConfigError, match="PLIMSOLL_TEST_NO_TOKEN is not set"):
        render(file)


@pytest.mark.parametrize("labels", [["datname=billing"], ['{datname="billing",severity="warning"}']])
def test_labels_as_they_are_pasted(labels: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "DatabaseGrowthHigh", *labels, f"--config.file={OVERRIDES}"]) == GOOD
    assert "  threshold  55 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("DatabaseGrowth", {}, "there is no alert 'DatabaseGrowth' (did you mean DatabaseGrowthHigh?)"),
        ("Xyz", {}, "there is no alert 'Xyz'; docs/alerts.md lists those that there are"),
        ("PostgresUnreachable", {"datname": "a"}, "server:pg_up:max has no label 'datname'; it has server"),
    ],
)
def test_what_cannot_be_explained(name: str, labels: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        explain(make_plan(None), name, labels)


@pytest.mark.parametrize(
    ("alert", "labels", "receivers"),
    [
        ("DatabaseGrowthHigh", {"server": "main", "organization": "acme"}, ["storage"]),
        ("PostgresUnreachable", {"server": "main"}, ["ops"]),
        ("PostgresUnreachable", {"server": "main", "organization": "acme"}, ["ops", "acme", "night"]),
        ("CollectorFailing", {"server": "main"}, ["default"]),
        ("CollectorFailing", {"server": "main", "organization": "acme"}, ["acme", "night"]),
        ("ContainerDown", {"engine": "local", "name": "batch-1"}, ["batch"]),
        ("ContainerDown", {"engine": "edge", "name": "batch-1"}, ["batch"]),
        ("ContainerDown", {"engine": "edge", "name": "web"}, ["default"]),
        ("ContainerDown", {"engine": "edge", "name": "web", "organization": "acme"}, ["acme"]),
        ("ContainerDown", {"engine": "local", "name": "web"}, ["ops"]),
        ("ContainerOomKilled", {"engine": "local", "name": "db"}, ["ops"]),
        ("ContainerOomKilled", {"engine": "local", "name": "web"}, ["batch"]),
    ],
)
def test_alertmanager_tells_whom_explain_names(
    alert: str, labels: dict[str, str], receivers: list[str], tmp_path: Path
) -> None:
    rendered = render(WEBHOOKS)
    effective = rendered.plan.named(alert)
    assert effective is not None
    branch = branch_for(effective, labels)
    assert rendered.plan.routing.receivers_of(effective, branch, labels) == receivers

    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(rendered.files["alertmanager/alertmanager.yml"], "utf-8")
    whole = labels | static_labels(effective, branch)
    told = said_by(
        *(require_program("amtool"), "config", "routes", "test", f"--config.file={configuration}"),
        *(Matcher(name, "=", value).for_alertmanager() for name, value in whole.items() if value),
    )
    assert told.splitlines()[-1].split(",") == receivers
