"""The invented past ends where the exporter's page begins, and says of alerts what the rules would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.demo.history import DAY, History, Sample, samples_of, shipped_rule

MIB = 1024**2
TABLE = 'server="main",datname="shop",schemaname="public",relname="orders"'
TARGET = {"instance": "127.0.0.1:9745", "job": "plimsoll"}


def page(size: int) -> str:
    return f"""\
# TYPE pg_stat_user_tables_size_bytes gauge
pg_stat_user_tables_size_bytes{{{TABLE}}} {size}
pg_stat_user_tables_size_bytes{{server="main",datname="other",schemaname="public",relname="orders"}} {size}
pg_up{{server="main"}} 1
"""


def lines_of(history: History, directory: Path) -> list[list[str]]:
    """Give series, value and time of all that a history holds, by way of a promtool that only succeeds."""
    history.write(Path("true"), directory / "history", directory / "data")
    lines = (directory / "history").read_text().splitlines()
    assert lines.pop() == "# EOF"
    return [line.rsplit(" ", 2) for line in lines]


def of(name: str, lines: list[list[str]]) -> list[list[str]]:
    return [line for line in lines if line[0].partition("{")[0] == name]


def test_samples_are_taken_off_a_page_with_their_labels_as_they_are() -> None:
    odd = 'relname="a {b} \\"c\\" \\\\ d\\n\u2028 1"'
    assert samples_of(f"# HELP x y\nx{{{odd}}} 1.5e+09\nplain 2\n") == [
        Sample("x", odd, 1.5e9),
        Sample("plain", "", 2),
    ]


def test_sizes_end_at_what_was_measured_and_were_whole_pages_before(tmp_path: Path) -> None:
    history = History(step=3600)
    history.add_sizes(page(200 * MIB), "shop", lambda age: 1 - age / DAY / 7, scraped_by=TARGET)
    raw = of("pg_stat_user_tables_size_bytes", lines_of(history, tmp_path))
    assert len(raw) == 49
    assert {series for series, *_ in raw} == {
        f'pg_stat_user_tables_size_bytes{{{TABLE},instance="127.0.0.1:9745",job="plimsoll"}}'
    }
    assert float(raw[-1][1]) == 200 * MIB
    assert all(int(value) % 8192 == 0 for _, value, _ in raw[:-1])
    assert [float(at) for *_, at in raw] == pytest.approx(
        [history.now - 3600 * age for age in range(48, -1, -1)]
    )


@pytest.mark.parametrize(
    ("size", "yesterday", "signals", "alert"),
    [
        (200 * MIB, 0.5, 25, True),
        (200 * MIB, 0.9, 25, False),  # it grew, but not by a fifth
        (90 * MIB, 0.5, 0, False),  # it is below the floor
    ],
)
def test_an_alert_is_active_where_its_rule_says_so(
    size: int, yesterday: float, signals: int, alert: bool, tmp_path: Path
) -> None:
    history = History(step=3600)
    shape = lambda age: 1.0 if age < DAY - 3600 * 4.5 else yesterday  # noqa: E731
    history.add_sizes(page(size), "shop", shape, scraped_by=TARGET)
    lines = lines_of(history, tmp_path)
    rule = shipped_rule("TableGrowthHigh")
    assert len(of(rule.signal, lines)) == signals
    states = of("ALERTS_FOR_STATE", lines)
    assert bool(states) == alert
    for series, since, _ in states:
        assert f'{{alertname="TableGrowthHigh",severity="warning",category="storage",{TABLE}}}' in series
        assert float(since) == pytest.approx(history.now - 19 * 3600)
