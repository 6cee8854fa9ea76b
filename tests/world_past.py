"""The past of the world that dashboards are tested on: sizes, a disk that fills, former alerts."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from asking import Series
from plimsoll.demo import processes
from plimsoll.demo.history import DAY, History, samples_of, shipped_rule

STEP = 240.0
"""Seconds between samples: a little less than what Prometheus looks back for one."""
DAYS = 8
GB = 10**9

SHOP_YESTERDAY, SHOP_LAST_WEEK = 0.6, 0.3
"""The parts of its present size that the database shop had 1 and 7 days ago."""
BILLING_PER_DAY = 0.1
"""The part of its present size by which the database billing grows each day."""
DISK_PER_HOUR = 2 * GB
DISK_FREE = 20 * GB
DISK = 'device="/dev/sdb1",fstype="ext4",mountpoint="/srv"'

HOUR = 3600
FORMER_ALERTS: tuple[tuple[str, dict[str, str], int, int], ...] = (
    ("ContainerDown", {"engine": "local", "name": "crashed"}, 5 * HOUR, HOUR),
    ("HostOffline", {"instance": "old:9100"}, 12 * HOUR, HOUR // 2),
)
"""What has fired according to Prometheus: how many seconds ago it began, and how long it lasted."""


def shop(age: float) -> float:
    """Give the part of its size that shop had: it grew slowly for a week, then by two thirds in a day."""
    days = age / DAY
    if days <= 1:
        return 1 - (1 - SHOP_YESTERDAY) * days
    return SHOP_YESTERDAY - (SHOP_YESTERDAY - SHOP_LAST_WEEK) * (days - 1) / 6


def billing(age: float) -> float:
    """Give the part of its size that billing had: it grows evenly."""
    return 1 - BILLING_PER_DAY * age / DAY


class Days(History):
    """The samples of eight days: all of the last, and of two hours a week ago, else one an hour."""

    def __init__(self) -> None:
        super().__init__(span=DAYS * DAY, step=STEP)
        self._ages = [
            age for age in self._ages if age <= DAY + HOUR or abs(age - 7 * DAY) <= HOUR or not age % HOUR
        ]

    def add_sizes_of_all(self, page: str, scraped_by: Mapping[str, str]) -> None:
        """Add the sizes that end at what the exporter's page says."""
        for database, shape in (("shop", shop), ("billing", billing), ("postgres", lambda _: 1.0)):
            self.add_sizes(page, database, shape, scraped_by=dict(scraped_by))

    def add_disk(self, instance: str) -> None:
        """Let a disk have lost 2 GB an hour, and have been writable."""
        labels = f'{DISK},instance="{instance}"'

        def free(age: float) -> float:
            return DISK_FREE + DISK_PER_HOUR * age / 3600

        since = 12 * 3600.0
        self.add("filesystem:node_filesystem_avail_bytes:max", labels, free, since=since)
        self.add("node_filesystem_avail_bytes", f'{labels},job="node"', free, since=since)
        self.add("node_filesystem_size_bytes", f'{labels},job="node"', lambda _: 100 * GB, since=since)
        self.add("node_filesystem_readonly", f'{labels},job="node"', lambda _: 0, since=since)

    def add_former_alerts(self) -> None:
        """Add that alerts fired some time ago."""
        for name, labels, began, lasted in FORMER_ALERTS:
            own = {"alertname": name, "alertstate": "firing", **shipped_rule(name).labels, **labels}
            text = ",".join(f'{key}="{value}"' for key, value in own.items())
            ages = range(began - lasted, began + 1, 15)
            self._lines += [f"ALERTS{{{text}}} 1 {self.now - age:.3f}" for age in reversed(ages)]

    def add_jump(self, page: str, metric: str, container: str, scraped_by: Mapping[str, str]) -> None:
        """Add that a container's counter stood at 0 until a minute before the exporter's page."""
        target = ",".join(f'{key}="{value}"' for key, value in scraped_by.items())
        (found,) = [
            each for each in samples_of(page) if each.name == metric and f'name="{container}"' in each.labels
        ]
        self.add(metric, f"{found.labels},{target}", lambda age: found.value if age < 60 else 0, since=900)

    def write(self, promtool: Path, file: Path, data: Path) -> None:
        """Make blocks, as `History.write` does, in a moment."""
        _make_blocks(self._lines, promtool, file, data)

    def write_calm(
        self, seen: Sequence[Series], before: float, promtool: Path, file: Path, data: Path
    ) -> None:
        """Make blocks in which all was so for an hour already, but for what has a past.

        Without that, rules and panels that look back some minutes would meet nothing there.

        Args:
            seen: all that Prometheus has stored since it started.
            before: when that was; what it stored is left as it is.
            promtool: the program.
            file: written on the way.
            data: where Prometheus stores, which has ended.
        """
        known = {_read(line.rpartition("}")[0]) for line in self._lines}
        times = [before - 5 - 60 * number for number in reversed(range(60))]
        lines: list[str] = []
        for series in _without_new_containers(seen):
            name, own = _named(series)
            if not name.startswith("ALERTS") and (name, frozenset(own.items())) not in known:
                text = ",".join(f'{key}="{_escaped(text)}"' for key, text in own.items())
                lines += [f"{name}{{{text}}} {_calm_value(series)!r} {time:.3f}" for time in times]
        _make_blocks(lines, promtool, file, data)


def _named(series: Series) -> tuple[str, dict[str, str]]:
    labels = dict(series.labels)
    return labels.pop("__name__"), labels


def _calm_value(series: Series) -> float:
    """Give what a gauge is in the end, and a counter in the beginning, for it never falls."""
    counts = re.search(r"_(total|count|sum|bucket)$", series.labels["__name__"])
    return series.points[0 if counts else -1][1]


def _without_new_containers(seen: Sequence[Series]) -> list[Series]:
    """Leave out what was deployed in the place of something else."""

    def place(series: Series) -> tuple[str, ...]:
        return tuple(series.labels.get(key, "") for key in ("__name__", "engine", "name"))

    began: dict[tuple[str, ...], float] = {}
    for series in seen:
        began[place(series)] = min(series.points[0][0], began.get(place(series), math.inf))
    return [each for each in seen if "id" not in each.labels or each.points[0][0] - began[place(each)] < 1]


def _make_blocks(lines: list[str], promtool: Path, file: Path, data: Path) -> None:
    """Make few long blocks: for each of them promtool reads everything once more."""
    file.write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    create = ["tsdb", "create-blocks-from", "--quiet", "--max-block-duration=720h", "openmetrics"]
    done = subprocess.run(
        processes.command_line([promtool, *create, file, data]), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


_PAIR = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')


def _read(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """Read a name and labels as they are written before a value, but for the closing brace."""
    name, _, labels = text.partition("{")
    return name, frozenset((key, _plain(value)) for key, value in _PAIR.findall(labels))


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
