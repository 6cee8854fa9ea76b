"""Tables of the benches: how they are written, and that the text around them in the page stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import reporting
from bench.probing import Asked, rows
from bench.reporting import Row, Table, percentile, quotient

TABLE = Table(
    "Of some scrapes:",
    ("ours", "theirs"),
    [
        Row("latency", (12.345, 1234.5), "ms", quotient(1234.5, 12.345)),
        Row("samples", (60_031, 7)),
        Row("requests", (None, 0.0)),
    ],
    "theirs : ours",
)
WRITTEN = """\
Of some scrapes:

|             |   ours | theirs | theirs : ours |
| ----------- | -----: | -----: | ------------: |
| latency, ms |   12.3 |  1,234 |           100 |
| samples     | 60,031 |      7 |               |
| requests    |        |   0.00 |               |
"""

Report = Callable[..., str]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Give a function that reports for a bench and gives the page then; it may be begun with a text."""
    page = tmp_path / "performance.md"
    monkeypatch.setattr(reporting, "PAGE", page)

    def reported(bench: str, caption: str, begin_with: str | None = None) -> str:
        if begin_with is not None:
            page.write_text(begin_with)
        reporting.report(bench, bench.title(), [Table(caption, (), [])], {"PostgreSQL": "18.4"})
        return page.read_text()

    return reported


def test_a_table_can_be_read_as_it_is() -> None:
    assert TABLE.text() == WRITTEN


def test_a_report_replaces_its_own_section_only(report: Report) -> None:
    report("tables", "first", "# By hand\n")
    report("idle", "other")
    former = report("tables", "first")
    page = report("tables", "second")
    assert page == former.replace("first", "second")
    assert page.startswith("# By hand\n")
    assert page.index("## Tables") < page.index("second") < page.index("## Idle") < page.index("other")
    assert "PostgreSQL 18.4" in page


def test_text_around_a_section_stays(report: Report) -> None:
    page = report("idle", "new", "Before.\n<!-- bench: idle -->old<!-- end of bench: idle -->\nAfter.\n")
    assert page.startswith("Before.\n")
    assert page.endswith("\nAfter.\n")
    assert "new" in page
    assert "old" not in page


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (90, 9), (99, 10), (100, 10)])
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([*range(10, 0, -1)], percent) == expected


def test_the_longest_answer_is_told_with_and_without_what_the_host_stole() -> None:
    asked = [Asked(0.0, 0.002, 0.0, 0.0), Asked(0.005, 0.08, 0.06, 0.07), Asked(0.09, 0.004, 0.0, 0.0)]

    figures = {row.name: list(row.figures) for row in rows(asked)}

    assert figures["health check meanwhile, longest"] == [80]
    assert figures["health check meanwhile, longest while the host stole no time"] == [4]
    assert figures["control: health checks while it stole time"] == pytest.approx([100 / 3])
