"""`plimsoll serve` and `plimsoll relay`, which run until they are told to stop."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

from plimsoll import logs
from plimsoll.cli.arguments import (
    GOOD,
    Commands,
    add_config_file,
    add_log,
    add_web,
    checked,
    failed,
    say,
)
from plimsoll.config.fields import parse_timeout


def add_serve(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "serve",
        help="the exporter: publishes sizes and containers on /metrics",
        description="Publish the sizes of PostgreSQL databases and tables, and how containers fare and what "
        "they use, on /metrics. SIGHUP, or POST to /-/reload, reads the configuration again; a bad one is "
        "refused and the former stays in force.",
    )
    add_config_file(command)
    add_web(command, "127.0.0.1:9745")
    command.add_argument(
        "--scrape.timeout",
        dest="timeout",
        type=checked(parse_timeout),
        default="10s",
        metavar="DURATION",
        help="/metrics answers within this with what is known, or sooner if the scraper's own timeout, less "
        "0.5 s, is shorter (default %(default)s)",
    )
    add_log(command)
    command.set_defaults(command=_serve)


def add_relay(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "relay",
        help="signs and forwards webhooks; keeps alert history and acknowledgements",
        description="Sign what Alertmanager posts to /webhook/NAME, and pass it on to the receiver of that "
        "name; prolong acknowledgements while their alerts fire, and end them then; write the history of "
        "alerts into PostgreSQL, if the file has a section history. SIGHUP, or POST to /-/reload, reads the "
        "configuration again; a bad one is refused and the former stays in force.",
    )
    add_config_file(command, "plimsoll.yml", required=True)
    add_web(command, "127.0.0.1:9746")
    command.add_argument(
        "--history.schema",
        dest="schema",
        type=checked(_version),
        metavar="VERSION",
        help="bring the history's schema to this version, forward or back, and end; 0 removes it with all "
        "that is in it. Otherwise the relay itself brings it to the newest",
    )
    add_log(command)
    command.set_defaults(command=_relay)


def _serve(options: argparse.Namespace) -> int:
    from plimsoll.serve.command import serve

    logs.configure(options.log_level, options.log_format)
    return _listening(
        serve(options.config_file, options.listen_address, options.timeout, options.web_config_file)
    )


def _relay(options: argparse.Namespace) -> int:
    from plimsoll.relay.command import migrate, relay

    logs.configure(options.log_level, options.log_format)
    if options.schema is not None:
        return _migrated(migrate(options.config_file, options.schema))
    return _listening(relay(options.config_file, options.listen_address, options.web_config_file))


def _listening(server: Coroutine[Any, Any, None]) -> int:
    try:
        asyncio.run(server)
    except OSError as error:
        return failed(f"cannot listen: {error.strerror or error}")
    return GOOD


def _migrated(migration: Coroutine[Any, Any, str]) -> int:
    from plimsoll.relay.history import HistoryError

    try:
        say(asyncio.run(migration))
    except HistoryError as error:
        return failed(f"the history's schema stays as it was: {error}")
    return GOOD


def _version(text: str) -> int:
    """Read the number of a version."""
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"must be a number, is {text!r}")
    return int(text)
