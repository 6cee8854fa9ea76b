"""Finds what is shipped beside the code (rules, routes, dashboards), in a checkout or an installation."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).with_name("_shipped")
_CHECKOUT = Path(__file__).parents[2]


def shipped(name: str) -> Path:
    """Return the folder `rules`, `alertmanager` or `grafana` as it was shipped.

    Raises:
        FileNotFoundError: this is neither a checkout nor a complete installation.
    """
    for root in (_INSTALLED, _CHECKOUT):
        if (folder := root / name).is_dir():
            return folder
    raise FileNotFoundError(
        f"the folder {name} is in neither {_INSTALLED} nor {_CHECKOUT}: install plimsoll anew"
    )
