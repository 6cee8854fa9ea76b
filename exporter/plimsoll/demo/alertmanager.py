"""Alertmanager as the demo runs it: the shipped routes, with our webhook and shorter waits."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from plimsoll.demo import debian
from plimsoll.demo.service import LOOPBACK, Command, Listener, Service, fetch
from plimsoll.shipped import shipped


def running(
    program: Path, directory: Path, *, webhook: str, waits: Mapping[str, str], port: int = 0
) -> contextlib.AbstractContextManager[Service]:
    """Run Alertmanager.

    Args:
        program: the path of `alertmanager`.
        directory: where its configuration, log and data stand.
        webhook: the URL that every notification goes to.
        waits: replaces `group_wait`, `group_interval` and such of the route.
        port: where it listens, if nobody else does; 0 leaves the choice to the system.
    """
    templates = debian.alertmanager_templates(program)
    if templates:
        program = debian.copy_that_looks_here(program, directory / program.name)

    def command(port: int) -> Command:
        address = f"{LOOPBACK}:{port}"
        _write(directory, _configuration(webhook, waits))
        return [
            program,
            f"--config.file={_file(directory)}",
            f"--storage.path={directory / 'notifications'}",
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}",
            "--cluster.listen-address=",  # it has no peers, so no port for them
        ]

    log = directory / "alertmanager.log"
    return Listener("Alertmanager", command, log, announcement="Listening on", cwd=templates).running(port)


def tell_through_relay(service: Service, directory: Path, relay: str, token_file: str) -> None:
    """Let a running Alertmanager post to the relay, which signs, instead of to the webhook itself.

    Args:
        service: what `running` gave.
        directory: the one that it was given.
        relay: the relay's URL.
        token_file: the token that the relay demands.

    Raises:
        OSError: Alertmanager refuses the configuration.
    """
    configuration = yaml.safe_load(_file(directory).read_text("utf-8"))
    for receiver in configuration["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = f"{relay}/webhook/{receiver['name']}"
            hook["http_config"] = {"authorization": {"credentials_file": token_file}}
    _write(directory, configuration)
    fetch(f"{service.url}/-/reload", method="POST")


def _file(directory: Path) -> Path:
    return directory / "alertmanager.yml"


def _write(directory: Path, configuration: Mapping[str, Any]) -> None:
    _file(directory).write_text(yaml.safe_dump(configuration, sort_keys=False), "utf-8")


def _configuration(webhook: str, waits: Mapping[str, str]) -> dict[str, Any]:
    file = shipped("alertmanager") / "alertmanager.yml"
    configuration: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    configuration["route"] |= waits
    for receiver in configuration["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = webhook
    return configuration
