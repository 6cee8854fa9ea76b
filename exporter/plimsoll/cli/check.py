"""`plimsoll check`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plimsoll.cli.arguments import FAILED, GOOD, Commands, add_config_file, add_web_config_file, say
from plimsoll.config import ConfigError, Document, Problem

if TYPE_CHECKING:
    from plimsoll.alerts.rendering import Plan
    from plimsoll.config.finding import Finding
    from plimsoll.relay.settings import Settings as RelaySettings
    from plimsoll.serve.settings import Settings

Value = TypeVar("Value")

_COMMANDS = ("serve", "relay", "render")
"""Those that read the file, each its own sections and secrets."""


@dataclass(frozen=True)
class _Read:
    """What was read for each command, or None for one that was not asked for."""

    serve: Settings | None
    relay: RelaySettings | None
    render: Plan | None

    def __str__(self) -> str:
        return ", ".join(self._counts())

    def _counts(self) -> Iterator[str]:
        if self.serve:
            yield f"{len(self.serve.servers)} server(s), {len(self.serve.containers)} engine(s)"
        if self.render:
            yield f"{len(self.render.alerts)} alert(s)"
        if self.relay:
            signed = sum(receiver.is_signed for receiver in self.relay.receivers.values())
            yield f"{signed} signed receiver(s), {'a' if self.relay.history else 'no'} history"


def add_check(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "check",
        help="validates the configuration; --connect tries it",
        description="Validate all sections of the configuration, and collector files, and name every mistake "
        "with its file, line and path.",
    )
    add_config_file(command)
    add_web_config_file(command)
    command.add_argument(
        "--only",
        choices=_COMMANDS,
        help="look only at what this command reads: each machine needs no secrets but those of its own "
        "(default: at everything in the file)",
    )
    command.add_argument(
        "--connect",
        action="store_true",
        help="connect to each server, each of its databases and each engine, run each custom query once, ask "
        "each Alertmanager and Prometheus that the relay asks, connect to its history, and name what is "
        "missing or bad; nothing is written, and nothing is posted to receivers",
    )
    command.set_defaults(command=_check, refuse=command.error)


def _check(options: argparse.Namespace) -> int:
    if options.only == "relay" and options.config_file is None:
        options.refuse("--only relay goes with --config.file")
    if options.only == "render" and options.connect:
        options.refuse("--connect does not go with --only render, which connects to nothing")
    read = _all_of(options.config_file, options.web_config_file, options.only)
    say(f"{options.config_file or 'environment'}: {read} configured")
    if not options.connect:
        return GOOD
    return GOOD if asyncio.run(_report(read)) else FAILED


async def _report(read: _Read) -> bool:
    """Tell all findings as they come, and whether all are good."""
    good = True
    async for finding in _findings(read):
        say(str(finding))
        good &= finding.good
    return good


async def _findings(read: _Read) -> AsyncIterator[Finding]:
    from plimsoll.relay import check as relay
    from plimsoll.serve import check as serve

    if read.serve:
        async for finding in serve.try_all(read.serve):
            yield finding
    if read.relay:
        for finding in await relay.try_all(read.relay):
            yield finding


def _all_of(config_file: Path | None, web_config_file: Path | None, only: str | None) -> _Read:
    """Read what every command, or only one, reads of the files.

    Raises:
        ConfigError: everything that is wrong in them.
    """
    from plimsoll.alerts.rendering import make_plan
    from plimsoll.relay.settings import load_settings as load_relay
    from plimsoll.serve.settings import load_settings as load_serve
    from plimsoll.web.settings import load_web_settings

    reads = {only} if only else _readers(config_file)
    problems: list[Problem] = []

    def tried(command: str, load: Callable[[], Value]) -> Value | None:
        return _tried(load, problems) if command in reads else None

    idle = "relay" in reads
    serve = tried("serve", lambda: load_serve(config_file, may_watch_nothing=idle))
    render = tried("render", lambda: make_plan(config_file, addressed=only == "render"))
    relay = tried("relay", lambda: load_relay(config_file)) if config_file else None
    if web_config_file is not None:
        _tried(lambda: load_web_settings(web_config_file), problems)
    if problems:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))
    return _Read(serve, relay, render)


def _readers(config_file: Path | None) -> set[str]:
    """Say which commands read the file: the relay only where there is something for it."""
    document = Document.read(config_file) if config_file else ()
    return {"serve", "render", *({"relay"} if "relay" in document or "history" in document else ())}


def _tried(load: Callable[[], Value], problems: list[Problem]) -> Value | None:
    """Load something, or note what is wrong with it."""
    try:
        return load()
    except ConfigError as error:
        problems += error.problems
    return None
