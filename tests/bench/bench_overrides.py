"""What hundreds of overrides cost: size, compile time, and evaluation by a real Prometheus.

    make bench

An alert over a signal of 10,000 series is compiled with 125, 250 and 500 overrides: of one label, and of two,
which cannot become one matcher. Beside them in the same Prometheus runs the peer: as many rules written by
hand, one for each database that an override is for, and one for all others by a list of names. Each figure is
the median over the rounds of the time that Prometheus itself gives for the evaluation of a group.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.reporting import Row, Table, report
from plimsoll import __version__
from plimsoll.alerts.rendering import render
from plimsoll.demo.processes import workspace
from plimsoll.demo.service import Service, fetch
from reloading import prometheus
from support import require_program, said_by
from waiting import eventually

DATABASES, TABLES = 500, 20
COUNTS = (125, 250, 500)
ROUNDS = int(os.environ.get("ROUNDS", "10"))
SIGNAL = "bench:size_bytes:max"


class Compiled(NamedTuple):
    """What became of some overrides."""

    seconds: float
    """To compile everything, the presets too."""
    rules: list[dict[str, Any]]

    @property
    def size(self) -> int:
        """Characters of all expressions."""
        return sum(len(rule["expr"]) for rule in self.rules)


def main() -> int:
    """Measure, print a table and write it down."""
    with workspace() as folder:
        sets = {
            f"{kind}, {count}": compiled(folder, match, count)
            for kind, match in (("one label", one_label), ("two labels", two_labels))
            for count in COUNTS
        }
        sets |= {f"by hand, {count}": Compiled(0, by_hand(count)) for count in COUNTS}
        times = evaluated(folder, {name: compiled.rules for name, compiled in sets.items()})
    versions = {"Prometheus": said_by(require_program("prometheus"), "--version").split()[2]}
    report("overrides", "Overrides", [table(sets, times)], versions | {"Plimsoll": __version__})
    return 0


def one_label(number: int) -> str:
    return f'{{datname="database{number}"}}'


def two_labels(number: int) -> str:
    return f'{{datname="database{number}",relname="table{number % TABLES}"}}'


def compiled(folder: Path, match: Callable[[int], str], count: int) -> Compiled:
    """Compile a file with one alert."""
    overrides = [{"match": match(number), "threshold": number} for number in range(count)]
    alert = {"metric": SIGNAL, "operator": ">", "threshold": 10**9, "severity": "low", "summary": "A bench"}
    file = folder / "plimsoll.yml"
    file.write_text(yaml.safe_dump({"alerts": {"Bench": {**alert, "overrides": overrides}}}), "utf-8")
    start = time.perf_counter()
    groups = render(file).groups
    seconds = time.perf_counter() - start
    return Compiled(
        seconds, [rule for group in groups for rule in group["rules"] if rule.get("alert") == "Bench"]
    )


def by_hand(count: int) -> list[dict[str, Any]]:
    """Give the rules that somebody would write without overrides."""
    names = "|".join(f"database{number}" for number in range(count))
    expressions = [f'{SIGNAL}{{datname!~"{names}"}} > 1e9']
    expressions += [f"{SIGNAL}{one_label(number)} > {number}" for number in range(count)]
    return [{"alert": "Bench", "expr": expr, "for": "0s"} for expr in expressions]


def evaluated(folder: Path, groups: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Let Prometheus evaluate groups in turns; give the median seconds of each."""
    bare = {
        name: [{key: rule[key] for key in ("alert", "expr")} | {"for": "1h"} for rule in rules]
        for name, rules in groups.items()
    }
    published = folder / "rules"
    published.mkdir()
    content = {"groups": [{"name": name, "interval": "5s", "rules": rules} for name, rules in bare.items()]}
    (published / "rules.yml").write_text(yaml.safe_dump(content), "utf-8")
    data = folder / "prometheus" / "data"
    data.mkdir(parents=True)
    (folder / "series").write_text(openmetrics(), "utf-8")
    said_by(require_program("promtool"), "tsdb", "create-blocks-from", "openmetrics", folder / "series", data)
    seen: dict[str, dict[str, float]] = {name: {} for name in groups}
    with prometheus(
        folder / "prometheus", published, "--query.lookback-delta=1h", rule_files=("rules.yml",)
    ) as service:
        eventually(lambda: enough(service, seen), seconds=60 + 10 * ROUNDS)
    return {name: statistics.median(found.values()) for name, found in seen.items()}


def openmetrics() -> str:
    now = int(time.time())
    lines = [
        f'{SIGNAL}{{datname="database{database}",relname="table{table}"}} {database * table} {now}'
        for database in range(DATABASES)
        for table in range(TABLES)
    ]
    return "\n".join((f"# TYPE {SIGNAL} gauge", *lines, "# EOF\n"))


def enough(service: Service, seen: dict[str, dict[str, float]]) -> bool:
    """Note each new evaluation; say whether there are enough of every group."""
    for group in json.loads(fetch(f"{service.url}/api/v1/rules"))["data"]["groups"]:
        if group["evaluationTime"]:
            seen[group["name"]][group["lastEvaluation"]] = group["evaluationTime"]
    return all(len(found) >= ROUNDS for found in seen.values())


def table(sets: Mapping[str, Compiled], times: Mapping[str, float]) -> Table:
    """Write what each set of overrides costs."""
    rows = [
        Row(name, (len(found.rules), found.size, found.seconds or None, times[name] * 1e3))
        for name, found in sets.items()
    ]
    columns = ("rules", "characters", "compiled in s", "evaluated in ms")
    return Table(f"{DATABASES * TABLES:,} series, median of {ROUNDS} evaluations:", columns, rows)


if __name__ == "__main__":
    raise SystemExit(main())
