"""The user's alerts: pairs of a file and what becomes of it, and the exact message of every mistake.

`tests/fixtures/alerts/bad/NAME.yml` stands beside `NAME.txt`, in which `{file}` is the file's path, and
`tests/fixtures/alerts/pairs/in-NAME.yml` beside `out-NAME.yml`: the rules of the alerts that it names, and
routes. `PLIMSOLL_UPDATE_GOLDEN=1 pytest tests/unit/test_alert_file.py` writes both anew: read the difference.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.alerts.rendering import Rendered, render
from plimsoll.alerts.writing import dump
from plimsoll.config import ConfigError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "alerts"
BAD = sorted((FIXTURES / "bad").glob("*.yml"))
PAIRS = sorted((FIXTURES / "pairs").glob("in-*.yml"))


def agrees_with(got: str, golden: Path) -> None:
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        golden.write_text(got, "utf-8")
    assert got == golden.read_text("utf-8")


def gist(rendered: Rendered, source: Path) -> dict[str, Any]:
    """Give what the alerts that a file names have become, without what they share with their presets."""
    names = {*(yaml.safe_load(source.read_text("utf-8")) or {}).get("alerts", {})}
    rules: list[dict[str, Any]] = []
    for group in yaml.safe_load(rendered.files["rules/alerts.yml"])["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") in names or rule.get("labels", {}).get("alertname") in names:
                rules.append(shortened(rule))
            elif group["name"] == "signals" and source.stem.endswith("signals"):
                rules.append(rule)
    routes = yaml.safe_load(rendered.files["alertmanager/alertmanager.yml"])
    return {"rules": rules, "route": routes["route"], "receivers": routes["receivers"]}


def shortened(rule: dict[str, Any]) -> dict[str, Any]:
    if "annotations" not in rule:
        return rule
    texts = rule["annotations"].items()
    return {**rule, "annotations": {name: textwrap.shorten(text, 60) for name, text in texts}}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_gets_its_messages(path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        render(path)

    agrees_with(f"{refused.value}\n".replace(str(path), "{file}"), path.with_suffix(".txt"))
    lines = [problem.line for problem in refused.value.problems]
    assert lines == sorted(lines)


def test_every_message_belongs_to_a_file() -> None:
    assert {path.stem for path in BAD} == {path.stem for path in (FIXTURES / "bad").glob("*.txt")}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem.removeprefix("in-"))
def test_what_becomes_of_a_file(path: Path) -> None:
    got = dump(gist(render(path), path)).replace(str(path.parent), "{directory}")
    agrees_with(got, path.with_name(path.name.replace("in-", "out-")))
