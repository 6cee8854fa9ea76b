"""Following an engine's events in the background."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import Any, Literal, Protocol

import structlog

from plimsoll.serve.sources.answers import Event, event
from plimsoll.serve.sources.docker import Engine, EngineError, RefusedError

_log = structlog.get_logger(__name__)

_FILTERS = {
    "type": ["container"],
    "event": [
        *("create", "start", "die", "stop", "oom", "destroy"),
        *("rename", "update", "pause", "unpause", "health_status"),
    ],
}
"""What we need to know; the commands that health checks run would be most of the stream."""
_PATIENCE = 1.0
"""Seconds that a collection waits for the stream to open."""
_SILENCE = 300.0
"""Seconds without an event after which the stream is taken up anew: what is between may have forgotten it."""
_RETRY = 60.0
"""Seconds until a stream that was refused is asked for again."""
_MEMORY = 256
"""Events, of whatever kind, that Docker's daemon keeps in memory."""


class Listener(Protocol):
    """Who is told of events, and of what was missed."""

    def hear(self, event: Event) -> None:
        """Take an event."""

    def engine_ended(self, moment: float) -> None:
        """Know that the daemon ended then (seconds since the epoch), and that another one answers."""

    def events_missed(self) -> None:
        """Know that there were events which nobody will tell any more."""


class EventStream:
    """Follows the events of an engine, from the first call of `follow` until `stop`.

    Args:
        engine: whose events.
        listener: who is told.
        former: the stream that this one takes over from.
    """

    def __init__(self, engine: Engine, listener: Listener, former: EventStream | None = None) -> None:
        self._engine = engine
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._whole = False
        self._refused_at: float | None = None
        self.last: Event | None = former.last if former else None
        """The last event that was told, by the daemon that answers."""
        self.since: int | None = former.since if former else None
        """Since when that daemon has been listened to, in nanoseconds since the epoch."""
        self._lost_at = time.time() if former else None

    @property
    def is_open(self) -> bool:
        """Whether events are being told."""
        return self._opened.is_set()

    @property
    def is_refused(self) -> bool:
        """Whether the engine, or a proxy before it, does not let us listen."""
        return self._refused_at is not None

    async def follow(self) -> bool:
        """See to it that the stream stands; say whether nothing was missed since the last call."""
        if self._task is None or self._task.done():
            if self._refused_at is not None and time.monotonic() - self._refused_at < _RETRY:
                return False
            self._task = asyncio.create_task(self._listen())
            opened = asyncio.create_task(self._opened.wait())
            try:
                await asyncio.wait(
                    {self._task, opened}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                opened.cancel()
        if self.is_open:
            self._refused_at = None
        whole, self._whole = self._whole and self.is_open, self.is_open
        return whole

    def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()

    async def _listen(self) -> None:
        try:
            await self._engine.agree()
            filters = {"type": ["container"]} if self._engine.is_podman else _FILTERS
            query = {"filters": json.dumps(filters)}
            await self._take_up(query)
            told = self._engine.lines("/events", self._opened, _SILENCE, **query)
            async with aclosing(told) as lines:
                async for line in lines:
                    if line.strip():
                        self.last = event(_parsed(line))
                        self._listener.hear(self.last)
        except EngineError as error:
            if isinstance(error, RefusedError) and error.is_policy:
                if self._refused_at is None:
                    _log.warning("events are refused: orders and kills will be missed", error=str(error))
                self._refused_at = time.monotonic()
            else:
                _log.debug("events end", error=str(error))
        finally:
            if self.is_open:
                self._opened.clear()
                self._lost_at = time.time()
                self._engine.version = ""  # who answers next time may speak another

    async def _take_up(self, query: dict[str, str]) -> None:
        """Ask to be told what was missed, unless it is another daemon that answers.

        That one is not asked what it did while it started, for it stops what the former left running.
        """
        if self._lost_at is None or self.since is None:
            self._begin()
            return
        memory = await self._memory_of(self._lost_at)
        if memory == "none":
            self._begin()
            self._listener.engine_ended(self._lost_at)
            return
        query["since"] = _moment(self.last.nanoseconds + 1 if self.last else self.since)
        self._whole = memory == "whole"
        if not self._whole:
            self._listener.events_missed()

    def _begin(self) -> None:
        self.last, self.since, self._whole = None, time.time_ns(), False

    async def _memory_of(self, moment: float) -> Literal["whole", "part", "none"]:
        """Say how much the engine remembers of what was since a moment.

        A daemon that remembers something older was there then, and has forgotten nothing since. One whose
        memory is full of what came later may have been. Podman has no daemon, and forgets nothing.
        """
        if self._engine.is_podman:
            return "whole"
        newer, opened = 0, asyncio.Event()
        query = {"since": "0", "until": _moment(time.time_ns())}
        told = self._engine.lines("/events", opened, _SILENCE, **query)
        try:
            async with asyncio.timeout(_PATIENCE), aclosing(told) as lines:
                async for line in lines:
                    if line.strip():
                        if event(_parsed(line)).at <= moment:
                            return "whole"
                        newer += 1
        except TimeoutError:  # by the engine's clock, `until` is yet to come
            if not opened.is_set():
                raise EngineError("GET /events was not answered in time") from None
        return "part" if newer >= _MEMORY else "none"


def _moment(nanoseconds: int) -> str:
    """Write a moment as the parameter `since` takes it."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise EngineError("GET /events was not answered with JSON") from None
