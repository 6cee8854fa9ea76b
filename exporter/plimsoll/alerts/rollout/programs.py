"""What promtool and amtool say of a set of files, where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_PATIENCE = 120.0
"""Seconds that a program may take, which needs less than one."""

_CHECKS = {
    # Whether rules load is what matters here; what lint thinks of them is told after what refuses them.
    "promtool": ("rules/*.yml", ("check", "rules", "--lint=none")),
    "amtool": ("alertmanager/alertmanager.yml", ("check-config",)),
}
"""By program: the files that it can check, and how it is asked to, from Prometheus 2.33 to 3.x."""


class Checked(NamedTuple):
    """What came of it."""

    problems: list[str]
    """What the programs complain of."""
    absent: list[str]
    """The programs that would have had something to check, and are not on PATH."""


def check(files: Mapping[str, str]) -> Checked:
    """Ask the programs what they think of a set, which need not be published.

    Args:
        files: text by relative path, such as `rules/alerts.yml`.
    """
    with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return check_folder(Path(folder))


def check_folder(folder: Path) -> Checked:
    """Ask the programs what they think of the set in a folder."""
    checked = Checked([], [])
    for name, (pattern, arguments) in _CHECKS.items():
        paths = sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))
        program = _find(name)
        if paths and not program:
            checked.absent.append(name)
        elif paths and program and (complaint := _complaint([program, *arguments, *paths], folder)):
            checked.problems.append(f"{name}: {complaint}")
    return checked


def _find(name: str) -> str | None:
    """Look on PATH for a program, which Debian may call `prometheus-…`."""
    path = shutil.which(name) or shutil.which(f"prometheus-{name}")
    return str(Path(path).absolute()) if path else None


def _complaint(command: Sequence[str], folder: Path) -> str:
    """Give what a program finds bad, with paths as they are within the folder; nothing if all is good."""
    try:
        done = subprocess.run(  # noqa: S603  (the program is the user's own)
            command, cwd=folder, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be asked: {error}"
    if done.returncode == 0:
        return ""
    text = "\n".join(part.decode(errors="replace") for part in (done.stdout, done.stderr))
    return _gist(text) or f"ended with status {done.returncode} and said nothing"


def _gist(text: str) -> str:
    """Keep what is said of what failed, which promtool writes to stderr and amtool to stdout."""
    kept = re.sub(r"^.*SUCCESS.*$|^Checking .*?(?=FAILED|$)|FAILED:\s*", "", text, flags=re.MULTILINE)
    kept = re.sub(r"^(amtool: error: failed to validate .*|Found:| - .*)$", "", kept, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in kept.splitlines() if line.strip()).strip()
