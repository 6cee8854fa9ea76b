"""An invented past for Prometheus: what it would have scraped, recorded and concluded before the start."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from plimsoll.demo import processes
from plimsoll.demo.processes import ProcessError
from plimsoll.shipped import shipped

DAY = 86400.0

_SIZES = re.compile(
    r"pg_(database_size|unattributed_size|other_tables_size|partition_root_size|stat_user_tables_\w*size)_bytes"
    r"|pg_stat_user_tables_n_\w+_tup"
)
_JUDGED = {
    "pg_database_size_bytes": "DatabaseGrowthHigh",
    "pg_stat_user_tables_size_bytes": "TableGrowthHigh",
    "pg_partition_root_size_bytes": "PartitionedTableGrowthHigh",
}
_FLOOR = 100 * 1024**2  # bytes, below which growth is not judged; as in the rules
_PAGE = 8192  # bytes

Past = Callable[[float], float]
"""Gives a value by age, in seconds before now."""


class Sample(NamedTuple):
    """A sample of the exporter's page; `labels` is text as it stands between the braces there."""

    name: str
    labels: str
    value: float


class Rule(NamedTuple):
    """A shipped alert: what it compares with what, and the labels that it adds."""

    name: str
    signal: str
    threshold: float
    labels: dict[str, str]


def shipped_rule(name: str) -> Rule:
    """Return an alert as it was shipped."""
    groups = yaml.safe_load((shipped("rules") / "alerts.yml").read_text("utf-8"))["groups"]
    (found,) = (rule for group in groups for rule in group["rules"] if rule.get("alert") == name)
    signal, _, threshold = found["expr"].split()
    return Rule(name, signal, float(threshold), found["labels"])


def samples_of(page: str) -> list[Sample]:
    """Take the samples off the exporter's page in the text format."""
    lines = (line.rpartition(" ") for line in page.split("\n") if line and not line.startswith("#"))
    parts = ((*head.partition("{"), value) for head, _, value in lines)
    return [Sample(name, labels.removesuffix("}"), float(value)) for name, _, labels, value in parts]


class History:
    """The samples of the last `span` seconds up to now, one every `step` seconds."""

    def __init__(self, *, span: float = 2 * DAY, step: float = 120.0) -> None:
        self.now = time.time()
        self._ages = [step * number for number in reversed(range(int(span / step) + 1))]
        self._oldest = self._ages[0]
        self._lines: list[str] = []

    def add(self, name: str, labels: str, past: Past, *, since: float | None = None) -> None:
        """Add a series, from `since` seconds ago if that is given."""
        ages = self._ages if since is None else [age for age in self._ages if age <= since]
        self._lines += [f"{name}{{{labels}}} {past(age)!r} {self.now - age:.3f}" for age in ages]

    def add_alert(self, name: str, labels: str, *, since: float) -> None:
        """Add that an alert is active since `since` seconds, which Prometheus remembers over a restart."""
        own = {"alertname": name, **shipped_rule(name).labels}
        text = ",".join([*(f'{key}="{value}"' for key, value in own.items()), labels])
        active_at = self.now - since
        self.add("ALERTS_FOR_STATE", text, lambda _: active_at, since=since)

    def add_sizes(self, page: str, database: str, shape: Past, *, scraped_by: dict[str, str]) -> None:
        """Add the sizes of a database and its tables, and what the rules make of them.

        Args:
            page: the exporter's page, where each of them ends today.
            database: which database.
            shape: the part of today's size that it had at an age.
            scraped_by: the labels `instance` and `job` that Prometheus adds.
        """
        target = ",".join(f'{key}="{value}"' for key, value in scraped_by.items())
        for sample in samples_of(page):
            if _SIZES.fullmatch(sample.name) and f'datname="{database}"' in sample.labels:
                past = _scaled(sample, shape)
                self.add(sample.name, f"{sample.labels},{target}", past)
                if sample.name in _JUDGED:
                    self._add_signals(sample, past)

    def _add_signals(self, sample: Sample, past: Past) -> None:
        """Add what the rules would have recorded, so that nobody has to wait until sizes have grown."""
        rule = shipped_rule(_JUDGED[sample.name])
        level = rule.signal.partition(":")[0]
        self.add(f"{level}:{sample.name}:max", sample.labels, past)

        def growth(age: float) -> float:
            before = past(age + DAY)
            return 100 * (past(age) - before) / max(before, _PAGE)

        judged = _unbroken(self._ages, lambda age: age + DAY <= self._oldest and past(age) >= _FLOOR)
        if judged is not None:
            self.add(rule.signal, sample.labels, growth, since=judged)
            ages = [age for age in self._ages if age <= judged]
            active = _unbroken(ages, lambda age: growth(age) > rule.threshold)
            if active is not None:
                self.add_alert(rule.name, sample.labels, since=active)

    def write(self, promtool: Path, file: Path, data: Path) -> None:
        """Make blocks in the folder `data` of a Prometheus that does not run yet, by way of `file`.

        Raises:
            ProcessError: promtool refused.
        """
        file.write_text("\n".join([*self._lines, "# EOF", ""]), "utf-8")
        # For each block it reads all of the file, so let there be few.
        few = f"--max-block-duration={self._oldest + DAY:.0f}s"
        create: list[str | Path] = [promtool, "tsdb", "create-blocks-from", few, "--quiet", "openmetrics"]
        done = subprocess.run(  # noqa: S603  (the command is ours)
            processes.command_line([*create, file, data]), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ProcessError(f"promtool refused the history: {done.stderr.strip()}")


def _scaled(sample: Sample, shape: Past) -> Past:
    """Give whole pages of the past for bytes, whole rows for counts."""
    unit = _PAGE if sample.name.endswith("_bytes") else 1
    return lambda age: round(sample.value * shape(age) / unit) * unit if age else sample.value


def _unbroken(ages: Iterable[float], condition: Callable[[float], bool]) -> float | None:
    """Return the age since which a condition has held until now; None if it does not hold now."""
    since = None
    for age in ages:
        if not condition(age):
            since = None
        elif since is None:
            since = age
    return since
