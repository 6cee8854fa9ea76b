"""The relay as a whole: what it forwards, what it looks at, and following the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics, exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from plimsoll import __version__
from plimsoll.config import ConfigError
from plimsoll.relay.forwarding.endpoint import Forwarding
from plimsoll.relay.forwarding.metrics import ForwardingMetrics
from plimsoll.relay.forwarding.receiver import client_session
from plimsoll.relay.rounds import Rounds
from plimsoll.relay.settings import Settings
from plimsoll.web.accept import accepts_gzip, prefers_openmetrics
from plimsoll.web.application import METRICS_TYPE, OPENMETRICS_TYPE

_log = structlog.get_logger(__name__)

_SETTLE = 5.0
"""Seconds that posts under way get when the relay stops, and then the history once more."""


class Relay:
    """Forwards notifications, and goes its rounds; see `running`."""

    def __init__(
        self,
        load: Callable[[], Settings],
        settings: Settings,
        posting: aiohttp.ClientSession,
        asking: aiohttp.ClientSession,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they say when each counter began
        self._load = load
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._reloads = _ReloadMetrics(self._registry)
        self._rounds = Rounds(asking, settings)
        self._registry.register(self._rounds.counts)
        self._forwarding = Forwarding(
            posting,
            settings,
            ForwardingMetrics(self._registry),
            seen=self._rounds.seen,
            delivered=self._rounds.delivered,
            repeat_interval=self._rounds.repeat_interval,
        )
        self._note_receivers(settings)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, load: Callable[[], Settings]) -> AsyncIterator[Relay]:
        """Run a relay on what `load` gives, now and at each reload; end it in bounded time.

        Raises:
            ConfigError: the configuration is bad at the start.
        """
        settings = load()
        async with client_session() as posting, aiohttp.ClientSession(trust_env=False) as asking:
            relay = cls(load, settings, posting, asking)
            rounds = asyncio.create_task(relay._rounds.run())
            try:
                yield relay
            finally:
                await relay._stop(rounds)

    def routes(self) -> list[web.RouteDef]:
        """Give the routes that Alertmanager posts to."""
        return self._forwarding.routes()

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page for Prometheus, as it accepts it; HEAD gets no page."""
        openmetrics = prefers_openmetrics(request.headers.get("Accept", ""))
        compress = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        content_type = OPENMETRICS_TYPE if openmetrics else METRICS_TYPE
        response = web.Response(headers={"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"})
        if compress:
            response.headers["Content-Encoding"] = "gzip"
        if request.method == "GET":
            now = _Collected(self._registry)
            response.body = await asyncio.to_thread(_page, now, openmetrics=openmetrics, compress=compress)
        return response

    async def reload(self) -> ConfigError | None:
        """Follow the configuration as it is now; if it is bad, give the reason and leave all as it was.

        Whatever else goes wrong is raised, to be logged and answered with 500.
        """
        self._reloads.note(successful=False)
        try:
            settings = self._load()
        except ConfigError as error:
            _log.error("configuration refused, the former one stays in force", problems=str(error))
            return error
        self._rounds.follow(settings)  # the only one that might raise
        self._forwarding.follow(settings)
        self._reloads.note(successful=True)
        self._note_receivers(settings)
        return None

    async def _stop(self, rounds: asyncio.Task[None]) -> None:
        await self._forwarding.settle(_SETTLE)
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                await self._rounds.stop()

    def _note_receivers(self, settings: Settings) -> None:
        signed = (name for name, receiver in settings.receivers.items() if receiver.is_signed)
        history = "true" if settings.history else "false"
        _log.info("configuration loaded", receivers=",".join(signed), history=history)


class _Collected(Collector):
    """All families as they are now: they can be written while the relay goes on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families = list(registry.collect())

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _page(collected: Collector, *, openmetrics: bool, compress: bool) -> bytes:
    """Write a page; with 3000 acknowledgements it takes a fifth of a second, for which nobody else waits."""
    if openmetrics:
        body = bytes(openmetrics_exposition.generate_latest(collected))  # type: ignore[no-untyped-call]
    else:
        body = exposition.generate_latest(collected)
    return gzip.compress(body, compresslevel=1) if compress else body


class _ReloadMetrics:
    """What is said of the configuration and the program, under the names that the exporter uses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._successful = Gauge(
            "plimsoll_config_last_reload_successful",
            "Whether the last reload of the configuration succeeded.",
            registry=registry,
        )
        self._loaded_at = Gauge(
            "plimsoll_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded, in seconds since the epoch.",
            registry=registry,
        )
        build = Gauge(
            "plimsoll_build_info", "Always 1; the version is a label.", ("version",), registry=registry
        )
        build.labels(__version__).set(1)
        self.note(successful=True)

    def note(self, *, successful: bool) -> None:
        """Note how a reload ended."""
        self._successful.set(successful)
        if successful:
            self._loaded_at.set_to_current_time()
