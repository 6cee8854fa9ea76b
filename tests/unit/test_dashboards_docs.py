"""docs/dashboards.md, the README and the changelog tell the truth about the dashboards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from plimsoll.alerts.catalogue import CatalogueFile, load_catalogue
from plimsoll_dashboards import dashboards
from plimsoll_dashboards.__main__ import PAGE
from plimsoll_dashboards.docs import described, places
from provisioning import variables

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text("utf-8")
DASHBOARDS = dashboards()
PARTS = re.split(r"^### ", TEXT.partition("\n## The dashboards\n")[2], flags=re.MULTILINE)[1:]


def test_the_page_is_what_the_dashboards_say() -> None:
    """`make generate` writes it."""
    assert described(TEXT, DASHBOARDS) == TEXT


def test_every_dashboard_has_a_place_below_its_title() -> None:
    titles = {file.removesuffix(".json"): json.loads(text)["title"] for file, text in DASHBOARDS.items()}
    headings = {place: part.partition("\n")[0] for part in PARTS for place in places(part)}
    assert {place: f"Plimsoll / {heading}" for place, heading in headings.items()} == titles
    assert places(TEXT) == ["all", *titles]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.partition("\n")[0])
def test_somebody_says_who_opens_it(part: str) -> None:
    by_hand = part.partition("\n")[2].partition("<!--")[0]
    assert len(by_hand.split()) > 10


@pytest.mark.parametrize("file", DASHBOARDS)
def test_every_panel_is_described(file: str) -> None:
    dashboard = json.loads(DASHBOARDS[file])
    (part,) = (part for part in PARTS if file.removesuffix(".json") in places(part))
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or f"| {panel['title']} | " in part, panel["title"]


def test_variables_of_the_environment_are_named() -> None:
    files = (ROOT / "grafana/provisioning").rglob("*.yml")
    taken = {name for file in files for name in variables(yaml.safe_load(file.read_text("utf-8")))}
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for name in taken:
        assert f"`{name}`" in TEXT, name
        assert f"`{name}`" in changelog, name
    assert set(re.findall(r"\bPLIMSOLL_\w+", TEXT)) == taken
    readme = (ROOT / "README.md").read_text("utf-8").partition("\n## Dashboards\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"\bPLIMSOLL_\w+", readme)) == {name for name in taken if "HISTORY" not in name}


def test_the_changelog_names_every_dashboard() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for file, text in DASHBOARDS.items():
        uid = json.loads(text)["uid"]
        assert re.search(rf"`{file}`\s+\(`{uid}`\)", changelog), file


@pytest.mark.parametrize("file", load_catalogue().files, ids=lambda file: file.group.dashboard.uid)
def test_a_notification_leads_to_a_dashboard_that_it_narrows(file: CatalogueFile) -> None:
    linked = file.group.dashboard
    (dashboard,) = (each for each in map(json.loads, DASHBOARDS.values()) if each["uid"] == linked.uid)
    assert set(linked.variables) <= {variable["name"] for variable in dashboard["templating"]["list"]}


def test_data_sources_are_named() -> None:
    (sources,) = (ROOT / "grafana/provisioning/datasources").glob("*.yml")
    uids = [source["uid"] for source in yaml.safe_load(sources.read_text("utf-8"))["datasources"]]
    assert all(f"`{uid}`" in TEXT for uid in uids)


def test_the_reader_gets_the_rights_that_suffice() -> None:
    """The world in which dashboards are tested gives its reader those of docs/relay.md."""
    (grants,) = re.findall(r"`(GRANT USAGE .*;)`", (ROOT / "docs/relay.md").read_text("utf-8"))
    assert grants in TEXT


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", TEXT))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (PAGE.parent / link).exists()


def test_every_anchor_is_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
