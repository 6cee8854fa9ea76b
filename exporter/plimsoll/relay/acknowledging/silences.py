"""Silences that acknowledge: their comment begins with ACK!, and that of ours ends with a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from plimsoll.alerts.matchers import Matcher
from plimsoll.relay.alert import CHANGING_LABELS
from plimsoll.relay.sources.alertmanager import Silence, SilenceMatcher
from plimsoll.relay.times import after, read_time, rfc3339

PREFIX = "ACK!"
"""The convention of karma, an alert dashboard."""

_MARK = re.compile(r"\s*\[plimsoll(?:, until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))?\]\Z")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""Alertmanager does not keep halves of a surrogate pair, nor PostgreSQL a NUL."""


def is_acknowledgement(silence: Silence) -> bool:
    """Say whether a silence acknowledges what it silences."""
    return silence.comment.startswith(PREFIX)


def is_ours(silence: Silence) -> bool:
    """Say whether `plimsoll ack` or a relay made this acknowledgement, so that the relay also ends it."""
    return is_acknowledgement(silence) and _mark(silence.comment) is not None


def limit_of(silence: Silence, default: float) -> datetime:
    """Say when an acknowledgement ends even if the alert still fires.

    That is what its mark says, else `default` seconds after its start; never before its end, which somebody
    may have chosen.
    """
    limit = _marked_limit(silence.comment) or after(silence.starts_at, default)
    return max(limit, silence.ends_at)


def words(comment: str) -> str:
    """Give what the person wrote: the comment of an acknowledgement without ACK! and our mark."""
    text = comment.removeprefix(PREFIX)
    mark = _mark(text)
    return _clean(text[: mark.start()] if mark else text)


def owner(silence: Silence) -> str:
    """Give who made it."""
    return _clean(silence.created_by)


def matchers_for(labels: Mapping[str, str]) -> tuple[SilenceMatcher, ...]:
    """Give the matchers that fit an alert as long as it fires: all its labels but those that may change."""
    given = {name: value for name, value in labels.items() if value}
    lasting = {name: value for name, value in given.items() if name not in CHANGING_LABELS}
    return tuple(SilenceMatcher(name, value) for name, value in sorted((lasting or given).items()))


def make(
    matchers: Iterable[SilenceMatcher], *, by: str, text: str, now: datetime, period: float, limit: datetime
) -> Silence:
    """Make an acknowledgement of ours.

    Args:
        matchers: what it silences; see `matchers_for`.
        by: who acknowledges.
        text: what they say.
        now: when it begins.
        period: seconds until it ends, unless it is prolonged.
        limit: when it ends at the latest; counted in whole seconds, rounded up.
    """
    whole = limit.astimezone(UTC).replace(microsecond=0)
    whole = whole + timedelta(seconds=1) if whole < limit else whole
    mark = f"[plimsoll, until {rfc3339(whole)}]"
    return Silence(
        id="",
        matchers=tuple(matchers),
        starts_at=now,
        ends_at=min(after(now, period), whole),
        updated_at=now,
        created_by=_clean(by),
        comment=" ".join(filter(None, (PREFIX, _clean(text), mark))),
        state="active",
    )


def until(silence: Silence, ends_at: datetime) -> Silence:
    """Give the same silence with another end."""
    return replace(silence, ends_at=ends_at)


def covers(silence: Silence, labels: Mapping[str, str]) -> bool:
    """Say whether a silence certainly fits labels."""
    matchers = silence.matchers
    return bool(matchers) and all(_fits(matcher, labels.get(matcher.name, "")) for matcher in matchers)


def _fits(matcher: SilenceMatcher, value: str) -> bool:
    if not matcher.is_regex:
        return (value == matcher.value) == matcher.is_equal
    expression = _expression(matcher.value, matcher.is_equal)
    return expression is not None and expression.surely(value) is True


@lru_cache(maxsize=4096)
def _expression(text: str, is_equal: bool) -> Matcher | None:
    """Read a regular expression; the label's name may be one that PromQL does not know, so it is left out."""
    try:
        return Matcher("value", "=~" if is_equal else "!~", text)
    except ValueError:
        return None


def _mark(comment: str) -> re.Match[str] | None:
    """Find our mark at the end; whatever looks like it before that is the person's."""
    mark = _MARK.search(comment)
    return None if mark and mark[1] and _read(mark[1]) is None else mark


def _marked_limit(comment: str) -> datetime | None:
    mark = _MARK.search(comment)
    return _read(mark[1]) if mark and mark[1] else None


def _read(text: str) -> datetime | None:
    try:
        return read_time(text)
    except ValueError:
        return None


def _clean(text: str) -> str:
    return _NO_TEXT.sub("\ufffd", text).strip()
