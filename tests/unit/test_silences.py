"""Acknowledgements as silences: what their comments say, whom they fit, and when they end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.relay.acknowledging.covering import Covering
from plimsoll.relay.acknowledging.silences import (
    covers,
    is_acknowledgement,
    is_ours,
    limit_of,
    make,
    matchers_for,
    owner,
    words,
)
from plimsoll.relay.sources.alertmanager import Silence, SilenceMatcher, merged

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY = 86400.0
LABELS = {"alertname": "Full", "severity": "high", "override": "{a}", "server": "main", "empty": ""}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def commented(comment: str, **changes: object) -> Silence:
    """Give a silence of somebody's that began now."""
    silence = make([], by="ann", text="", now=NOW, period=900, limit=NOW + timedelta(days=3))
    return replace(silence, comment=comment, **changes)  # type: ignore[arg-type]


@given(TEXTS)
def test_words_are_what_the_person_wrote_whatever_that_looks_like(text: str) -> None:
    for written in (text, f"{text} [plimsoll]", f"ACK! {text}[plimsoll, until 2026-11-21T10:00:00Z]"):
        silence = make(
            matchers_for(LABELS), by="ann", text=written, now=NOW, period=9, limit=NOW + timedelta(hours=1)
        )
        assert words(silence.comment) == written.strip()
        assert is_acknowledgement(silence)
        assert is_ours(silence)
        assert limit_of(silence, DAY) == NOW + timedelta(hours=1)


def test_a_comment_says_who_made_it_and_until_when() -> None:
    silence = make(
        matchers_for(LABELS), by="ann", text="on it", now=NOW, period=900, limit=NOW + timedelta(days=3)
    )

    assert silence.comment == "ACK! on it [plimsoll, until 2026-11-24T10:00:00Z]"
    assert silence.created_by == "ann"
    assert (silence.starts_at, silence.ends_at) == (NOW, NOW + timedelta(minutes=15))


@pytest.mark.parametrize(
    ("comment", "text", "ours", "limit"),
    [
        ("ACK! mine [plimsoll]", "mine", True, NOW + timedelta(days=1)),
        ("ACK! [plimsoll]", "", True, NOW + timedelta(days=1)),
        ("ACK!", "", False, NOW + timedelta(days=1)),
        ("ACK! by karma", "by karma", False, NOW + timedelta(days=1)),
        ("ACK! a\nb [plimsoll] c", "a\nb [plimsoll] c", False, NOW + timedelta(days=1)),
        ("ACK! x [plimsoll, until 2026-11-22T09:00:00Z]", "x", True, NOW + timedelta(hours=23)),
        (
            "ACK! x [plimsoll, until 2026-13-99T09:00:00Z]",
            "x [plimsoll, until 2026-13-99T09:00:00Z]",
            False,
            NOW + timedelta(days=1),
        ),
        ("ACK! nul \0 half \ud800", "nul \ufffd half \ufffd", False, NOW + timedelta(days=1)),
    ],
)
def test_comments_of_all_kinds(comment: str, text: str, ours: bool, limit: datetime) -> None:
    silence = commented(comment)

    assert is_acknowledgement(silence)
    assert words(comment) == text
    assert is_ours(silence) == ours
    assert limit_of(silence, DAY) == limit


@pytest.mark.parametrize("comment", ["", "planned work", "ack! no", " ACK! no", "planned [plimsoll]"])
def test_a_plain_silence_acknowledges_nothing(comment: str) -> None:
    assert not is_acknowledgement(commented(comment))
    assert not is_ours(commented(comment))


def test_the_end_that_somebody_chose_is_not_beyond_the_limit() -> None:
    ends_at = NOW + timedelta(days=5)

    assert limit_of(commented("ACK! long", ends_at=ends_at), DAY) == ends_at
    assert limit_of(commented("ACK! [plimsoll, until 2026-11-22T10:00:00Z]", ends_at=ends_at), DAY) == ends_at


def test_a_limit_is_in_whole_seconds_and_bounds_the_first_period() -> None:
    limit = NOW + timedelta(seconds=90, microseconds=1)
    silence = make([], by="ann", text="", now=NOW, period=900, limit=limit)

    assert silence.ends_at == NOW + timedelta(seconds=91) == limit_of(silence, 1)


def test_a_limit_is_not_later_than_the_last_moment() -> None:
    last = datetime(9999, 12, 31, tzinfo=UTC)

    assert limit_of(commented("ACK!", starts_at=last, ends_at=last), DAY) == last


def test_matchers_fit_the_alert_at_any_severity() -> None:
    silence = make(matchers_for(LABELS), by="ann", text="", now=NOW, period=900, limit=NOW)

    assert set(silence.matchers) == {SilenceMatcher("alertname", "Full"), SilenceMatcher("server", "main")}
    assert covers(silence, {**LABELS, "severity": "critical", "override": "", "more": "x"})
    assert not covers(silence, {**LABELS, "server": "other"})
    assert not covers(silence, {"alertname": "Full"})


def test_matchers_are_never_none_at_all() -> None:
    assert matchers_for({"severity": "high"}) == (SilenceMatcher("severity", "high"),)
    assert not covers(commented("ACK!", matchers=()), LABELS)


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        (SilenceMatcher("server", "ma.*", is_regex=True), True),
        (SilenceMatcher("server", "ma", is_regex=True), False),
        (SilenceMatcher("server", "ma", is_regex=True, is_equal=False), True),
        (SilenceMatcher("server", "main", is_equal=False), False),
        (SilenceMatcher("absent", ""), True),
        (SilenceMatcher("absent", "", is_equal=False), False),
        (SilenceMatcher("not.prom-QL's", "x|", is_regex=True), True),
        (SilenceMatcher("server", "(", is_regex=True), False),
        (SilenceMatcher("server", "(", is_regex=True, is_equal=False), False),
    ],
)
def test_matchers_of_others_are_read_as_alertmanager_does(matcher: SilenceMatcher, fits: bool) -> None:
    assert covers(commented("ACK!", matchers=(matcher,)), LABELS) == fits


NAMES, VALUES = st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "x", "y"])
MATCHERS = st.builds(
    SilenceMatcher,
    NAMES,
    st.sampled_from(["", "x", "x|y", ".+"]),
    is_regex=st.booleans(),
    is_equal=st.booleans(),
)


@given(st.lists(st.lists(MATCHERS, max_size=3), max_size=8), st.dictionaries(NAMES, VALUES))
def test_all_that_fit_are_found_among_many(
    matchers: list[list[SilenceMatcher]], labels: dict[str, str]
) -> None:
    silences = [commented("ACK!", id=str(n), matchers=tuple(each)) for n, each in enumerate(matchers)]

    found = {silence.id for silence in Covering(silences).of(labels)}

    assert found == {silence.id for silence in silences if covers(silence, labels)}


def test_the_state_that_was_set_last_counts() -> None:
    old = commented("ACK!", id="1")
    new = replace(old, updated_at=NOW + timedelta(seconds=1), state="expired")
    other = replace(old, id="2")

    assert merged([[old], [new, other]]) == merged([[new], [old], [other]]) == {"1": new, "2": other}


def test_a_name_holds_nothing_that_no_database_keeps() -> None:
    assert owner(commented("ACK!", created_by=" a\0n ")) == "a\ufffdn"
