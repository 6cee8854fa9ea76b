"""`plimsoll ack`."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable

from plimsoll.cli.arguments import FAILED, GOOD, Commands, add_config_file, checked, failed, say
from plimsoll.config.fields import parse_duration

_LONGEST = 31536000.0


def add_ack(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "ack",
        help="acknowledges alerts until they have resolved; lists who has taken which",
        description="Acknowledge active alerts: each gets a silence of its own in Alertmanager, for its "
        "labels without severity, with a comment that begins with ACK!. Nobody is told of the alert again "
        "until it has resolved. A relay prolongs the silence while the alert fires, and ends it then; if the "
        "file has no section relay, the silence lasts for the whole of --for instead. What is acknowledged "
        "already is left as it is, but if --for, --by or --comment is given for certain alerts, their "
        "silence is replaced by one that differs in this.",
    )
    command.add_argument(
        "selection",
        metavar="ALERT | FINGERPRINT | '{matchers}' | label=value",
        nargs="*",
        help="alerts that fit all of these: a name or a fingerprint as --list shows it comes first, if there "
        "is one, also with matchers as in 'NAME{label=\"value\"}'; the operators are =, !=, =~ and !~",
    )
    command.add_argument(
        "--all", action="store_true", help="every active alert, silenced and inhibited ones too"
    )
    command.add_argument(
        "--for",
        dest="seconds",
        type=checked(parse_limit),
        metavar="DURATION",
        help="when the acknowledgement ends even if the alert still fires (default "
        "relay.acknowledgement.limit, which is 3d; without a relay 1d)",
    )
    command.add_argument("--by", metavar="NAME", help="who takes the alerts (default your login name)")
    command.add_argument("--comment", metavar="TEXT", help="what to say about it")
    command.add_argument(
        "--undo",
        action="store_true",
        help="end the acknowledgements of these alerts instead, whoever made them: they are told again with "
        "Alertmanager's next reminder (repeat_interval)",
    )
    command.add_argument(
        "--list",
        action="store_true",
        help="show the active alerts instead, or those of them that fit: state, severity, age, who has taken "
        "them and until when",
    )
    command.add_argument(
        "--format", choices=("text", "json"), help="of --list; the times of json are RFC 3339 (default text)"
    )
    add_config_file(
        command,
        "plimsoll.yml, for alertmanager.urls and relay.acknowledgement; without it, Alertmanager on "
        "127.0.0.1:9093 and no relay",
    )
    command.set_defaults(command=_ack, refuse=command.error)


def parse_limit(text: str) -> float:
    """Read for how long somebody takes an alert, and give seconds.

    Raises:
        ValueError: it is no duration, or none from 1s to 1y.
    """
    seconds = parse_duration(text)
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("must be 1s to 1y")
    return seconds


def _ack(options: argparse.Namespace) -> int:
    from plimsoll.relay.ack import command
    from plimsoll.relay.ack.scene import Request
    from plimsoll.relay.ack.selection import Selection

    if contradiction := _contradiction(options):
        options.refuse(contradiction)
    try:
        selection = Selection.parse(options.selection) if options.selection else None
    except ValueError as error:
        options.refuse(str(error))
    outcome = command.run(
        Request(
            action="undo" if options.undo else "list" if options.list else "acknowledge",
            selection=selection,
            seconds=options.seconds,
            by=options.by,
            comment=options.comment,
            format=options.format or "text",
            config_file=options.config_file,
        )
    )
    is_told = _told(outcome.said)
    for complaint in outcome.complaints:
        failed(complaint)
    return GOOD if outcome.good and is_told else FAILED


def _told(lines: Iterable[str]) -> bool:
    """Give the answer; what is done is done, but whoever asked must not think that they know it all."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        for line in lines:
            say(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        failed(f"the answer could not be written: {error.strerror}")
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _contradiction(options: argparse.Namespace) -> str | None:
    """Say which arguments do not go together."""
    made = {"--for": options.seconds, "--by": options.by, "--comment": options.comment}
    given = [flag for flag, value in made.items() if value is not None]
    if options.undo and options.list:
        return "--undo and --list do not go together"
    if given and (options.undo or options.list):
        return f"{given[0]} is for acknowledging, and goes neither with --undo nor with --list"
    if options.format and not options.list:
        return "--format goes with --list only"
    if options.all and options.list:
        return "--list shows all alerts as it is; name some to see only these"
    if options.all and options.selection:
        return "--all stands alone, without ALERT, FINGERPRINT or matchers"
    if not (options.all or options.list or options.selection):
        return "say which alerts: by name, fingerprint, matchers or labels; or give --all"
    if options.by is not None and not options.by.strip():
        return "--by must not be empty"
    return None
