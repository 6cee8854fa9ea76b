"""`plimsoll render` and `plimsoll explain`."""

from __future__ import annotations

import argparse
from pathlib import Path

from plimsoll.cli.arguments import GOOD, Commands, add_config_file, checked, failed, say

_FILE = "plimsoll.yml; without it, the presets as they are"


def add_render(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "render",
        help="the file becomes rules and Alertmanager's configuration; --reload takes them into service",
        description="Compile the catalogue of presets and your file into DIR/rules/*.yml and "
        "DIR/alertmanager/alertmanager.yml. Each run writes a complete new set and swaps one link, so that "
        "nobody ever reads half of it. promtool and amtool check it first, if they are on PATH.",
    )
    add_config_file(command, _FILE)
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


def add_explain(commands: Commands) -> None:
    """Add the command."""
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
        type=checked(_labels),
        help="of the series in question, also as Prometheus shows them, '{label=\"value\",…}'; a label "
        "that is not given counts as absent",
    )
    add_config_file(command, _FILE)
    command.set_defaults(command=_explain)


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
        return failed(outcome.text)
    say(outcome.text.rstrip("\n"))
    return GOOD


def _explain(options: argparse.Namespace) -> int:
    from plimsoll.alerts.explain import explain
    from plimsoll.alerts.rendering import make_plan

    try:
        labels = dict(pair for labels in options.labels for pair in labels.items())
        say(explain(make_plan(options.config_file), options.alert, labels))
    except ValueError as error:
        return failed(str(error))
    return GOOD


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
