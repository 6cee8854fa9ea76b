"""Where a container engine listens: several parts of the program need to know."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
"""Where an engine of this host listens, unless somebody has moved it."""

_LAST_PORT = 65535
_ADDRESS = re.compile(r"unix:///[^\0\n]+|tcp://(?:\[[0-9A-Fa-f:.]+\]|[^][/?#@:\s]+):([0-9]{1,5})/?")
_ALLOWED = "unix:///path/of/socket and tcp://host:port are allowed"


def check_docker_host(value: str) -> str:
    """Accept the address of an engine.

    Raises:
        ValueError: it is none; the value is not shown, for it may hold a password.
    """
    match = _ADDRESS.fullmatch(value)
    if not match or (match[1] and not 0 < int(match[1]) <= _LAST_PORT):
        raise ValueError(f"is no engine's address: {_ALLOWED}")
    return value


def engine_here() -> str | None:
    """Give what DOCKER_HOST says, as it is, or where an engine listens that we may use, or None."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    return next((f"unix://{socket}" for socket in SOCKETS if _is_socket(socket)), None)


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket() and os.access(path, os.R_OK | os.W_OK)
    except OSError:  # /run/podman is root's alone
        return False


DockerHost = Annotated[str, AfterValidator(check_docker_host)]
"""The address of an engine."""
