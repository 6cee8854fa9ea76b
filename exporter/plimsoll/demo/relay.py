"""The relay as the demo runs it: a process of its own, on sections that are added to plimsoll.yml."""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from plimsoll.demo.exporter import PYTHON, configuration_file
from plimsoll.demo.processes import write_private
from plimsoll.demo.service import LOOPBACK, Listener, Service


def running(
    directory: Path,
    *,
    alertmanager: str,
    prometheus: str,
    webhook: str,
    history: str | None = None,
    settings: Mapping[str, Any] | None = None,
    port: int = 0,
) -> contextlib.AbstractContextManager[Service]:
    """Run `plimsoll relay`.

    Args:
        directory: where plimsoll.yml stands, to which its sections are added, and its log and secrets.
        alertmanager: the URL of Alertmanager.
        prometheus: the URL of Prometheus.
        webhook: the URL that it passes notifications on to.
        history: a connection string; None keeps no history.
        settings: further keys of its section.
        port: where it listens, if nobody else does; 0 leaves the choice to the system.
    """
    configuration = configuration_file(directory)
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    receiver = {"url": webhook, "secret_file": write_private(directory / "webhook-secret", secret)}
    token = write_private(token_file(directory), secrets.token_hex(32))
    sections: dict[str, Any] = {
        "webhooks": {"default": receiver},
        "alertmanager": {"urls": [alertmanager]},
        "prometheus": {"url": prometheus},
    }
    if history:
        sections["history"] = {"dsn_file": write_private(directory / "dsn-history", history)}

    def command(port: int) -> list[str]:
        address = f"{LOOPBACK}:{port}"
        own = {"url": f"http://{address}", "token_file": token, **(settings or {})}
        _write(configuration, {**sections, "relay": own})
        listening = f"--web.listen-address={address}"
        return [*PYTHON, "plimsoll", "relay", f"--config.file={configuration}", listening]

    log = directory / "relay.log"
    return Listener("the relay", command, log, announcement="msg=listening").running(port)


def token_file(directory: Path) -> Path:
    """Return the file with the token that Alertmanager shows to the relay."""
    return directory / "relay-token"


def _write(configuration: Path, sections: Mapping[str, Any]) -> None:
    """Put sections into the file, which the exporter has read; what it reads stays as it is."""
    written = yaml.safe_load(configuration.read_text("utf-8"))
    configuration.write_text(yaml.safe_dump(written | sections, sort_keys=False), "utf-8")
