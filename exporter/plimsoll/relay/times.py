"""Times as text: RFC 3339, which is how Go writes them, and we do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def read_time(text: str) -> datetime:
    """Read a time, to the microsecond.

    Raises:
        ValueError: it is none, or has no zone.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("is no time as in RFC 3339")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is a time that does not exist") from None


def rfc3339(at: datetime) -> str:
    """Write a time, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def after(moment: datetime, seconds: float) -> datetime:
    """Give a later moment; the last that there is where nothing is so late."""
    left = (_LAST - moment).total_seconds()
    return _LAST if seconds >= left else moment + timedelta(seconds=seconds)
