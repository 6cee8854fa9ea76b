"""Who sits at the terminal."""

from __future__ import annotations

import getpass
import os


def login_name() -> str:
    """Give the login name, or the number of a user who has none, as in many a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
