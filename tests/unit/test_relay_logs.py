"""What the relay logs reads as `name=value`, whatever it is about."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from fix_fake_engine import until
from plimsoll.relay.relay import Relay
from plimsoll.relay.settings import load_settings

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
FILE = f"""\
webhooks:
  ops: {{url: "http://127.0.0.1:1/ops", secret: {SECRET}}}
  plain: {{url: "http://127.0.0.1:1/plain"}}
  other: {{url: "http://127.0.0.1:1/other", secret: {SECRET}}}
relay: {{url: "http://relay:9746", token_file: token}}
alertmanager: {{urls: ["http://127.0.0.1:1"]}}
prometheus: {{url: "http://127.0.0.1:2"}}
"""


async def test_what_is_configured_and_who_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    file = tmp_path / "plimsoll.yml"
    file.write_text(FILE)

    with capture_logs() as logged:
        async with Relay.running(lambda: load_settings(file)):
            await until(lambda: len(logged) == 3)

    loaded, *silent = logged
    assert loaded == {
        "event": "configuration loaded",
        "receivers": "ops,other",
        "history": "false",
        "log_level": "info",
    }
    assert {(entry["source"], entry["url"]) for entry in silent} == {
        ("alertmanager", "http://127.0.0.1:1"),
        ("prometheus", "http://127.0.0.1:2"),
    }
    for entry in silent:
        assert entry["event"] == "no answer; nothing is taken for resolved meanwhile"
        assert entry["error"].startswith(f"{entry['url']}: GET ")
