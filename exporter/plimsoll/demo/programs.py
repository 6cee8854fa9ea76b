"""The programs that the demo runs and does not bring along."""

from __future__ import annotations

import shutil
from pathlib import Path

from plimsoll.demo.postgres import find_binaries
from plimsoll.demo.processes import ProcessError

_DEBIAN_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "alertmanager": "prometheus-alertmanager",
}


def require(*names: str, postgres: bool = False) -> dict[str, Path]:
    """Return the absolute path of each program.

    Args:
        names: keys of the table above.
        postgres: whether PostgreSQL's own programs are needed too.

    Raises:
        ProcessError: something is missing; it names all that is.
    """
    found = {name: path for name in names if (path := _find(name))}
    missing = [
        f"{name}: on Debian in the package {_DEBIAN_PACKAGES[name]}" for name in names if name not in found
    ]
    if postgres:
        missing += _complaints_about_postgres()
    if missing:
        raise ProcessError("\n  ".join(["the demo needs what was not found:", *missing]) + _ADVICE)
    return found


_ADVICE = "\nPut it on PATH and start again; in a checkout, `make run` fetches it."


def _find(name: str) -> Path | None:
    """Look on PATH for a program, which Debian may call `prometheus-…`."""
    path = shutil.which(name) or shutil.which(f"prometheus-{name}")
    return Path(path).absolute() if path else None


def _complaints_about_postgres() -> list[str]:
    try:
        find_binaries()
    except ProcessError as error:
        return [str(error)]
    return []


def shown(name: str) -> str:
    """Return how the reader calls a program from here: below this folder by its path, else by its name."""
    path = _find(name)
    if path and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return name
