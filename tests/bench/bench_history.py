"""What a day of history takes in Prometheus: series, samples a second, and bytes on disk.

    make bench

The series are those of a table and of the busiest container of the page that the tests compare with. promtool
makes the blocks of a day of them, such as Prometheus has when it has compacted that day. One table in a
hundred grows between two scrapes; of a container everything that is counted goes on. What rules record is not
in it.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench.reporting import Row, Table, report
from plimsoll import __version__
from plimsoll.demo.processes import workspace
from plimsoll.serve import table_series
from support import require_program

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.txt"
TABLES = int(os.environ.get("HISTORY_TABLES", "50"))
CONTAINERS = int(os.environ.get("HISTORY_CONTAINERS", "5"))
INTERVAL = 30
"""Seconds between scrapes, as rules/prometheus.yml has them."""
DAY = 86_400
BEGAN = 1_795_046_400
"""When the day begins, in seconds since the epoch; blocks begin at even hours."""
CHANGED = 0.01
"""The part of the tables that grow between two scrapes."""

OF_A_TABLE = tuple(family.name for family in table_series.FAMILIES if "pg_stat" in family.name)

Advance = Callable[[Sample, float, random.Random], float]
"""Gives the next value of a series."""


def main() -> None:
    """Measure, print, and write."""
    promtool = require_program("promtool")
    rows = [
        _row(promtool, name, count, _busiest(prefixes, labels), advance)
        for name, count, prefixes, labels, advance in (
            ("a table", TABLES, OF_A_TABLE, ("schemaname", "relname"), _of_a_table),
            ("a container", CONTAINERS, ("container_",), ("name",), _of_a_container),
        )
    ]
    columns = ("series", "samples a second", "bytes a sample", "kB a day")
    caption = f"Scraped every {INTERVAL} s; of {TABLES} tables and {CONTAINERS} containers, for one of them:"
    versions = {"Prometheus": _version(promtool), "Plimsoll": __version__}
    report("history", "A day of history", [Table(caption, columns, rows)], versions)


def _busiest(prefixes: tuple[str, ...], labels: Sequence[str]) -> list[Sample]:
    """Give the samples of the subject that has most of them."""

    def subject(sample: Sample) -> list[str]:
        return [sample.labels[label] for label in labels]

    families = text_string_to_metric_families(GOLDEN.read_text("utf-8"))
    samples = [sample for family in families for sample in family.samples if sample.name.startswith(prefixes)]
    return max((list(group) for _, group in groupby(sorted(samples, key=subject), subject)), key=len)


def _row(promtool: str, name: str, count: int, samples: Sequence[Sample], advance: Advance) -> Row:
    with workspace() as folder:
        text, blocks = folder / "day.om", folder / "blocks"
        with text.open("w") as file:
            file.writelines(_day(samples, count, advance))
        command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(blocks)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        size = sum(file.stat().st_size for file in blocks.rglob("*") if file.is_file())
    total = count * len(samples) * DAY / INTERVAL
    figures = (len(samples), len(samples) / INTERVAL, size / total, size / count / 1000)
    return Row(name, figures)


def _day(samples: Sequence[Sample], count: int, advance: Advance) -> Iterator[str]:
    """Write each series, one after the other, with a value for each scrape."""
    chance = random.Random(1)  # the same day at every run
    for sample in samples:
        yield f"# TYPE {sample.name} unknown\n"
        for number in range(count):
            labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels.items())
            series = f'{sample.name}{{{labels},number="{number}"}}'
            value = sample.value
            for at in range(BEGAN, BEGAN + DAY, INTERVAL):
                yield f"{series} {value!r} {at}\n"
                value = advance(sample, value, chance)
    yield "# EOF\n"


def _of_a_table(sample: Sample, value: float, chance: random.Random) -> float:
    if chance.random() >= CHANGED:
        return value
    return (
        value + 8192 * chance.randrange(1, 50)
        if sample.name.endswith("_bytes")
        else value + chance.randrange(1, 999)
    )


def _of_a_container(sample: Sample, value: float, chance: random.Random) -> float:
    if sample.name.endswith("_total"):
        return value + (chance.random() if "seconds" in sample.name else chance.randrange(100_000))
    if sample.name.startswith("container_memory") or sample.name in {
        "container_processes",
        "container_threads",
    }:
        return max(
            0.0, value + chance.randrange(-256, 257) * (4096 if "memory" in sample.name else 0.01) // 1
        )
    return value + INTERVAL if sample.name == "container_last_seen" else value


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _version(promtool: str) -> str:
    told = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True)
    return (told.stdout or told.stderr).split()[2]


if __name__ == "__main__":
    main()
