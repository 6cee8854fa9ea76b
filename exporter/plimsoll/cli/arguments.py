"""Arguments that several commands take, and how they answer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from plimsoll import logs
from plimsoll.web.listener import Address

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no other name
Value = TypeVar("Value")

GOOD, FAILED = 0, 1
"""Exit statuses; argparse itself ends with 2 on wrong usage."""

WATCHED = (
    "plimsoll.yml; without it, DATA_SOURCE_NAME or libpq's PG* variables name the one server, and "
    "DOCKER_HOST or the usual sockets the engine"
)


def add_config_file(
    command: argparse.ArgumentParser, help_text: str = WATCHED, *, required: bool = False
) -> None:
    """Take the configuration file."""
    command.add_argument(
        "--config.file", dest="config_file", type=Path, metavar="FILE", required=required, help=help_text
    )


def add_web(command: argparse.ArgumentParser, address: str) -> None:
    """Take where to listen, and what protects it."""
    command.add_argument(
        "--web.listen-address",
        dest="listen_address",
        type=checked(Address.parse),
        default=address,
        metavar="HOST:PORT",
        help="where to listen; :PORT means all interfaces, port 0 a free one (default %(default)s)",
    )
    add_web_config_file(command)


def add_web_config_file(command: argparse.ArgumentParser) -> None:
    """Take what protects a web server."""
    command.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="FILE",
        help="TLS certificates and users with passwords, in the format of Prometheus' exporters; without it, "
        "plain HTTP for everybody",
    )


def add_log(command: argparse.ArgumentParser) -> None:
    """Take how to log."""
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


def checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Let argparse show why a value is refused."""

    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def say(text: str) -> None:
    """Give the command's answer."""
    print(text, flush=True)  # noqa: T201 - this is the command's answer


def failed(message: str) -> int:
    """Say why the command failed, and give its status."""
    print(f"plimsoll: {message}", file=sys.stderr)  # noqa: T201
    return FAILED
