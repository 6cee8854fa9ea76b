"""Writes what the repository ships compiled: `python -m plimsoll.alerts.shipping`, or `make generate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.compiler import RUNBOOKS
from plimsoll.alerts.rendering import render
from plimsoll.alerts.runbooks import runbooks
from plimsoll.shipped import shipped


def shipped_files() -> Mapping[str, str]:
    """Give what an empty user file compiles to, and the runbooks: text by path from the top of a checkout."""
    rendered = render(None)
    alerts = {alert.name: alert for alert in rendered.plan.alerts}
    compiled = {name: text for name, text in rendered.files.items() if name != "rules/recording.yml"}
    return {**compiled, RUNBOOKS: runbooks(load_catalogue(), alerts)}


def main() -> None:
    """Write them into the checkout."""
    top = shipped("rules").parent
    for name, text in shipped_files().items():
        path = Path(top, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
