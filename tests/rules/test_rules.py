"""The committed rules and routes: what promtool and amtool say of them, and their conventions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.shipping import shipped_files
from support import require_program, said_by

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ALERTS = ROOT / "rules" / "alerts.yml"
RECORDING = ROOT / "rules" / "recording.yml"
PROMETHEUS = ROOT / "rules" / "prometheus.yml"
ALERTMANAGER = ROOT / "alertmanager" / "alertmanager.yml"

SEVERITIES = {"critical", "high", "warning", "medium", "low", "info"}
COMPARISON = re.compile(r"(?P<signal>[a-z_:][\w:]*) (?P<operator>[<>]=?|[=!]=) (?P<number>-?\d+(\.\d+)?)")


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # ten times as fast


def rules_in(path: Path) -> list[dict[str, Any]]:
    return [rule for group in load(path)["groups"] for rule in group["rules"]]


RULES = rules_in(RECORDING) + rules_in(ALERTS)
ALERT_RULES = [rule for rule in RULES if "alert" in rule]
ALERT_TABLE = [rule for rule in RULES if rule.get("record", "").startswith("plimsoll:")]
SIGNALS = {rule["record"] for rule in RULES if "record" in rule and rule not in ALERT_TABLE}
TEST_FILES = sorted(HERE.glob("*.yml"))
TEST_CASES = [case for path in TEST_FILES for case in load(path)["tests"]]

each_alert = pytest.mark.parametrize("alert", ALERT_RULES, ids=lambda rule: rule["alert"])


def comparison(alert: dict[str, Any]) -> re.Match[str]:
    match = COMPARISON.fullmatch(alert["expr"])
    assert match, f"not `signal operator number`: {alert['expr']}"
    return match


def row_of(alert: dict[str, Any], record: str) -> dict[str, Any]:
    """Give the only row of the alert table that describes an alert: nothing is overridden here."""
    rows = [rule for rule in ALERT_TABLE if rule["record"] == record]
    (row,) = [rule for rule in rows if rule["labels"].get("alertname") == alert["alert"]]
    return row


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_promtool_evaluates_all_groups_in_their_order(path: Path) -> None:
    """It takes groups that are not named, or that share a name, in an order of its own."""
    groups = [group["name"] for rules in (RECORDING, ALERTS) for group in load(rules)["groups"]]
    assert load(path)["group_eval_order"] == groups
    assert len(set(groups)) == len(groups)


def words_of(value: Any) -> set[str]:
    """Give the words of all texts in a value."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return set[str]().union(*map(words_of, value))
    return set(re.findall(r"[\w:]+", str(value)))


def may_matter(rule: dict[str, Any], words: set[str]) -> bool:
    """Tell whether words name what a rule gives: its series, every alert, or any series at all."""
    return bool(words & {name_of(rule), "ALERTS" if "alert" in rule else "", "ALERTS_FOR_STATE", "__name__"})


def name_of(rule: dict[str, Any]) -> str:
    return str(rule.get("record") or rule["alert"])


def names_behind(path: Path) -> set[str]:
    """Name the rules that may matter to tests: those they mention, those that these mention, and so on."""
    words, found = words_of(load(path)["tests"]), set[str]()
    while more := [rule for rule in RULES if name_of(rule) not in found and may_matter(rule, words)]:
        found |= set(map(name_of, more))
        words |= words_of(more)
    return found


def copy_rules(names: set[str], source: Path, target: Path) -> None:
    """Copy the rules of these names, in their groups and their order."""
    content = load(source)
    for group in content["groups"]:
        group["rules"] = [rule for rule in group["rules"] if name_of(rule) in names]
    target.parent.mkdir(exist_ok=True)
    target.write_text(yaml.safe_dump(content), "utf-8")


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_promtool_unit_tests(path: Path, tmp_path: Path) -> None:
    """With the rules that may matter to them: promtool would spend five times as long with all of them."""
    names = names_behind(path)
    for rules in (RECORDING, ALERTS):
        copy_rules(names, rules, tmp_path / rules.relative_to(ROOT))
    copied = tmp_path / path.relative_to(ROOT)
    copied.parent.mkdir(parents=True)
    shutil.copy(path, copied)
    said_by(require_program("promtool"), "test", "rules", copied)


def test_no_rule_is_left_out_that_may_matter() -> None:
    of_growth = names_behind(HERE / "table_growth.yml")
    assert {"TableGrowthHigh", "table:pg_stat_user_tables_size_bytes:max_offset24h"} < of_growth
    judged = SIGNALS - {"alert:plimsoll_alert_suppressed:max"}  # which is for dashboards
    assert names_behind(HERE / "host_for_days.yml") >= {rule["alert"] for rule in ALERT_RULES} | judged
    assert names_behind(HERE / "container_down.yml") == set(map(name_of, RULES))


def test_promtool_accepts_the_rules() -> None:
    """It prints that rules are duplicates, but succeeds nonetheless."""
    said = said_by(require_program("promtool"), "check", "rules", RECORDING, ALERTS)
    assert "duplicate" not in said


def test_promtool_accepts_the_configuration() -> None:
    said = said_by(require_program("promtool"), "check", "config", PROMETHEUS)
    assert "2 rule files found" in said
    assert "duplicate" not in said


def test_amtool_accepts_the_routes() -> None:
    said_by(require_program("amtool"), "check-config", ALERTMANAGER)


def test_names_of_signals() -> None:
    for signal in SIGNALS:
        assert re.fullmatch(r"[a-z]+:[a-z0-9_]+:[a-z0-9_]+", signal), "not level:metric:operations"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_only_containers_of_an_engine_are_judged(rule: dict[str, Any]) -> None:
    """CAdvisor uses the same names, but knows no engine."""
    without_labels = re.sub(r"(without|by|on) \([^)]*\)", "", rule["expr"])
    selectors = re.findall(r"(?<![\w:])(?:container|machine)_\w+(?:\{[^}]*\})?", without_labels)
    assert [selector for selector in selectors if 'engine!=""' not in selector] == []


@each_alert
def test_conventions_of_an_alert(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"([A-Z][a-z0-9]+)+", alert["alert"])
    assert alert["for"]
    assert alert["labels"].keys() == {"severity", "category"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert not any("{{" in value for value in alert["labels"].values())
    texts = {"summary", "description", "threshold", "value", "runbook_url", "dashboard_url"}
    assert alert["annotations"].keys() >= texts
    assert "{{" not in alert["annotations"]["summary"]


@each_alert
def test_an_alert_compares_one_recorded_signal_with_a_number(alert: dict[str, Any]) -> None:
    assert comparison(alert)["signal"] in SIGNALS


@each_alert
def test_the_alert_table_repeats_the_alert(alert: dict[str, Any]) -> None:
    match = comparison(alert)
    threshold = row_of(alert, "plimsoll:alert_threshold")
    assert threshold["expr"] == f"vector({match['number']})"
    assert threshold["labels"] == {"alertname": alert["alert"], "override": ""}
    info = row_of(alert, "plimsoll:alert_info")
    assert info["expr"] == "vector(1)"
    assert info["labels"] == {
        "alertname": alert["alert"],
        "override": "",
        "signal": match["signal"],
        "operator": match["operator"],
        "for": alert["for"],
        "severity": alert["labels"]["severity"],
        "category": alert["labels"]["category"],
        "webhook": "default",
        "enabled": "true",
    }


def test_the_alert_table_has_no_other_alerts() -> None:
    (version, links, *rows) = ALERT_TABLE
    assert [version["record"], links["record"]] == ["plimsoll:rules_info", "plimsoll:links_info"]
    assert {rule["labels"]["alertname"] for rule in rows} == {alert["alert"] for alert in ALERT_RULES}


@pytest.mark.parametrize("name", sorted(shipped_files()))
def test_what_is_shipped_is_what_the_catalogue_gives(name: str) -> None:
    """`make generate` writes it."""
    assert (ROOT / name).read_text("utf-8") == shipped_files()[name]


def test_the_catalogue_knows_every_signal() -> None:
    assert load_catalogue().signals.keys() == SIGNALS
    assert not load_catalogue().compiled.keys() & {rule["record"] for rule in rules_in(RECORDING)}


def test_what_is_suppressed_may_have_the_labels_of_every_preset() -> None:
    signals = load_catalogue().signals
    suppressed = signals["alert:plimsoll_alert_suppressed:max"]
    judged = {preset.metric for _, preset in load_catalogue().presets.values()}
    labels = {"alertname", "category", "state"}.union(*(signals[metric].labels for metric in judged))

    assert sorted(suppressed.labels) == sorted(labels)


@each_alert
def test_an_alert_is_tested_silent_and_firing(alert: dict[str, Any]) -> None:
    tests = [test for case in TEST_CASES for test in case.get("alert_rule_test", [])]
    outcomes = {bool(test["exp_alerts"]) for test in tests if test["alertname"] == alert["alert"]}
    assert outcomes == {True, False}


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_a_signal_is_tested(signal: str) -> None:
    tests = [test for case in TEST_CASES for test in case.get("promql_expr_test", [])]
    mention = re.compile(rf"(?<![\w:]){signal}(?![\w:])")
    assert any(test["exp_samples"] and mention.search(test["expr"]) for test in tests)


@pytest.mark.parametrize("rule", load(ALERTMANAGER)["inhibit_rules"])
def test_inhibition_demands_its_subject_on_both_sides(rule: dict[str, Any]) -> None:
    """Alertmanager takes labels that are absent on both sides as equal."""
    assert rule["equal"]
    for side in ("source_matchers", "target_matchers"):
        matchers = {re.sub(r"\s", "", matcher) for matcher in rule[side]}
        assert matchers >= {f'{label}!=""' for label in rule["equal"]}
