"""The command line: parses, and dispatches to the commands, each of which loads only what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from plimsoll import __version__
from plimsoll.cli import ack, alerts, check, demo, servers
from plimsoll.cli.arguments import FAILED, GOOD
from plimsoll.config import ConfigError

__all__ = ["FAILED", "GOOD", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `plimsoll` and give its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - this is the command's answer
        return FAILED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plimsoll",
        description="Watches PostgreSQL storage and containers with Prometheus, Alertmanager and Grafana.",
        epilog="Exit status: 0 good, 1 refused or failed with a message, 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"plimsoll {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    servers.add_serve(commands)
    servers.add_relay(commands)
    check.add_check(commands)
    alerts.add_render(commands)
    alerts.add_explain(commands)
    ack.add_ack(commands)
    demo.add_demo(commands)
    return parser
