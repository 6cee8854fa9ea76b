"""Variables and macros are filled in as Grafana does, by cases taken from its own behaviour."""

from __future__ import annotations

import pytest

from dashboards import Kind
from interpolation import Choice, LeftInQueryError, Period, fill, moment, round_interval, seconds_of

HOUR = Period(1_800_000_000, 1_800_003_600, 60, 15)


def filled(text: str, kind: Kind = "prometheus", **choices: Choice) -> str:
    return fill(text, kind, choices, HOUR)


def several(*values: str) -> Choice:
    return Choice(values, multi=True)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (several("a"), "a"),
        (several("a", "b"), "(a|b)"),
        (several("a.b", "c"), r"(a\\.b|c)"),
        (several("a\\b"), r"a\\\\b"),
        (Choice(("a.b",)), "a.b"),
        (Choice(("a\\b",)), r"a\\b"),
        (Choice(("a", "b"), multi=True, raw=".*"), ".*"),
    ],
)
@pytest.mark.parametrize("written", ["$server", "${server}", "[[server]]"])
def test_values_in_promql(choice: Choice, wanted: str, written: str) -> None:
    assert filled(f'up{{server=~"{written}"}}', server=choice) == f'up{{server=~"{wanted}"}}'


@pytest.mark.parametrize(
    ("format_", "wanted"),
    [
        ("raw", "a'b,c.d"),
        ("csv", "a'b,c.d"),
        ("pipe", "a'b|c.d"),
        ("regex", r"(a'b|c\.d)"),
        ("sqlstring", "'a''b','c.d'"),
        ("singlequote", r"'a\'b','c.d'"),
        ("doublequote", '"a\'b","c.d"'),
        ("json", '["a\'b", "c.d"]'),
        ("percentencode", "%7Ba%27b%2Cc.d%7D"),
    ],
)
def test_formats(format_: str, wanted: str) -> None:
    assert filled(f"${{x:{format_}}}", x=several("a'b", "c.d")) == wanted


def test_what_stands_for_all_is_not_formatted() -> None:
    """So it cannot stand in a list of SQL."""
    everything = Choice(("a", "b"), multi=True, raw=".*")
    assert filled("x IN (${x:sqlstring})", "sql", x=everything) == "x IN (.*)"
    assert filled("x IN (${x:sqlstring})", "sql", x=several("a", "b")) == "x IN ('a','b')"


def test_times_and_steps() -> None:
    assert filled("[$__interval] $__interval_ms") == "[60s] 60000"
    assert filled("[$__rate_interval]") == "[75s]"
    assert filled("[$__range] $__range_s $__range_ms") == "[3600s] 3600 3600000"
    assert filled("$__from ${__to}") == "1800000000000 1800003600000"
    assert filled("${__from:date:iso} ${__to:date:seconds}") == "2027-01-15T08:00:00.000Z 1800003600"


def test_the_rate_interval_covers_four_scrapes() -> None:
    assert fill("[$__rate_interval]", "prometheus", {}, Period(0, 60, 15, 15)) == "[60s]"


@pytest.mark.parametrize(
    ("macro", "wanted"),
    [
        ("$__timeFilter(at)", "at BETWEEN '2027-01-15T08:00:00.000Z' AND '2027-01-15T09:00:00.000Z'"),
        ("$__timeFrom()::timestamptz", "'2027-01-15T08:00:00.000Z'::timestamptz"),
        ("$__timeTo()", "'2027-01-15T09:00:00.000Z'"),
        ("$__timeGroup(at, 1h)", "floor(extract(epoch from at)/3600)*3600"),
        ("$__timeGroup(at, '5m', 0)", "floor(extract(epoch from at)/300)*300"),
        ("$__timeGroup(at, $__interval)", "floor(extract(epoch from at)/60)*60"),
        ("$__timeGroupAlias(at, 1h)", 'floor(extract(epoch from at)/3600)*3600 AS "time"'),
        ("$__timeGroup(at, 1h), b", 'floor(extract(epoch from at)/3600)*3600 AS "time", b'),
        ("$__time(at)", 'at AS "time"'),
        ("$__unixEpochFilter(at)", "at >= 1800000000 AND at <= 1800003600"),
    ],
)
def test_macros_of_postgresql(macro: str, wanted: str) -> None:
    assert filled(f"SELECT {macro}", "sql") == f"SELECT {wanted}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('up{a="$server"}', "prometheus"),
        ("${server:regex}", "sql"),
        ("$__timeFilter(at)", "prometheus"),
        ("$__timeFiltre(at)", "sql"),
        ("$__rate", "prometheus"),
        ("${x:sqlstrin}", "sql"),
        ("x = $x", "sql"),  # which versions write differently
    ],
)
def test_what_would_stay_is_refused(text: str, kind: Kind) -> None:
    with pytest.raises(LeftInQueryError):
        filled(text, kind, x=several("a"))


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0.001, 0.001), (3.6, 5), (14, 15), (21.6, 20), (86.4, 60), (604.8, 600), (7776, 7200), (1e9, 2592000)],
)
def test_steps_are_rounded(seconds: float, wanted: float) -> None:
    assert round_interval(seconds) == wanted


def test_a_panel_has_a_least_step() -> None:
    assert Period.of_panel(0, 3600).step == 15
    assert Period.of_panel(0, 86400).step == 60
    assert Period.of_panel(0, 3600, least=60).step == 60


def test_moments_are_relative() -> None:
    assert moment("now", 100.0) == 100
    assert moment("now-1m", 100.0) == 40
    assert seconds_of(">5m") == 300
    with pytest.raises(AssertionError):
        moment("2026-01-01", 100.0)
