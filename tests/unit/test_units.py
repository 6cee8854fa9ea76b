"""Thresholds are read in the unit of their signal, and told with it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.alerts.units import UNITS, duration, number
from plimsoll.config.fields import parse_duration


@pytest.mark.parametrize(
    ("unit", "written", "meant"),
    [
        ("percent", 30, 30),
        ("percent", 12.5, 12.5),
        ("percent", "30", 30),
        ("percent", "30 %", 30),
        ("percent", "30%", 30),
        ("percent", -5, -5),
        ("bytes", 1024, 1024),
        ("bytes", "50GiB", 50 * 1024**3),
        ("bytes", "1.5 GiB", 1.5 * 1024**3),
        ("bytes", "500MB", 500_000_000),
        ("bytes", "8kB", 8000),
        ("bytes", "12B", 12),
        ("seconds", 90, 90),
        ("seconds", "2h", 7200),
        ("seconds", "1h30m", 5400),
        ("seconds", "0", 0),
        ("hours", 24, 24),
        ("hours", "2d", 48),
        ("hours", "90m", 1.5),
        ("hours", "36 hours", 36),
        ("dollars", 5, 5),
        ("dollars", "$5", 5),
        ("dollars", "5 $", 5),
        ("dollars", "7.5 USD", 7.5),
        ("count", 3, 3),
        ("count", "0.5", 0.5),
        ("count", "1e3", 1000),
    ],
)
def test_what_may_be_written(unit: str, written: object, meant: float) -> None:
    assert UNITS[unit].parse(written) == meant


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("percent", "30GiB"),
        ("percent", "30 percent of it"),
        ("percent", True),
        ("percent", None),
        ("percent", [30]),
        ("percent", float("nan")),
        ("percent", float("inf")),
        ("bytes", "50 %"),
        ("bytes", "50G"),
        ("bytes", "50gib"),
        ("bytes", "many"),
        ("seconds", "2 hours"),
        ("seconds", "-2h"),
        ("hours", "24GiB"),
        ("dollars", "$5 USD"),
        ("dollars", "5€"),
        ("dollars", "$"),
        ("count", "3 restarts"),
        ("count", ""),
    ],
)
def test_what_may_not(unit: str, written: object) -> None:
    with pytest.raises(ValueError, match=f"^must be {re.escape(UNITS[unit].examples)}, is "):
        UNITS[unit].parse(written)


@pytest.mark.parametrize(
    ("unit", "value", "told"),
    [
        ("percent", 20.0, "20 %"),
        ("percent", 12.5, "12.5 %"),
        ("bytes", 50 * 1024.0**3, "50GiB"),
        ("bytes", 1536 * 1024.0**2, "1536MiB"),
        ("bytes", 1001.0, "1001B"),
        ("bytes", 500e6, "500MB"),
        ("bytes", 0.0, "0B"),
        ("seconds", 7200.0, "2h"),
        ("seconds", 0.0, "0s"),
        ("seconds", -90.0, "-1m30s"),
        ("hours", 24.0, "24 hours"),
        ("hours", 1 / 3, "0.33 hours"),
        ("dollars", 5.0, "$5"),
        ("count", 3.0, "3"),
    ],
)
def test_how_a_threshold_is_told(unit: str, value: float, told: str) -> None:
    assert UNITS[unit].show(value) == told


@pytest.mark.parametrize("unit", sorted(UNITS.keys() - {"seconds", "hours"}))
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_told_can_be_read(unit: str, value: float) -> None:
    assert UNITS[unit].parse(UNITS[unit].show(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_and_has_no_exponent(value: float) -> None:
    assert float(number(value)) == value
    assert "e" not in number(value)


@given(st.integers(0, 10**10))
def test_a_duration_is_read_as_it_was(milliseconds: int) -> None:
    assert parse_duration(duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
