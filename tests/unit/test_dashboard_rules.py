"""The committed dashboards are what their code gives, and keep to the rules; each rule can be broken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import linting
from dashboards import Dashboard, files
from linting import RULES
from plimsoll.alerts.catalogue import load_catalogue
from plimsoll_dashboards import dashboards

ALL = {file.stem: Dashboard.read(file) for file in files()}
BY_UID = {dashboard.uid: dashboard for dashboard in ALL.values()}

GOOD: dict[str, Any] = {
    "id": None,
    "uid": "plimsoll-good",
    "title": "Good",
    "editable": False,
    "schemaVersion": linting.SCHEMA,
    "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
    "panels": [
        {
            "id": 1,
            "type": "timeseries",
            "title": "Restarts",
            "description": "If they go on, look at its log.",
            "gridPos": {"x": 0, "y": 0, "w": 24, "h": 8},
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {"defaults": {"unit": "short"}},
            "links": [{"url": "/d/plimsoll-good?${__url_time_range}"}],
            "targets": [{"refId": "A", "expr": "increase(x_total[$__rate_interval])"}],
        }
    ],
}
"""A dashboard without a mistake."""

Break = Callable[[dict[str, Any], dict[str, Any]], Any]
"""Makes a mistake in a dashboard, or in its panel."""


def change(**values: Any) -> Break:
    return lambda dashboard, _: dashboard.update(values)


def change_panel(**values: Any) -> Break:
    return lambda _, panel: panel.update(values)


def ask(expression: str) -> Break:
    return change_panel(targets=[{"refId": "A", "expr": expression}])


def lead_to(url: str) -> Break:
    return change_panel(links=[{"url": url}])


def link_values_to(url: str) -> Break:
    properties = [{"id": "links", "value": [{"url": url}]}]
    override = {"matcher": {"id": "byName", "options": "x"}, "properties": properties}
    return change_panel(fieldConfig={"defaults": {"unit": "short"}, "overrides": [override]})


def add_panel(**place: int) -> Break:
    def added(dashboard: dict[str, Any], panel: dict[str, Any]) -> None:
        other = {**panel, "id": place.pop("id", 2), "gridPos": place}
        dashboard["panels"].append(other)

    return added


BROKEN: list[tuple[str, Break]] = [
    ("marks", change(id=7)),
    ("marks", change(editable=True)),
    ("marks", change(schemaVersion=42)),
    ("marks", change(uid="mine")),
    ("marks", change(__inputs=[])),
    ("marks", change_panel(description="${DS_PROMETHEUS}")),
    ("sources", change(templating={"list": []})),
    ("sources", change_panel(datasource={"type": "prometheus", "uid": "abc"})),
    ("texts", change_panel(title="")),
    ("texts", change_panel(description="")),
    ("texts", change_panel(fieldConfig={"defaults": {}})),
    ("kinds", change_panel(type="graph")),
    ("kinds", change_panel(transformations=[{"id": "formatTime"}])),
    ("windows", ask("increase(x_total[5m])")),
    ("windows", ask('sum(rate(x_total{a="b"}[1h]))')),
    ("addresses", ask('up{instance="db1:9100"}')),
    ("addresses", ask('up{instance=~"127.0.0.1.*"}')),
    ("addresses", lead_to("https://grafana.example.com/d/x")),
    ("rights", lead_to("/explore?x")),
    ("rights", link_values_to("/d/plimsoll-good?editPanel=1")),
    ("places", add_panel(x=12, y=4, w=12, h=8)),
    ("places", add_panel(x=0, y=8, w=12, h=8)),
    ("places", add_panel(id=1, x=0, y=8, w=24, h=8)),
    ("links", lead_to("/d/plimsoll-nowhere")),
    ("links", lead_to("/d/plimsoll-good?var-server=x")),
    ("links", link_values_to("/d/plimsoll-good?var-datasource=x&${server:queryparam}")),
]


def mistakes(dashboard: Dashboard, all_of_them: dict[str, Dashboard]) -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield from ((rule.__name__, mistake) for mistake in rule(dashboard))
    yield from (("links", mistake) for mistake in linting.links(dashboard, all_of_them))


def test_the_committed_files_are_what_the_code_gives() -> None:
    assert {file.name: file.read_text("utf-8") for file in files()} == dashboards()


@pytest.mark.parametrize("name", ALL)
def test_dashboards_keep_to_the_rules(name: str) -> None:
    assert [f"{rule}: {mistake}" for rule, mistake in mistakes(ALL[name], BY_UID)] == []


def test_a_good_dashboard_has_no_mistakes() -> None:
    good = Dashboard(GOOD)
    assert list(mistakes(good, {good.uid: good})) == []


@pytest.mark.parametrize(("rule", "broken"), BROKEN)
def test_each_mistake_is_found(rule: str, broken: Break) -> None:
    bad = copy.deepcopy(GOOD)
    broken(bad, bad["panels"][0])
    assert {name for name, _ in mistakes(Dashboard(bad), {"plimsoll-good": Dashboard(bad)})} == {rule}


def test_uids_are_unique() -> None:
    assert len(BY_UID) == len(ALL)


def test_notifications_link_to_dashboards_that_know_their_variables() -> None:
    for file in load_catalogue().files:
        linked = file.group.dashboard
        assert set(linked.variables) <= BY_UID[linked.uid].variables.keys()


def test_every_dashboard_is_linked_from_somewhere() -> None:
    """By a link, or by the list of all that each of them has."""
    tagged = {name for name, each in ALL.items() if "plimsoll" in (each.json.get("tags") or ())}
    linked = {link.url for each in ALL.values() for link in each.links}
    assert not [n for n in ALL if n not in tagged and not any(f"/d/{ALL[n].uid}" in url for url in linked)]
