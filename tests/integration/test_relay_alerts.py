"""What happens to a relay, and to what it delivers, keeps and prolongs, reaches a webhook."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from judging import BUSY, Judging, at_once, job, judging, user_file
from plimsoll.demo.service import LOOPBACK

TOLD = {"RelayUnreachable", "WebhookDeliveryFailing", "HistoryUnavailable", "AcknowledgementEnding"}
"""Presets that fire and resolve here."""

JOB = "plimsoll-relay"
TAKEN = {"alert": "HostDiskHigh", "fingerprint": "0123456789abcdef", "subject": "db1", "by": "sam"}


@dataclass
class Page:
    """The metrics of a relay, which may change; without them it fails."""

    address: str
    text: str | None

    def is_well(self) -> None:
        """Say that all is well."""
        self.text = metrics(delivered=20, failed=10, history=1, limit=3 * 86400)


def metrics(*, delivered: int, failed: int, history: int, limit: int) -> str:
    """Give a page by seconds from now and by values, with what the relay publishes under these names."""
    now = time.time()
    taken = ",".join(f'{name}="{value}"' for name, value in TAKEN.items())
    return f"""\
plimsoll_webhook_deliveries_total{{receiver="ops",result="delivered"}} 3
plimsoll_webhook_deliveries_total{{receiver="ops",result="timeout"}} 2
plimsoll_webhook_last_success_timestamp_seconds{{receiver="ops"}} {now + delivered}
plimsoll_webhook_last_failure_timestamp_seconds{{receiver="ops"}} {now + failed}
plimsoll_history_up {history}
plimsoll_history_last_success_timestamp_seconds {now - 100}
plimsoll_acknowledgement_start_timestamp_seconds{{{taken}}} {now - limit}
plimsoll_acknowledgement_limit_timestamp_seconds{{{taken}}} {now + limit}
"""


@contextmanager
def page(text: str | None) -> Iterator[Page]:
    """Serve a page of metrics on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if served.text is None else 200)
            self.end_headers()
            self.wfile.write((served.text or "").encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    served = Page(f"{LOOPBACK}:{server.server_port}", text)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_happens_to_a_relay_is_told_and_resolved(tmp_path: Path) -> None:
    """One of two relays does not answer; the other can do nothing."""
    sections = {"alerts": at_once({"RelayUnreachable": BUSY})}
    with (
        page(metrics(delivered=-60, failed=-10, history=0, limit=600)) as relay,
        page(None) as other,
        user_file(tmp_path, sections) as file,
        judging(file, [job(JOB, relay.address, other.address)]) as watcher,
    ):
        expected = {
            "RelayUnreachable": {"instance": other.address, "job": JOB},
            "WebhookDeliveryFailing": {"receiver": "ops"},
            "HistoryUnavailable": {"job": JOB},
            "AcknowledgementEnding": TAKEN,
        }
        assert expected.keys() == TOLD
        watcher.wait_for("firing", expected)
        check_texts(watcher)
        relay.is_well()
        other.is_well()
        watcher.wait_for("resolved", expected)
        watcher.check_told(expected)


def check_texts(watcher: Judging) -> None:
    (failing, *_) = watcher.told("WebhookDeliveryFailing")
    assert 'webhook "ops" was not delivered. The last that was' in failing["annotations"]["description"]
    (ending, *_) = watcher.told("AcknowledgementEnding")
    minutes, _, _ = ending["annotations"]["value"].partition("m ")
    assert float(minutes) == pytest.approx(9, abs=1)
    assert '"sam" acknowledged HostDiskHigh, about "db1"' in ending["annotations"]["description"]
