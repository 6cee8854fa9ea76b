"""The rules that the demo runs: those that are shipped, or the same with links to other ports."""

from __future__ import annotations

from pathlib import Path

from plimsoll.demo import prometheus
from plimsoll.demo.stack import SHIPPED_LINKS
from plimsoll.shipped import shipped

SHIPPED = shipped("rules")


def test_with_the_links_that_are_shipped_they_are_the_shipped_ones(tmp_path: Path) -> None:
    recording, alerts = prometheus.rules_with_links(tmp_path, SHIPPED_LINKS)
    assert recording == SHIPPED / "recording.yml"
    assert alerts.read_text("utf-8") == (SHIPPED / "alerts.yml").read_text("utf-8")


def test_with_other_links_nothing_else_differs(tmp_path: Path) -> None:
    links = {"alertmanager": "http://127.0.0.1:41001", "dashboards": "http://127.0.0.1:41002"}
    (_, alerts) = prometheus.rules_with_links(tmp_path, links)
    text = alerts.read_text("utf-8")
    for name, url in links.items():
        assert url in text
        text = text.replace(url, SHIPPED_LINKS[name])
    differing = set(text.splitlines()) ^ set((SHIPPED / "alerts.yml").read_text("utf-8").splitlines())
    assert {line.split(":")[0].strip() for line in differing} == {"version"}
