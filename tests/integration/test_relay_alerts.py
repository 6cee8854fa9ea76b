"""What happens to a relay, to what it delivers, keeps and prolongs, and before it, reaches a webhook."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from judging import BUSY, Judging, at_once, job, judging, user_file
from plimsoll.demo.service import LOOPBACK
from relaying import Receiver, receiver
from sending import Inbox, inbox
from waiting import eventually

TOLD = {
    "NotificationsFailing",
    "RelayUnreachable",
    "RelaySourceUnreachable",
    "WebhookDeliveryFailing",
    "HistoryUnavailable",
    "AcknowledgementEnding",
}
"""Presets that fire and resolve here."""

JOB = "plimsoll-relay"
SOURCE = {"source": "prometheus", "url": "http://prometheus:9090"}
TAKEN = {"alert": "HostDiskHigh", "fingerprint": "0123456789abcdef", "subject": "db1", "by": "sam"}


@dataclass
class Page:
    """The metrics of a relay, which may change; without them it fails."""

    address: str
    text: str | None

    def is_well(self) -> None:
        """Say that all is well."""
        self.text = metrics(delivered=20, failed=10, works=1, limit=3 * 86400)


def metrics(*, delivered: int, failed: int, works: int, limit: int) -> str:
    """Give a page by seconds from now and by values, with what the relay publishes under these names."""
    now = time.time()
    taken = ",".join(f'{name}="{value}"' for name, value in TAKEN.items())
    source = ",".join(f'{name}="{value}"' for name, value in SOURCE.items())
    return f"""\
plimsoll_webhook_deliveries_total{{receiver="ops",result="delivered"}} 3
plimsoll_webhook_deliveries_total{{receiver="ops",result="timeout"}} 2
plimsoll_webhook_last_success_timestamp_seconds{{receiver="ops"}} {now + delivered}
plimsoll_webhook_last_failure_timestamp_seconds{{receiver="ops"}} {now + failed}
plimsoll_source_up{{{source}}} {works}
plimsoll_history_up {works}
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
    """One of two relays does not answer; the other can do nothing. An Alertmanager is refused."""
    with (
        page(metrics(delivered=-60, failed=-10, works=0, limit=600)) as relay,
        page(None) as other,
        receiver() as refusing,
        inbox(tmp_path / "posting", routes_to(refusing)) as posting,
        user_file(tmp_path, sections(too_many=0)) as file,
        judging(file, [job(JOB, relay.address, other.address), job("posting", address(posting))]) as watcher,
    ):
        expected = {
            "NotificationsFailing": {"integration": "webhook"},
            "RelayUnreachable": {"instance": other.address, "job": JOB},
            "RelaySourceUnreachable": SOURCE,
            "WebhookDeliveryFailing": {"receiver": "ops"},
            "HistoryUnavailable": {"job": JOB},
            "AcknowledgementEnding": TAKEN,
        }
        assert expected.keys() == TOLD
        check_that_a_retry_is_no_failure(watcher, posting, refusing)
        refusing.answers.append(401)
        posting.send({"alertname": "Refused"})
        watcher.wait_for("firing", expected)
        check_texts(watcher)
        assert f": {address(posting)} (1)." in description(watcher, "NotificationsFailing")
        watcher.change(sections(too_many=100))
        relay.is_well()
        other.is_well()
        watcher.wait_for("resolved", expected)
        watcher.check_told(expected)


def sections(too_many: int) -> dict[str, Any]:
    """Give a user's file; so many failed notifications within 15 minutes are not yet told."""
    return {"alerts": at_once({"RelayUnreachable": BUSY, "NotificationsFailing": {"threshold": too_many}})}


def routes_to(told: Receiver) -> str:
    """Give routes of Alertmanager by which a receiver is told everything, and what it refuses but once."""
    route = {"receiver": "ops", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1h"}
    receivers = [{"name": "ops", "webhook_configs": [{"url": told.url}]}]
    return yaml.safe_dump({"route": route, "receivers": receivers})


def address(posting: Inbox) -> str:
    return urlsplit(posting.url).netloc


def check_that_a_retry_is_no_failure(watcher: Judging, posting: Inbox, ops: Receiver) -> None:
    ops.answers.append(500)
    posting.send({"alertname": "Retried"})
    eventually(lambda: counted(watcher, "alertmanager_notification_requests_total") == 2)
    assert counted(watcher, "alertmanager_notification_requests_failed_total") == 1
    assert counted(watcher, "alertmanager_notifications_failed_total") == 0


def counted(watcher: Judging, counter: str) -> float:
    """Give what Alertmanager counted of webhooks, and Prometheus scraped."""
    return sum(value for _, value in watcher.query(f'{counter}{{integration="webhook"}}'))


def description(watcher: Judging, name: str) -> str:
    (alert, *_) = watcher.told(name)
    return str(alert["annotations"]["description"])


def check_texts(watcher: Judging) -> None:
    assert 'webhook "ops" was not delivered. The last that was' in description(
        watcher, "WebhookDeliveryFailing"
    )
    assert "It is asked in vain by " in description(watcher, "RelaySourceUnreachable")
    (ending, *_) = watcher.told("AcknowledgementEnding")
    minutes, _, _ = ending["annotations"]["value"].partition("m ")
    assert float(minutes) == pytest.approx(9, abs=1)
    assert '"sam" acknowledged HostDiskHigh, about "db1"' in ending["annotations"]["description"]
