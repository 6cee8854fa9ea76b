"""`plimsoll demo`."""

from __future__ import annotations

import argparse

from plimsoll.cli.arguments import Commands


def add_demo(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "demo",
        help="the whole stack on loopback, with an alert that fires",
        description="Start PostgreSQL with an application that writes, the exporter, Prometheus with two "
        "days of history, Alertmanager, the relay, Grafana if that is on PATH, and a webhook receiver that "
        "prints what arrives. Everything listens on 127.0.0.1 and ends with Ctrl-C.",
    )
    command.add_argument(
        "--dsn",
        metavar="DSN",
        help="watch this server instead of an embedded one; nothing is written to it",
    )
    command.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from plimsoll.demo.command import demo

    return demo(options.dsn)
