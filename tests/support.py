"""What several tests share."""

from __future__ import annotations

import os
import shutil

import pytest


def require_program(name: str, *other_names: str) -> str:
    """Give the path of a program. One that is missing skips the test on a laptop and fails it in CI."""
    for candidate in (name, *other_names):
        if path := shutil.which(candidate):
            return path
    reason = f"{name} is not on PATH: `make setup` gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
