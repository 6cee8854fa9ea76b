"""Writes docs/alerts.md: what each alert means, what to look at first, and how to change it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.effective import Effective
from plimsoll.alerts.shape import Look, Preset
from plimsoll.alerts.units import UNITS, duration

_TITLES = {
    "storage": "Storage",
    "containers": "Containers",
    "hosts": "Hosts",
    "agents": "Agents",
    "meta": "Plimsoll itself",
}
_INTRODUCTION = """\
# Alerts

<!-- Generated from the catalogue of presets by `make generate`. Do not edit. -->

One section for each alert: what it means, the first three things to look at, and how to change it. What holds
for a certain series, and where each value comes from, is told by

    plimsoll explain DatabaseGrowthHigh server=main datname=billing --config.file plimsoll.yml
"""


def runbooks(catalogue: Catalogue, alerts: dict[str, Effective]) -> str:
    """Give the page, from the presets as they are without a user's file."""
    return "\n".join(part.rstrip("\n") + "\n" for part in _parts(catalogue, alerts))


def _parts(catalogue: Catalogue, alerts: dict[str, Effective]) -> Iterator[str]:
    yield _INTRODUCTION
    yield from _contents(catalogue)
    for file in catalogue.files:
        yield f"## {_TITLES[file.name]}"
        for name, preset in file.group.alerts.items():
            yield from _section(alerts[name], preset)


def _contents(catalogue: Catalogue) -> Iterator[str]:
    rows = ["| Alert | Severity | When |", "|---|---|---|"]
    for file in catalogue.files:
        for name, preset in file.group.alerts.items():
            rows.append(f"| [{name}](#{name.lower()}) | {preset.severity} | {preset.summary} |")
    yield "\n".join(rows)


def _section(alert: Effective, preset: Preset) -> Iterator[str]:
    yield f"### {alert.name}"
    yield f"{preset.summary}."
    yield (
        f"`{preset.metric} {preset.operator}` **{alert.told(alert.base)}** for "
        f"{duration(alert.base.for_.value)} → {preset.severity}, category {preset.category}"
    )
    yield textwrap.fill(preset.runbook.meaning, 110, break_long_words=False, break_on_hyphens=False)
    yield "Look first at:"
    for index, look in enumerate(preset.runbook.look, 1):
        yield _look(index, look)
    yield f"To change it, in plimsoll.yml:\n\n{_example(alert)}"


def _look(index: int, look: Look) -> str:
    texts = {"promql": look.promql, "sql": look.sql, "sh": look.shell}
    lines = [textwrap.fill(f"{index}. {look.what}", 110, subsequent_indent="   "), ""]
    for language, text in texts.items():
        if text:
            fenced = [f"```{language}", *text.strip().splitlines(), "```"]
            lines += [f"   {line}".rstrip() for line in fenced]
    return "\n".join(lines)


def _example(alert: Effective) -> str:
    """Give an example that compiles: the preset's own values, and an override for one subject."""
    unit = alert.unit
    shown = unit.show(alert.base.threshold.value)
    (subject, *_) = alert.labels or ()
    lines = [
        "```yaml",
        "alerts:",
        f"  {alert.name}:",
        f"    threshold: {shown}",
        *([f"    floor: {UNITS['bytes'].show(floor)}"] if (floor := alert.base.floor.value) else []),
        f"    for: {duration(alert.base.for_.value)}",
        "    overrides:",
        f"      - match: '{{{subject}=\"…\"}}'",
        "        enabled: false",
        "```",
    ]
    return "\n".join(lines)
