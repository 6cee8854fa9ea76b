"""`plimsoll demo`: from the first line that it prints to the end of the last part."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType
from typing import NoReturn

import psycopg

from plimsoll.demo import guide, processes
from plimsoll.demo.processes import ProcessError, workspace
from plimsoll.demo.receiver import Notification, describe
from plimsoll.demo.service import Part
from plimsoll.demo.stack import Starter

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY = 0.2  # seconds
_COMPANIONS = 1.0  # seconds in which what ends together is told together


def demo(dsn: str | None) -> int:
    """Run the whole stack on loopback until Ctrl-C or SIGTERM, and give the exit status.

    Args:
        dsn: the server to watch; None starts one, with an application that writes to it.
    """
    status = 0
    with ExitStack() as ending:
        try:
            for number in _SIGNALS:
                signal.signal(number, _interrupt)
            _run(dsn, ending)
        except KeyboardInterrupt:
            _say("\nending everything")
        except (ProcessError, OSError, psycopg.Error) as error:
            print(f"plimsoll: {error}", file=sys.stderr, flush=True)  # noqa: T201 - this is its answer
            status = 1
        finally:
            for number in _SIGNALS:  # a second Ctrl-C must not leave anything behind
                signal.signal(number, signal.SIG_IGN)
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _run(dsn: str | None, ending: ExitStack) -> NoReturn:
    directory = ending.enter_context(workspace())
    prepared = threading.Event()

    def receive(notification: Notification) -> None:
        prepared.wait()  # below the guide, not amid it
        _say(f"{describe(notification)}\n")

    if dsn is None:
        _forget_libpq()
    starter = Starter(directory, _say, receive, ending)
    stack = starter.on_sample_application() if dsn is None else starter.on_server(dsn)
    _say(guide.addresses(stack))
    _say(guide.on_sample_application(stack) if dsn is None else guide.on_server(stack))
    prepared.set()
    starter.show(stack)
    _watch(stack.parts)


def _forget_libpq() -> None:
    """Let no variable of the user's change how we and what we start reach the server of our own."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _watch(parts: Sequence[Part]) -> NoReturn:
    """Wait until a part ends, and raise ProcessError with the end of its log."""
    while all(processes.alive(part.pid) for part in parts):
        time.sleep(_LOOK_EVERY)
    time.sleep(_COMPANIONS)
    ended = [part for part in parts if not processes.alive(part.pid)]
    raise ProcessError(
        "\n".join(f"{part.name} has ended; the end of its log:\n{processes.tail(part.log)}" for part in ended)
    )


def _say(text: str) -> None:
    """Print a text and its line end in one piece: notifications come in threads of their own."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
