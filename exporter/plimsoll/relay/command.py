"""`plimsoll relay`: the relay as a process, from its first signal handler to its last post."""

from __future__ import annotations

from pathlib import Path

import structlog

from plimsoll import __version__
from plimsoll.config import ConfigError, Problem
from plimsoll.relay.history.store import Store
from plimsoll.relay.relay import Relay
from plimsoll.relay.settings import load_settings
from plimsoll.web.application import make_application
from plimsoll.web.following import WebConfig
from plimsoll.web.listener import Address, listening
from plimsoll.web.signals import handle_signals

_log = structlog.get_logger(__name__)


async def relay(config_file: Path, address: Address, web_config_file: Path | None = None) -> None:
    """Forward and watch until SIGTERM or SIGINT; reload on SIGHUP.

    Args:
        config_file: plimsoll.yml.
        address: where to listen.
        web_config_file: certificates and users, or None: plain HTTP for everybody.

    Raises:
        ConfigError: the configuration, or that of the web server, is bad at the start.
        OSError: the address cannot be listened on.
    """
    web_config = WebConfig(web_config_file) if web_config_file else None
    async with Relay.running(lambda: load_settings(config_file)) as running:
        stopping = handle_signals(running.reload)
        application = make_application(
            title="Plimsoll relay",
            description=f"Signs webhooks, keeps alert history and acknowledgements. Version {__version__}.",
            metrics=running.metrics,
            is_ready=lambda: not stopping.is_set(),
            reload=running.reload,
        )
        routes = running.routes()
        application.add_routes(routes)
        theirs = [route.path for route in routes]  # they demand a bearer token
        async with listening(application, address, web_config, theirs) as url:
            _log.info("listening", url=url, version=__version__)
            await stopping.wait()
            _log.info("stopping")


async def migrate(config_file: Path, version: int) -> str:
    """Bring the history's schema to a version, forward or back, and say what was done.

    Raises:
        ConfigError: the configuration is bad, or has no history.
        HistoryError: there is no such version, or the database refused.
    """
    settings = load_settings(config_file)
    if settings.history is None:
        raise ConfigError([Problem(str(config_file), 1, ("history",), "is required: it says where it is")])
    store = Store(settings.history, settings.relay.grace)
    try:
        migrated = await store.migrate(version)
    finally:
        await store.close()
    return f"the history's schema is of version {migrated.after}, and was of version {migrated.before}"
