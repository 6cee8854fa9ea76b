"""Writes grafana/dashboards: `make generate`."""

from __future__ import annotations

from pathlib import Path

from plimsoll_dashboards import dashboards

FOLDER = Path(__file__).parents[1] / "dashboards"


def main() -> None:
    """Write every dashboard, and remove what is none of them any more."""
    texts = dashboards()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
