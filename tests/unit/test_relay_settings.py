"""What the relay reads of the file: good values, and the exact messages of bad ones, which show no secret.

`PLIMSOLL_UPDATE_GOLDEN=1 pytest tests/unit/test_relay_settings.py` writes the messages anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.alerts.rendering import make_plan
from plimsoll.config import ConfigError
from plimsoll.relay.settings import load_settings

FIXTURES = Path(__file__).parents[1] / "fixtures" / "relay"
BAD = sorted((FIXTURES / "bad").glob("*.yml"))
PASSWORD = "hunter2"
NEW, OLD = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.delenv("NOT_FOR_THE_RELAY", raising=False)
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", PASSWORD)


def test_everything_that_may_be_said() -> None:
    settings = load_settings(FIXTURES / "good" / "everything.yml")

    ops = settings.receivers["ops"]
    assert ops.secrets == (NEW, OLD)
    assert ops.active
    assert ops.headers is not None
    values = {name: value.get_secret_value() for name, value in ops.headers.items()}
    assert values == {"X-Team": "ops", "Authorization": f"Bearer {PASSWORD}"}
    assert settings.receivers["single"].secrets == (NEW,)
    assert not settings.receivers["single"].active
    assert settings.receivers["default"].secrets == ()
    relay = settings.relay
    assert relay.token_file.get_secret_value() == "a-token-of-the-tests"
    assert (relay.max_in_flight, relay.connect_timeout, relay.timeout) == (2, 1, 5)
    assert (relay.interval, relay.grace) == (10, 120)
    assert (relay.acknowledgement.period, relay.acknowledgement.limit) == (300, 28800)
    assert settings.history is not None
    assert settings.history.conninfo == "postgresql://relay:hunter2@db/history"
    assert (settings.history.retention, settings.history.keep) == (30 * 86400, 500)
    assert settings.alertmanager.urls == ("http://am1:9093", "http://am2:9093")
    assert settings.alertmanager.user == f"relay:{PASSWORD}"
    assert settings.prometheus.url == "https://prometheus:9090"
    assert settings.prometheus.user is None
    assert settings.prometheus.tls_config
    assert settings.prometheus.tls_config.server_name == "prometheus.example.com"


def test_the_least_that_has_to_be_said() -> None:
    settings = load_settings(FIXTURES / "good" / "least.yml")

    assert settings.receivers == {}
    assert settings.history is None
    assert (settings.relay.interval, settings.relay.grace, settings.relay.timeout) == (15, 300, 10)
    assert settings.alertmanager.urls == ("http://127.0.0.1:9093",)


def test_no_secret_is_shown() -> None:
    settings = load_settings(FIXTURES / "good" / "everything.yml")

    for text in (str(settings), repr(settings)):
        assert PASSWORD not in text
        assert "a-token-of-the-tests" not in text
        assert repr(NEW) not in text


def test_rendering_needs_none_of_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_TEST_PASSWORD")
    file = tmp_path / "plimsoll.yml"
    file.write_text((FIXTURES / "good" / "everything.yml").read_text())

    plan = make_plan(file)

    assert plan.alerts


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_gets_its_messages(path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(path)

    got = f"{refused.value}\n".replace(str(path), "{file}").replace(str(path.parent), "{directory}")
    golden = path.with_suffix(".txt")
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        golden.write_text(got, "utf-8")
    assert got == golden.read_text("utf-8")
    assert PASSWORD not in got
    assert "a-token" not in got
