"""Times as Go writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.relay.times import after, read_time, rfc3339

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
LAST = datetime(9999, 12, 31, tzinfo=UTC)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(*(NOW.replace(year=year, tzinfo=None) for year in (2, 9998)), timezones=ZONES))
def test_what_is_written_is_read(at: datetime) -> None:
    assert rfc3339(at).endswith("Z")
    assert read_time(rfc3339(at)) == read_time(at.isoformat()) == at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-11-21T10:00:00", "is no time as in RFC 3339"),
        ("2026-11-21 10:00:00Z", "is no time as in RFC 3339"),
        ("soon", "is no time as in RFC 3339"),
        ("2026-02-30T10:00:00Z", "is a time that does not exist"),
        ("0001-01-01T00:00:00+10:00", "is a time that does not exist"),
    ],
)
def test_what_is_no_time(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_time(text)


def test_nothing_is_later_than_the_last_moment() -> None:
    assert after(NOW, 90) == NOW + timedelta(seconds=90)
    assert after(NOW, 1e300) == after(LAST + timedelta(hours=1), 1) == LAST
