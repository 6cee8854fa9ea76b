"""What a server does on signals: it stops, or reads its configuration again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def handle_signals(reload: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Event:
    """Reload on SIGHUP, and give an event that is set when the process is asked to stop."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    reloads: set[asyncio.Task[Any]] = set()

    def start_reload() -> None:
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(end_reload)

    def end_reload(task: asyncio.Task[Any]) -> None:
        reloads.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("the reload failed", exc_info=error)

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, start_reload)
    return stopping
