"""Durations are read as Prometheus reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.config.fields import parse_duration

UNITS = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (0, 0),
        ("0s", 0),
        ("5ms", 0.005),
        ("5m", 300),
        ("90s", 90),
        ("1h30m", 5400),
        ("1d12h", 129600),
        ("2w", 1209600),
        ("1y", 31536000),
        ("1m500ms", 60.5),
        (" 10s ", 10),
    ],
)
def test_a_duration_gives_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10**6), min_size=1))
def test_each_unit_may_stand_once_in_falling_order(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)

    assert parse_duration(text) == pytest.approx(sum(number * UNITS[unit] for unit, number in parts.items()))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "''"),
        ("5", "'5'"),
        (5, "5"),
        (1.5, "1.5"),
        ("-5s", "'-5s'"),
        ("+5s", "'+5s'"),
        ("1.5h", "'1.5h'"),
        ("5 s", "'5 s'"),
        ("5S", "'5S'"),
        ("s", "'s'"),
        ("30m1h", "'30m1h'"),
        ("1s1s", "'1s1s'"),
        ("1h\n30m", r"'1h\n30m'"),
        ("٣s", "'٣s'"),
        ("inf", "'inf'"),
        (True, "true or false"),
        (False, "true or false"),
        (None, "empty"),
        (["5s"], "a list"),
        ({"s": 5}, "a mapping"),
    ],
)
def test_anything_else_is_refused(value: object, shown: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_duration(value)
    assert str(refused.value) == f"must be a duration such as 30s, 5m or 1h30m, is {shown}"
