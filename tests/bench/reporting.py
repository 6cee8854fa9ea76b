"""Tables of results: printed, and written into docs/performance.md between the markers of each bench."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_OPENING = "# Performance\n"


@dataclass(frozen=True)
class Row:
    """What was measured of each of the table's columns, None where there is nothing to measure."""

    name: str
    figures: Sequence[float | None]
    unit: str = ""
    ratio: float | None = None

    def cells(self, *, with_ratio: bool) -> list[str]:
        """Write the row's cells."""
        name = f"{self.name}, {self.unit}" if self.unit else self.name
        return [name, *map(_written, self.figures), *([_written(self.ratio)] if with_ratio else [])]


@dataclass(frozen=True)
class Table:
    """Some rows, with a sentence on what they are."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    ratio: str = ""
    """What the last column divides by what; empty for a table without ratios."""

    def text(self) -> str:
        """Write the table in Markdown, aligned so that it can be read as it is."""
        heads = ["", *self.columns, *([self.ratio] if self.ratio else [])]
        lines = [heads, *(row.cells(with_ratio=bool(self.ratio)) for row in self.rows)]
        widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
        ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        rows = [_line(cells, widths) for cells in (lines[0], ruler, *lines[1:])]
        return "\n".join([self.caption, "", *rows, ""])


def report(bench: str, title: str, tables: Sequence[Table], versions: Mapping[str, str]) -> None:
    """Print the tables, and put them into the bench's place in docs/performance.md."""
    text = "\n".join([f"{machine(versions)}\n", *(table.text() for table in tables)])
    print(f"\n{title}\n\n{text}", flush=True)
    former = PAGE.read_text("utf-8") if PAGE.exists() else _OPENING
    PAGE.write_text(_placed(former, bench, title, text), "utf-8")


def machine(versions: Mapping[str, str]) -> str:
    """Say when, on what and with what was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB of memory"
    software = {"Linux": platform.release(), "Python": platform.python_version(), **versions}
    listed = ", ".join(f"{name} {version}" for name, version in software.items())
    date, load = time.strftime("%Y-%m-%d", time.gmtime()), os.getloadavg()[2]
    return f"Measured on {date}: {hardware}, load {load:.1f} over the last 15 minutes; {listed}."


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the smallest of the values that is not exceeded by `percent` of them."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def quotient(over: float | None, under: float | None) -> float | None:
    """Divide, where there is something to divide by."""
    return over / under if over is not None and under else None


def _placed(page: str, bench: str, title: str, text: str) -> str:
    """Put the text between the markers, which are added at the end of a page that lacks them."""
    begin, end = f"<!-- bench: {bench} -->", f"<!-- end of bench: {bench} -->"
    section = f"{begin}\n\n{text}\n{end}"
    former = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if former.search(page):
        return former.sub(lambda _: section, page)
    return f"{page.rstrip()}\n\n## {title}\n\n{section}\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return " ".join(["|", first[0].ljust(first[1]), *(f"| {cell.rjust(width)}" for cell, width in rest), "|"])


def _written(figure: float | None) -> str:
    """Write what was counted in full, and three digits of what was measured, or all before the point."""
    if figure is None:
        return ""
    if isinstance(figure, int) or abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:#.3g}".rstrip(".")


def _processor() -> str:
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()
