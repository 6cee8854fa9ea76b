"""`plimsoll serve`: the exporter as a process, from its first signal handler to its last connection."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from aiohttp import web

from plimsoll import __version__
from plimsoll.serve.exporter import Exporter
from plimsoll.serve.settings import load_settings
from plimsoll.web.accept import accepts_gzip, prefers_openmetrics
from plimsoll.web.application import METRICS_TYPE, OPENMETRICS_TYPE, make_application, scrape_seconds
from plimsoll.web.following import WebConfig
from plimsoll.web.listener import Address, listening
from plimsoll.web.signals import handle_signals

_log = structlog.get_logger(__name__)
_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread that makes a page, say, has Python for itself while another one wants it.

After each of its system calls the event loop has to wait for that anew, of which one turn has many.
"""


async def serve(
    config_file: Path | None, address: Address, scrape_timeout: float, web_config_file: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; reload on SIGHUP.

    Args:
        config_file: plimsoll.yml, or None to take the environment.
        address: where to listen.
        scrape_timeout: seconds within which /metrics answers, also if the scraper would wait longer.
        web_config_file: certificates and users, or None: plain HTTP for everybody.

    Raises:
        ConfigError: the configuration, or that of the web server, is bad at the start.
        OSError: the address cannot be listened on.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    web_config = WebConfig(web_config_file) if web_config_file else None
    exporter = Exporter(lambda: load_settings(config_file))
    stopping = handle_signals(exporter.reload)

    async def metrics(request: web.Request) -> web.StreamResponse:
        openmetrics = prefers_openmetrics(request.headers.get("Accept", ""))
        compress = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        headers = {
            "Content-Type": OPENMETRICS_TYPE if openmetrics else METRICS_TYPE,
            "Vary": "Accept, Accept-Encoding",
        }
        if compress:
            headers["Content-Encoding"] = "gzip"
        if request.method == "HEAD":
            return web.Response(headers=headers)
        seconds = scrape_seconds(request, scrape_timeout)
        pieces = await exporter.scrape(seconds, openmetrics=openmetrics, compress=compress)
        return await _send(request, pieces, headers)

    application = make_application(
        title="Plimsoll exporter",
        description=f"Measures PostgreSQL storage and containers for Prometheus. Version {__version__}.",
        metrics=metrics,
        is_ready=lambda: not stopping.is_set(),
        reload=exporter.reload,
    )
    # What was made so far stays: no collection of garbage has to look through it, while all else waits.
    gc.collect()
    gc.freeze()
    async with listening(application, address, web_config) as url:
        _log.info("listening", url=url, version=__version__)
        await stopping.wait()
        _log.info("stopping")
        await exporter.stop()


async def _send(
    request: web.Request, pieces: Sequence[bytes], headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_length = sum(map(len, pieces))
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(0)  # whoever reads as fast as this is written must not keep others waiting
    return response
