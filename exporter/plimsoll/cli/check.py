"""`plimsoll check`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plimsoll.cli.arguments import FAILED, GOOD, Commands, add_config_file, add_web_config_file, say
from plimsoll.config import ConfigError, Problem

if TYPE_CHECKING:
    from plimsoll.alerts.rendering import Plan
    from plimsoll.serve.settings import Settings

Source = TypeVar("Source")
Value = TypeVar("Value")


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
        "--connect",
        action="store_true",
        help="connect to each server, each of its databases and each engine, run each custom query once, and "
        "name what is missing or bad; nothing is written",
    )
    command.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from plimsoll.serve.check import try_all

    settings, plan = _all_of(options.config_file, options.web_config_file)
    source = options.config_file or "environment"
    watched = f"{len(settings.servers)} server(s), {len(settings.containers)} engine(s)"
    say(f"{source}: {watched}, {len(plan.alerts)} alert(s) configured")
    if not options.connect:
        return GOOD

    async def report() -> bool:
        good = True
        async for finding in try_all(settings):
            say(str(finding))
            good &= finding.good
        return good

    return GOOD if asyncio.run(report()) else FAILED


def _all_of(config_file: Path | None, web_config_file: Path | None) -> tuple[Settings, Plan]:
    """Read what every part reads of the files.

    Raises:
        ConfigError: everything that is wrong in them.
    """
    from plimsoll.alerts.rendering import make_plan
    from plimsoll.relay.settings import check_settings
    from plimsoll.serve.settings import load_settings
    from plimsoll.web.settings import load_web_settings

    problems: list[Problem] = []
    settings = _read(load_settings, config_file, problems)
    plan = _read(make_plan, config_file, problems)
    if config_file is not None:
        _read(check_settings, config_file, problems)
    if web_config_file is not None:
        _read(load_web_settings, web_config_file, problems)
    if problems or settings is None or plan is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))
    return settings, plan


def _read(load: Callable[[Source], Value], source: Source, problems: list[Problem]) -> Value | None:
    """Load something, or note what is wrong with it."""
    try:
        return load(source)
    except ConfigError as error:
        problems += error.problems
    return None
