"""Programs that a test takes away and brings back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

from plimsoll.demo.service import Service
from serving import Serving

Running = TypeVar("Running", Service, Serving)


class Part(Generic[Running]):
    """A program that can be ended, and started again where it was."""

    def __init__(self, run: Callable[[], AbstractContextManager[Running]]) -> None:
        self._run: Callable[[], AbstractContextManager[Running]] = run
        self._stack = ExitStack()
        self._now: Running | None = None

    @property
    def now(self) -> Running:
        """The running program."""
        assert self._now, "it does not run"
        return self._now

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._now is None:
            self._now = self._stack.enter_context(self._run())

    def stop(self) -> None:
        """End it in order, if it runs."""
        self._now = None
        self._stack.close()

    def kill(self) -> None:
        """End it without notice."""
        self.now.process.kill()
        self.now.process.wait()
        self.stop()
