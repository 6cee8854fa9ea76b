"""The command line: parses, and dispatches to the commands, each of which loads only what it needs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from plimsoll import __version__, logs
from plimsoll.config import ConfigError
from plimsoll.config.fields import parse_timeout
from plimsoll.web.listener import Address

Value = TypeVar("Value")

GOOD, FAILED = 0, 1
"""Exit statuses; argparse itself ends with 2 on wrong usage."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `plimsoll` and give its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - this is the command's answer
        return FAILED


def _serve(options: argparse.Namespace) -> int:
    from plimsoll.serve.command import serve

    logs.configure(options.log_level, options.log_format)
    try:
        asyncio.run(serve(options.config_file, options.listen_address, options.timeout))
    except OSError as error:
        return _failed(f"cannot listen: {error.strerror or error}")
    return GOOD


def _check(options: argparse.Namespace) -> int:
    from plimsoll.serve.check import try_all
    from plimsoll.serve.settings import load_settings

    settings = load_settings(options.config_file)
    source = options.config_file or "environment"
    _say(f"{source}: {len(settings.servers)} server(s) and {len(settings.engines)} engine(s) configured")
    if not options.connect:
        return GOOD

    async def report() -> bool:
        good = True
        async for finding in try_all(settings):
            _say(str(finding))
            good &= finding.good
        return good

    return GOOD if asyncio.run(report()) else FAILED


def _demo(options: argparse.Namespace) -> int:
    from plimsoll.demo.command import demo

    return demo(options.dsn)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plimsoll",
        description="Watches PostgreSQL storage and containers with Prometheus, Alertmanager and Grafana.",
        epilog="Exit status: 0 good, 1 refused or failed with a message, 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"plimsoll {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_check(commands)
    _add_demo(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "serve",
        help="the exporter: publishes sizes and containers on /metrics",
        description="Publish the sizes of PostgreSQL databases and tables, and how containers fare and what "
        "they use, on /metrics. SIGHUP, or POST to /-/reload, reads the configuration again; a bad one is "
        "refused and the former stays in force.",
    )
    _add_config_file(command)
    command.add_argument(
        "--web.listen-address",
        dest="listen_address",
        type=_checked(Address.parse),
        default="127.0.0.1:9745",
        metavar="HOST:PORT",
        help="where to listen; :PORT means all interfaces, port 0 a free one (default %(default)s)",
    )
    command.add_argument(
        "--scrape.timeout",
        dest="timeout",
        type=_checked(parse_timeout),
        default="10s",
        metavar="DURATION",
        help="/metrics answers within this with what is known, or sooner if the scraper's own timeout, less "
        "0.5 s, is shorter (default %(default)s)",
    )
    command.add_argument(
        "--log.level", dest="log_level", choices=logs.LEVELS, default="info", help="(default %(default)s)"
    )
    command.add_argument(
        "--log.format",
        dest="log_format",
        choices=logs.FORMATS,
        default="logfmt",
        help="(default %(default)s)",
    )
    command.set_defaults(command=_serve)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "check",
        help="validates the configuration; --connect tries it",
        description="Validate the configuration and name every mistake with its file, line and path.",
    )
    _add_config_file(command)
    command.add_argument(
        "--connect",
        action="store_true",
        help="connect to each server, each of its databases and each engine, and name missing rights; "
        "nothing is written",
    )
    command.set_defaults(command=_check)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "demo",
        help="the whole stack on loopback, with an alert that fires",
        description="Start PostgreSQL with an application that writes, the exporter, Prometheus with two "
        "days of history, Alertmanager, and a webhook receiver that prints what arrives. Everything listens "
        "on 127.0.0.1 and ends with Ctrl-C.",
    )
    command.add_argument(
        "--dsn",
        metavar="DSN",
        help="watch this server instead of an embedded one; nothing is written to it",
    )
    command.set_defaults(command=_demo)


def _add_config_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help="plimsoll.yml; without it, DATA_SOURCE_NAME or libpq's PG* variables name the one server, and "
        "DOCKER_HOST or the usual sockets the engine",
    )


def _checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Let argparse show why a value is refused."""

    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the command's answer


def _failed(message: str) -> int:
    print(f"plimsoll: {message}", file=sys.stderr)  # noqa: T201
    return FAILED
