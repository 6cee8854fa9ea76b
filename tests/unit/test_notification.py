"""What Alertmanager posts, and the identity that a notification has."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.relay.notification import Notification, another_id, read, webhook_id
from plimsoll.relay.times import read_time

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
REPEAT = 4 * 3600.0


def alert(fingerprint: Any = "a1", **changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "DatabaseGrowthHigh", "datname": "größer"},
        "annotations": {"summary": "It grew"},
        "startsAt": "2026-03-01T12:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint,
        **changes,
    }


def body(*alerts: Any, **changes: Any) -> bytes:
    """Give a payload of Alertmanager 0.25 with a field that nobody knows."""
    payload = {
        "receiver": "ops",
        "status": "firing",
        "alerts": alerts or [alert()],
        "groupLabels": {"alertname": "DatabaseGrowthHigh"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="DatabaseGrowthHigh"}',
        "truncatedAlerts": 0,
        "grownLater": [{"deep": 1e400}],
        **changes,
    }
    return json.dumps(payload).encode()


# --- reading ------------------------------------------------------------------------------------------------


def test_what_fires() -> None:
    notification = read(body(truncatedAlerts=7))

    assert notification.receiver == "ops"
    assert notification.group_key == '{}:{alertname="DatabaseGrowthHigh"}'
    assert notification.external_url == "http://alertmanager:9093"
    assert notification.truncated == 7
    (told,) = notification.alerts
    assert (told.status, told.ends_at) == ("firing", None)
    assert told.alert.labels == {"alertname": "DatabaseGrowthHigh", "datname": "größer"}
    assert told.alert.annotations == {"summary": "It grew"}
    assert told.alert.fingerprint == "a1"
    assert told.alert.starts_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_what_is_resolved() -> None:
    resolved = alert(status="resolved", endsAt="2026-03-01T15:30:00+02:00", annotations=None)

    (told,) = read(body(resolved)).alerts

    assert (told.status, told.ends_at) == ("resolved", datetime(2026, 3, 1, 13, 30, tzinfo=UTC))
    assert told.alert.annotations == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is not JSON"),
        (b"hello", "it is not JSON"),
        (b"\xef\xbb\xbf{}", "it is not JSON"),
        (b'{"receiver": "\xff"}', "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 100_000, "it is nested too deeply"),
        (b"[" + b"0," * 1_000_001 + b"0]", "it has more than 1000000 values"),
        (b"[]", "it must be a mapping"),
        (b"NaN", "it must be a mapping"),
        (b"9" * 10_000, "it must be a mapping"),
        (b"{}", "alerts must be a list with at least one entry"),
        (b'{"alerts": []}', "alerts must be a list with at least one entry"),
        (b'{"alerts": {}}', "alerts must be a list with at least one entry"),
        (body(receiver=None), "receiver must be text"),
        (body(groupKey=5), "groupKey must be text"),
        (body(5), "alerts[0] must be a mapping"),
        (body(alert(), alert(status="pending")), "alerts[1].status must be firing or resolved"),
        (body(alert(status=["firing"])), "alerts[0].status must be firing or resolved"),
        (body(alert(labels=None)), "alerts[0].labels must be a mapping"),
        (body(alert(labels={"a": 1})), "alerts[0].labels must be a mapping of text to text"),
        (body(alert(labels={"a": "\ud800"})), "alerts[0].labels must be a mapping of text to text"),
        (body(alert(annotations=["a"])), "alerts[0].annotations must be a mapping"),
        (body(alert(fingerprint=None)), "alerts[0].fingerprint must be text"),
        (body(alert(startsAt=None)), "alerts[0].startsAt must be text"),
        (body(alert(startsAt="yesterday")), "alerts[0].startsAt is no time as in RFC 3339"),
        (body(alert(startsAt="2026-W10-1")), "alerts[0].startsAt is no time as in RFC 3339"),
        (body(alert(startsAt="2026-02-30T00:00:00Z")), "alerts[0].startsAt is a time that does not exist"),
        (
            body(alert(startsAt="0001-01-01T00:00:00+05:00")),
            "alerts[0].startsAt is a time that does not exist",
        ),
        (body(alert(status="resolved")), "alerts[0].endsAt must be a time, for it is resolved"),
        (body(alert(status="resolved", endsAt="")), "alerts[0].endsAt is no time as in RFC 3339"),
    ],
)
def test_what_is_no_notification(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(text)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    "oddity", ['"version": NaN', '"truncatedAlerts": ' + "9" * 10_000, '"receiver": "x", "receiver": "ops"']
)
def test_odd_json_does_no_harm(oddity: str) -> None:
    assert read(body().replace(b"{", b"{" + oddity.encode() + b",", 1)).receiver == "ops"


@pytest.mark.parametrize("odd", [None, "many", 1.5, [1], 10**18])
def test_an_odd_number_of_alerts_left_out_is_none(odd: Any) -> None:
    assert read(body(truncatedAlerts=odd, externalURL=odd)).truncated == 0


@given(st.binary())
def test_bytes_are_refused_in_words(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(it|alerts) (is|must)"):
        read(noise)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_an_alert_of_any_shape_is_refused_in_words(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^alerts\[0\]"):
        read(body(value))


@given(st.datetimes(min_value=START.replace(year=1900, tzinfo=None), timezones=st.just(UTC)))
def test_times_are_read_to_the_microsecond(at: datetime) -> None:
    assert read_time(at.isoformat().replace("+00:00", "999Z" if at.microsecond else "Z")) == at


def test_ten_thousand_alerts_are_read_soon() -> None:
    many = [
        alert(f"{number:016x}", labels={f"label{n}": f"{number}-{n}" for n in range(20)})
        for number in range(10_000)
    ]
    text = body(*many)
    began = time.process_time()

    notification = read(text)
    webhook_id("ops", notification, REPEAT, START)

    assert len(notification.alerts) == 10_000
    assert time.process_time() - began < 4


# --- the identity -------------------------------------------------------------------------------------------


def told(*alerts: dict[str, Any], **changes: Any) -> Notification:
    return read(body(*alerts, **changes))


A, B = alert("a1", startsAt="2026-03-01T12:00:00Z"), alert("b2", startsAt="2026-03-01T12:30:00Z")
A_RESOLVED = {**A, "status": "resolved", "endsAt": "2026-03-01T13:00:00Z"}


def identity(notification: Notification, after: timedelta, receiver: str = "ops") -> str:
    return webhook_id(receiver, notification, REPEAT, START + after)


def test_a_later_release_has_to_give_the_same() -> None:
    """Else whoever updates the relay while Alertmanager retries is told twice."""
    state = '["a1","firing","2026-03-01T12:00:00+00:00"]'
    content = f'["ops","{{}}:{{alertname=\\"DatabaseGrowthHigh\\"}}",[{state}],0,0.0]'

    first = "msg_" + hashlib.sha256(content.encode()).hexdigest()[:32]
    assert identity(told(A), HOUR) == first
    content = f'["{first}","msg_b"]'
    assert another_id(first, "msg_b") == "msg_" + hashlib.sha256(content.encode()).hexdigest()[:32]


def test_a_retry_and_another_alertmanagers_copy_have_the_same() -> None:
    first = identity(told(A, B), HOUR)

    assert identity(told(A, B), HOUR + timedelta(seconds=20)) == first
    copy = told(B, {**A, "annotations": {"summary": "Other words"}}, externalURL="http://other:9093")
    assert identity(copy, HOUR + timedelta(seconds=15)) == first
    # one that writes times in a zone of its own
    assert identity(told({**A, "startsAt": "2026-03-01T14:00:00+02:00"}, B), HOUR) == first


def test_before_its_start_by_a_slow_clock_it_is_the_first() -> None:
    assert identity(told(A), -HOUR) == identity(told(A), HOUR)


@given(first=st.integers(0, 10**6), late=st.integers(0, 600), number=st.integers(1, 50))
def test_each_reminder_has_another(first: int, late: int, number: int) -> None:
    sent = [timedelta(seconds=first + turn * (REPEAT + late)) for turn in range(number)]

    assert len({identity(told(A), after) for after in sent}) == number


@pytest.mark.parametrize(
    "other",
    [
        told(B),
        told(A, B),
        told(A_RESOLVED),
        told({**A, "startsAt": "2026-03-01T12:00:01Z"}),
        told({**A, "fingerprint": "c3"}),
        told(A, groupKey="other"),
        told(A, truncatedAlerts=50),
    ],
)
def test_another_notification_has_another(other: Notification) -> None:
    assert identity(other, HOUR) != identity(told(A), HOUR)


def test_another_receiver_has_another() -> None:
    assert identity(told(A), HOUR, "dba") != identity(told(A), HOUR)


def test_another_interval_that_is_assumed_means_other_reminders() -> None:
    by_the_hour = webhook_id("ops", told(A), 3600.0, START + 2.1 * HOUR)

    assert by_the_hour != webhook_id("ops", told(A), 12 * 3600.0, START + 25 * HOUR)
    assert webhook_id("ops", told(A), 3600.0, START) == webhook_id("ops", told(A), REPEAT, START)


def test_reminders_are_counted_from_the_latest_event() -> None:
    resolved_meanwhile = told(A_RESOLVED, B)

    assert identity(resolved_meanwhile, 4.9 * HOUR) == identity(resolved_meanwhile, HOUR)
    assert identity(resolved_meanwhile, 5.1 * HOUR) != identity(resolved_meanwhile, HOUR)
