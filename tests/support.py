"""What several tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

TOOLS = Path(__file__).parents[1] / ".tools" / "bin"
PATH = os.pathsep.join([str(TOOLS), os.environ.get("PATH", os.defpath)])
"""Where programs are looked for: what `make setup` fetched is found without make, too."""


def missing(reason: str) -> NoReturn:
    """Skip the test on a laptop; in CI, where nothing may be missing, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_program(name: str, *other_names: str) -> str:
    """Give the path of a program. One that is missing skips the test on a laptop and fails it in CI."""
    for candidate in (name, *other_names):
        if path := shutil.which(candidate, path=PATH):
            return path
    missing(f"{name} is not on PATH: `make setup` gets it")


def said_by(program: str, *arguments: str | Path) -> str:
    """Run a program that has to succeed, and give what it said."""
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout
