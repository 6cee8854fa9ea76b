"""The routes that every server has: landing page, metrics, health, readiness, reload."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable

from aiohttp import web

from plimsoll.config import ConfigError

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SCRAPE_MARGIN = 0.5
_SHORTEST_SCRAPE = 0.1
_LANDING_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{description}</p>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="-/healthy">Health</a></li>
<li><a href="-/ready">Readiness</a></li>
</ul>
</body>
</html>
"""


def make_application(
    *,
    title: str,
    description: str,
    metrics: Callable[[web.Request], Awaitable[web.StreamResponse]],
    is_ready: Callable[[], bool],
    reload: Callable[[], Awaitable[ConfigError | None]],
) -> web.Application:
    """Build a server's application; `metrics` answers GET and HEAD."""
    page = _LANDING_PAGE.format(title=html.escape(title), description=html.escape(description))

    async def landing(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="Healthy\n")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="Ready\n") if is_ready() else web.Response(text="Stopping\n", status=503)

    async def reloaded(_: web.Request) -> web.Response:
        if error := await reload():
            return web.Response(text=f"{error}\n", status=500)
        return web.Response(text="Reloaded\n")

    application = web.Application()
    application.add_routes(
        [
            web.get("/", landing),
            web.get("/metrics", metrics),
            web.get("/-/healthy", healthy),
            web.get("/-/ready", ready),
            web.post("/-/reload", reloaded),
        ]
    )
    return application


def scrape_seconds(request: web.Request, timeout: float) -> float:
    """Give the seconds that an answer may take: `timeout`, or less if Prometheus says that it waits less."""
    header = request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", "")
    try:
        allowed = float(header) - _SCRAPE_MARGIN
    except ValueError:
        return timeout
    # Written so that NaN, which float() reads too, leaves the timeout.
    return max(allowed, _SHORTEST_SCRAPE) if allowed < timeout else timeout
