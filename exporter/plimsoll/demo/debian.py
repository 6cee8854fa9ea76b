"""Debian's programs look for their files in /usr, also when their packages were unpacked elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

_TEMPLATES = "share/prometheus/alertmanager"


def prometheus_pages(program: Path) -> Path | None:
    """Return the folder for --web.local-assets, which only Debian's Prometheus has and needs."""
    folder = program.resolve().parents[1] / "share/prometheus/web"
    return folder if folder.is_dir() else None


def alertmanager_templates(program: Path) -> Path | None:
    """Return the folder of templates that an unpacked Alertmanager does not find by itself."""
    folder = program.resolve().parents[1] / _TEMPLATES
    return folder if folder.is_dir() and folder != Path("/usr", _TEMPLATES) else None


def copy_that_looks_here(program: Path, copy: Path) -> Path:
    """Copy an Alertmanager so that it looks for its templates in its current folder, and return the copy.

    The path stands in the program, in 34 bytes, and no flag changes it: a dot and 33 slashes name the same
    as a dot.
    """
    path = f"/usr/{_TEMPLATES}".encode()
    copy.write_bytes(program.read_bytes().replace(path, b".".ljust(len(path), b"/")))
    shutil.copymode(program, copy)
    return copy
