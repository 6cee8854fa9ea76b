"""`plimsoll serve`: the exporter as a process, from its first signal handler to its last connection."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import structlog
from aiohttp import web

from plimsoll import __version__
from plimsoll.config import ConfigError
from plimsoll.serve.exporter import Exporter
from plimsoll.serve.settings import load_settings
from plimsoll.web.accept import accepts_gzip, prefers_openmetrics
from plimsoll.web.application import METRICS_TYPE, OPENMETRICS_TYPE, make_application, scrape_seconds
from plimsoll.web.listener import Address, listening

_log = structlog.get_logger(__name__)


async def serve(config_file: Path | None, address: Address, scrape_timeout: float) -> None:
    """Serve until SIGTERM or SIGINT; reload on SIGHUP.

    Args:
        config_file: plimsoll.yml, or None to take the environment.
        address: where to listen.
        scrape_timeout: seconds within which /metrics answers, also if the scraper would wait longer.

    Raises:
        ConfigError: the configuration is bad at the start.
        OSError: the address cannot be listened on.
    """
    exporter = Exporter(lambda: load_settings(config_file))
    stopping = _handle_signals(exporter)

    async def metrics(request: web.Request) -> web.Response:
        openmetrics = prefers_openmetrics(request.headers.get("Accept", ""))
        compress = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        response = web.Response(
            headers={
                "Content-Type": OPENMETRICS_TYPE if openmetrics else METRICS_TYPE,
                "Vary": "Accept, Accept-Encoding",
            }
        )
        if compress:
            response.headers["Content-Encoding"] = "gzip"
        if request.method == "GET":
            seconds = scrape_seconds(request, scrape_timeout)
            response.body = await exporter.scrape(seconds, openmetrics=openmetrics, compress=compress)
        return response

    application = make_application(
        title="Plimsoll exporter",
        description=f"Measures PostgreSQL storage and containers for Prometheus. Version {__version__}.",
        metrics=metrics,
        is_ready=lambda: not stopping.is_set(),
        reload=exporter.reload,
    )
    async with listening(application, address) as url:
        _log.info("listening", url=url, version=__version__)
        await stopping.wait()
        _log.info("stopping")
        await exporter.stop()


def _handle_signals(exporter: Exporter) -> asyncio.Event:
    """Give an event that is set when the process is asked to stop."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    reloads: set[asyncio.Task[ConfigError | None]] = set()

    def reload() -> None:
        task = loop.create_task(exporter.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopping
