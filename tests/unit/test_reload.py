"""What becomes of a reload that fails, as nobody expected it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from fix_fake_engine import until
from plimsoll.relay.relay import Relay
from plimsoll.relay.settings import load_settings
from plimsoll.web.application import make_application
from plimsoll.web.listener import Address, listening
from plimsoll.web.signals import handle_signals
from serving import Samples

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
FILE = f"""\
webhooks: {{ops: {{url: "http://127.0.0.1:1/ops", secret: {SECRET}}}}}
relay: {{url: "http://relay:9746", token_file: token}}
alertmanager: {{urls: ["http://127.0.0.1:1"]}}
prometheus: {{url: "http://127.0.0.1:1"}}
"""


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    (tmp_path / "token").write_text("a-token")
    file = tmp_path / "plimsoll.yml"
    file.write_text(FILE)
    async with Relay.running(lambda: load_settings(file)) as relay:
        file.write_text(FILE.replace("ops", "other"))
        yield relay


def successful(relay: Relay) -> float | None:
    return Samples(generate_latest(relay._registry).decode()).get("plimsoll_config_last_reload_successful")


def receivers(relay: Relay) -> set[str]:
    page = Samples(generate_latest(relay._registry).decode())
    return {dict(labels)["receiver"] for labels in page.all("plimsoll_webhook_in_flight")}


async def test_nothing_is_forwarded_by_settings_that_cannot_be_followed(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no witnesses")

    application = make_application(
        title="", description="", metrics=relay.metrics, is_ready=lambda: True, reload=relay.reload
    )
    async with listening(application, Address("127.0.0.1", 0)) as url, aiohttp.ClientSession(url) as client:
        monkeypatch.setattr("plimsoll.relay.rounds.Witnesses", fail)
        async with client.post("/-/reload") as response:
            assert response.status == 500
        assert (successful(relay), receivers(relay)) == (0, {"ops"})

        monkeypatch.undo()
        async with client.post("/-/reload") as response:
            assert response.status == 200
    assert (successful(relay), receivers(relay)) == (1, {"other"})


async def test_what_a_signal_began_does_not_fail_in_silence() -> None:
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise RuntimeError("no witnesses")

    loop = asyncio.get_running_loop()
    stopping = handle_signals(fail)
    try:
        with capture_logs() as logged:
            os.kill(os.getpid(), signal.SIGHUP)
            await failed.wait()
            await until(lambda: logged)
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    (line,) = logged
    assert (line["event"], str(line["exc_info"])) == ("the reload failed", "no witnesses")
    assert not stopping.is_set()
