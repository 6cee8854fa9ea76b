"""What runs before the other services of docker-compose.yml: makes their secrets and the first rules.

Nothing that exists is made anew, so it does no harm to run it again. `show NAME` prints a secret. It is root
in a container without network, with the rights to give files away and to become another user; of the other
services only the proxy of the engine's socket is root.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MADE = Path("/secrets")
"""Where all secrets are, for us alone; the other services get copies of their own ones."""

HANDED = Path("/handed")
"""A volume for each service; there it is /run/plimsoll."""

RENDERED = Path("/rendered")

PLIMSOLL, PROMETHEUS, GRAFANA, POSTGRES = 65532, 65534, 472, 999
"""The users of the images."""


class File(NamedTuple):
    """What a service gets."""

    service: str
    name: str
    user: int
    text: str
    """In which {NAME} stands for a secret."""


FILES = (
    File(
        "exporter", "pgpass", PLIMSOLL, "history:*:*:*:{history-plimsoll}\nsample:*:*:*:{sample-plimsoll}\n"
    ),
    File("relay", "history", PLIMSOLL, "postgresql://relay:{history-relay}@history/history"),
    File("relay", "token", PLIMSOLL, "{token}"),
    File("relay", "webhook", PLIMSOLL, "{webhook}"),
    File("alertmanager", "token", PROMETHEUS, "{token}"),
    File("grafana", "admin", GRAFANA, "{grafana}"),
    File("grafana", "history", GRAFANA, "{history-grafana}"),
    File("grafana", "key", GRAFANA, "{grafana-key}"),
    *(
        File("history", role, POSTGRES, f"{{history-{role}}}")
        for role in ("postgres", "relay", "grafana", "plimsoll")
    ),
    *(File("sample", role, POSTGRES, f"{{sample-{role}}}") for role in ("postgres", "plimsoll")),
)


def _signing_secret() -> str:
    """Make a secret as Standard Webhooks has them."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


MAKERS: dict[str, Callable[[], str]] = {"webhook": _signing_secret}
"""How secrets are made that are not just any text."""


class Secrets(dict[str, str]):
    """Secrets by name, each made when it is asked for the first time."""

    def __missing__(self, name: str) -> str:
        path = MADE / name
        if not path.exists():
            _write(path, MAKERS.get(name, lambda: secrets.token_urlsafe(24))(), 0)
        return self.setdefault(name, path.read_text())


def hand_out(made: Secrets) -> None:
    """Give each service its secrets, and nobody else."""
    for file in FILES:
        _write(HANDED / file.service / file.name, file.text.format_map(made), file.user)


def render() -> None:
    """Become the user of the image, and render the first rules; later ones are another service's."""
    os.chown(RENDERED, PLIMSOLL, PLIMSOLL)
    if not (RENDERED / "current").exists():
        os.setgroups([])
        os.setgid(PLIMSOLL)
        os.setuid(PLIMSOLL)
        command = ["plimsoll", "render", "--config.file=plimsoll.yml", f"--output={RENDERED}"]
        os.execvp(command[0], command)  # noqa: S606 - there is no shell


def _write(path: Path, text: str, user: int) -> None:
    """Write a file as a whole, which only its user may read."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text)
    os.chown(draft, user, user)
    draft.replace(path)


def _known() -> Iterator[str]:
    return (path.name for path in sorted(MADE.iterdir()))


def main(arguments: list[str]) -> int:
    """Give the exit status."""
    match arguments:
        case []:
            MADE.chmod(0o700)
            hand_out(Secrets())
            render()
            return 0
        case ["show", name] if name in _known():
            sys.stdout.write(f"{(MADE / name).read_text()}\n")
            return 0
    sys.stderr.write(f"usage: show NAME, one of: {', '.join(_known())}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
