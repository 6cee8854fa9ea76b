"""Writes grafana/dashboards, and what docs/dashboards.md says of them: `make generate`."""

from __future__ import annotations

from pathlib import Path

from plimsoll_dashboards import dashboards
from plimsoll_dashboards.docs import described

FOLDER = Path(__file__).parents[1] / "dashboards"
PAGE = Path(__file__).parents[2] / "docs" / "dashboards.md"


def main() -> None:
    """Write every dashboard, and remove what is none of them any more."""
    texts = dashboards()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, "utf-8")
    PAGE.write_text(described(PAGE.read_text("utf-8"), texts), "utf-8")


if __name__ == "__main__":
    main()
