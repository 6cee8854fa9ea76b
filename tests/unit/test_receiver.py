"""The demo's webhook receiver: what it takes, and how it shows that."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from plimsoll.demo.receiver import Notification, describe, receiving


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "TableGrowthHigh", "severity": "warning", "category": "storage", **labels},
        "annotations": {
            "summary": "A table grew quickly within 24 hours",
            "description": "It grew. " * 20,
            "previous": "100MiB",
            "current": "150MiB",
            "percent": "+50.0 %",
        },
    }


def post(url: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=5)
    connection.request("POST", "/", body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_notifications_are_handed_over() -> None:
    received: list[Notification] = []
    with receiving(received.append) as url:
        assert post(url, json.dumps({"alerts": [alert()], "version": "4"}).encode()) == 204
    assert received == [{"alerts": [alert()], "version": "4"}]


@pytest.mark.parametrize("body", [b"", b"no json", b'{"alerts": '])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    received: list[Notification] = []
    with receiving(received.append) as url:
        assert post(url, body) == 400
    assert received == []


def test_a_taken_port_is_replaced() -> None:
    with receiving(print) as first, receiving(print, port=int(first.rsplit(":")[-1].rstrip("/"))) as second:
        assert first != second


def test_a_firing_alert_is_shown_with_its_texts_and_labels() -> None:
    title, summary, *texts, growth, labels = describe({"alerts": [alert(relname="Größe")]}).split("\n")
    assert title.endswith("  FIRING  TableGrowthHigh  (warning)")
    assert summary.strip() == "A table grew quickly within 24 hours"
    assert [len(line) <= 110 for line in texts] == [True, True]
    assert growth.strip() == "previous 100MiB, current 150MiB, percent +50.0 %"
    assert labels.strip() == 'relname="Größe"'


def test_a_resolved_alert_is_shown_briefly() -> None:
    title, _, labels = describe({"alerts": [alert("resolved", relname="orders")]}).split("\n")
    assert title.endswith("  RESOLVED  TableGrowthHigh  (warning)")
    assert labels.strip() == 'relname="orders"'


def test_names_cannot_steer_the_terminal() -> None:
    text = describe({"alerts": [alert(relname="\x1b[2J\nFIRING")]})
    assert "\x1b" not in text
    assert 'relname="\\u001b[2J\\nFIRING"' in text
