"""Tries what a configuration promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

from plimsoll.config.finding import Finding
from plimsoll.serve.check.containers import try_engine
from plimsoll.serve.check.postgres import try_server
from plimsoll.serve.settings import Settings


async def try_all(settings: Settings) -> AsyncIterator[Finding]:
    """Try every server and every engine in turn, reading what `serve` would read."""
    for server in settings.servers:
        async for finding in try_server(server, settings.sql_of(server)):
            yield finding
    for engine in settings.containers:
        async for finding in try_engine(engine):
            yield finding
