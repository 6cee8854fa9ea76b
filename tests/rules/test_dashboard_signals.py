"""Which series the graphs of dashboards choose, as Prometheus evaluates it: those that were ever worst."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from plimsoll_dashboards.firing import firing_count
from plimsoll_dashboards.signals import beyond, ever_bad, highest, highest_now, lowest
from support import said_by

Expected = Mapping[int, float] | Mapping[None, float]
"""By number; without one, the only value."""

BY = "number"
SERIES = {number: f"{number}x120" for number in range(30)}
"""By number, values for two hours, one a minute."""
HOUR, FALLING = "x60 ", "0x59"


def test_highest_are_those_that_ever_were(tmp_path: Path) -> None:
    burst = {number: f"{100 + number}{HOUR}{FALLING}" for number in range(5)}
    chosen = {**dict.fromkeys(burst, 0), **{number: number for number in range(15, 30)}}
    check(tmp_path, highest("signal", BY), SERIES | burst, chosen)


def test_lowest_are_those_that_ever_were(tmp_path: Path) -> None:
    dip = {number: f"-1{HOUR}{number}x59" for number in range(25, 30)}
    check(tmp_path, lowest("signal", BY), SERIES | dip, {n: n for n in (*range(15), *range(25, 30))})


def test_what_began_a_moment_ago_is_chosen_too(tmp_path: Path) -> None:
    check(tmp_path, highest("signal", BY), {7: "_x119 1"}, {7: 1})


def test_ever_bad_is_what_was_not_one_at_some_time(tmp_path: Path) -> None:
    series = {1: "1x120", 2: f"1{HOUR}0x9 1x49", 3: "0x120", 4: "_x119 0", 5: "1x119 0"}
    check(tmp_path, ever_bad("signal", BY), series, {2: 1, 3: 0, 4: 0, 5: 0})


def test_beyond_counts_and_says_zero_where_there_are_series(tmp_path: Path) -> None:
    for threshold, count in ((26, 3), (29, 0)):
        check(tmp_path, beyond("signal", "Some"), SERIES, {None: count}, threshold)
    check(tmp_path, beyond("signal", "Some"), {}, {})


def test_beyond_says_nothing_where_the_alert_is_switched_off(tmp_path: Path) -> None:
    check(tmp_path, beyond("signal", "Off"), SERIES, {})


def test_beyond_counts_among_what_may_lack_the_signal(tmp_path: Path) -> None:
    check(tmp_path, beyond("signal > 100", "Some", "signal"), SERIES, {None: 0})


def test_highest_now_is_what_was_last_measured_within_an_hour(tmp_path: Path) -> None:
    series = {1: "1x120", 2: "2x120", 3: "3x90 _x30", 4: "4x30 _x90"}
    check(tmp_path, highest_now("signal", BY, 2), series, {2: 2}, name="")


def test_highest_now_is_one_series_for_each_of_its_labels(tmp_path: Path) -> None:
    doubled = highest_now('{__name__=~"signal|other"}', BY, 1)
    check(tmp_path, doubled, {1: "1x120", 2: "2x120"}, {2: 5}, others={2: "5x120"}, name="")


def test_alerts_are_counted_while_they_are_judged(tmp_path: Path) -> None:
    for judged, expected in (("signal", {None: 0}), ("nothing", {})):
        count = firing_count('alertname="Some"', judged).build().expr
        check(tmp_path, count, SERIES, expected)


def check(
    directory: Path,
    expression: str,
    series: Mapping[int, str],
    expected: Expected,
    threshold: float = 0,
    others: Mapping[int, str] | None = None,
    name: str = "signal",
) -> None:
    """Evaluate after two hours, as a graph of these two hours with a point every seven minutes does."""
    inputs = {f'signal{{number="{number}"}}': values for number, values in series.items()}
    inputs |= {f'other{{number="{number}"}}': values for number, values in (others or {}).items()}
    thresholds = {"": threshold, "{}": -1}
    inputs |= {
        f'plimsoll:alert_threshold{{alertname="Some",override="{override}"}}': f"{value}x120"
        for override, value in thresholds.items()
    }
    samples = [
        {"labels": f'{name}{{number="{number}"}}' if number is not None else "{}", "value": value}
        for number, value in expected.items()
    ]
    filled = expression.replace("$__range", "2h").replace("$__interval", "7m")
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in inputs.items()],
        "promql_expr_test": [{"expr": filled, "eval_time": "2h", "exp_samples": samples}],
    }
    file = directory / "test.yml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [case]}))
    assert "SUCCESS" in said_by("promtool", "test", "rules", file)
