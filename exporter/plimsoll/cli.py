"""The command line: parses, and dispatches to the commands, each of which loads only what it needs."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plimsoll import __version__, logs
from plimsoll.config import ConfigError, Problem
from plimsoll.config.fields import parse_timeout
from plimsoll.web.listener import Address

if TYPE_CHECKING:
    from plimsoll.alerts.rendering import Plan
    from plimsoll.serve.settings import Settings

Value = TypeVar("Value")

_WATCHED = (
    "plimsoll.yml; without it, DATA_SOURCE_NAME or libpq's PG* variables name the one server, and "
    "DOCKER_HOST or the usual sockets the engine"
)

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
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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

    settings, plan = _all_of(options.config_file)
    source = options.config_file or "environment"
    watched = f"{len(settings.servers)} server(s), {len(settings.containers)} engine(s)"
    _say(f"{source}: {watched}, {len(plan.alerts)} alert(s) configured")
    if not options.connect:
        return GOOD

    async def report() -> bool:
        good = True
        async for finding in try_all(settings):
            _say(str(finding))
            good &= finding.good
        return good

    return GOOD if asyncio.run(report()) else FAILED


def _all_of(config_file: Path | None) -> tuple[Settings, Plan]:
    """Read what every part reads of the file.

    Raises:
        ConfigError: everything that is wrong in it.
    """
    from plimsoll.alerts.rendering import make_plan
    from plimsoll.serve.settings import load_settings

    problems: list[Problem] = []
    try:
        settings = load_settings(config_file)
    except ConfigError as error:
        problems += error.problems
    try:
        plan = make_plan(config_file)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))
    return settings, plan


def _render(options: argparse.Namespace) -> int:
    from plimsoll.alerts import command

    if options.reload and (options.check or options.format != "files"):
        options.refuse("--reload stands neither beside --check nor beside --format=prometheusrule")
    if options.format == "prometheusrule" and options.output is not None:
        options.refuse("--format=prometheusrule prints, and takes no --output")
    if options.output is None and not options.check and options.format == "files":
        options.refuse("--output is required, unless --check or --format=prometheusrule is given")
    if options.check:
        outcome = command.verify(options.config_file, options.output)
    elif options.format == "prometheusrule":
        outcome = command.resource(options.config_file)
    else:
        outcome = command.write(options.config_file, options.output, reload=options.reload)
    if not outcome.good:
        return _failed(outcome.text)
    _say(outcome.text.rstrip("\n"))
    return GOOD


def _explain(options: argparse.Namespace) -> int:
    from plimsoll.alerts.explain import explain
    from plimsoll.alerts.rendering import make_plan

    try:
        labels = dict(pair for labels in options.labels for pair in labels.items())
        _say(explain(make_plan(options.config_file), options.alert, labels))
    except ValueError as error:
        return _failed(str(error))
    return GOOD


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
    _add_render(commands)
    _add_explain(commands)
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
        description="Validate all sections of the configuration, and collector files, and name every mistake "
        "with its file, line and path.",
    )
    _add_config_file(command)
    command.add_argument(
        "--connect",
        action="store_true",
        help="connect to each server, each of its databases and each engine, run each custom query once, and "
        "name what is missing or bad; nothing is written",
    )
    command.set_defaults(command=_check)


def _add_render(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "render",
        help="the file becomes rules and Alertmanager's configuration; --reload takes them into service",
        description="Compile the catalogue of presets and your file into DIR/rules/*.yml and "
        "DIR/alertmanager/alertmanager.yml. Each run writes a complete new set and swaps one link, so that "
        "nobody ever reads half of it. promtool and amtool check it first, if they are on PATH.",
    )
    _add_config_file(command, "plimsoll.yml; without it, the presets as they are")
    command.add_argument("--output", type=Path, metavar="DIR", help="where sets of files are kept")
    command.add_argument(
        "--check",
        action="store_true",
        help="change nothing; with --output, fail if what is there is not what the file gives",
    )
    command.add_argument(
        "--reload",
        action="store_true",
        help="let Prometheus (prometheus.url) and every Alertmanager (alertmanager.urls) load the set, ask "
        "what they run, and go back to the former set if one refuses",
    )
    command.add_argument(
        "--format",
        choices=("files", "prometheusrule"),
        default="files",
        help="prometheusrule prints all rules as that resource of Kubernetes, without Alertmanager's "
        "configuration (default %(default)s)",
    )
    command.set_defaults(command=_render, refuse=command.error)


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "explain",
        help="what holds for an alert and given labels, and where each value comes from",
        description="Show the threshold and every other value that holds for a series, with the file and "
        "line that each comes from, who would be told, and the PromQL to paste.",
    )
    command.add_argument("alert", metavar="ALERT", help="its name, such as DatabaseGrowthHigh")
    command.add_argument(
        "labels",
        metavar="label=value",
        nargs="*",
        type=_checked(_labels),
        help="of the series in question, also as Prometheus shows them, '{label=\"value\",…}'; a label "
        "that is not given counts as absent",
    )
    _add_config_file(command, "plimsoll.yml; without it, the presets as they are")
    command.set_defaults(command=_explain)


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


def _add_config_file(command: argparse.ArgumentParser, help_text: str = _WATCHED) -> None:
    command.add_argument("--config.file", dest="config_file", type=Path, metavar="FILE", help=help_text)


def _labels(text: str) -> dict[str, str]:
    """Read label=value, or labels as Prometheus shows them: {label="value",…}."""
    from plimsoll.alerts.matchers import Matchers

    name, equals, value = text.partition("=")
    if text.startswith("{"):
        matchers = Matchers.parse(text).matchers
        if all(matcher.operator == "=" for matcher in matchers):
            return {matcher.label: matcher.value for matcher in matchers}
    elif name and equals:
        return {name: value}
    raise ValueError(f'must be label=value or {{label="value",…}}, is {text!r}')


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
