"""The programs that the demo runs and does not bring along."""

from __future__ import annotations

import shutil
import sys
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
    found = {name: path for name in names if (path := find(name))}
    missing = [
        f"{name}: on Debian in the package {_DEBIAN_PACKAGES[name]}" for name in names if name not in found
    ]
    if postgres:
        missing += _complaints_about_postgres()
    if missing:
        raise ProcessError("\n  ".join(["the demo needs what was not found:", *missing]) + _ADVICE)
    return found


_ADVICE = "\nPut it on PATH and start again; in a checkout, `make run` fetches it."


def find(name: str) -> Path | None:
    """Look on PATH for a program, which Debian may call `prometheus-…`, and return its absolute path."""
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
    path = find(name)
    return _from_here(path) if path and path.is_relative_to(Path.cwd()) else name


def plimsoll() -> list[str]:
    """Return the words by which the reader calls our own program from here; it stands beside Python."""
    own = Path(sys.executable).with_name("plimsoll")
    if not own.exists():
        return [_from_here(Path(sys.executable)), "-m", "plimsoll"]
    return ["plimsoll" if find("plimsoll") == own else _from_here(own)]


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
