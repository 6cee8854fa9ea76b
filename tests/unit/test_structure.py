"""What the package's parts may know of each other, and what its metrics are called."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import plimsoll
from plimsoll.alerts.labels import RESERVED_LABELS
from plimsoll.serve import self_metrics, table_series, table_statistics
from plimsoll.serve.collectors import COLLECTORS, Collector
from plimsoll.serve.metrics import Family
from relay_page import Published, families

PACKAGE = Path(plimsoll.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "cli": {"serve", "relay", "demo", "alerts", "web", "config"},
    "serve": {"alerts", "web", "config"},
    "relay": {"alerts", "web", "config"},
    "demo": {"alerts", "web", "config"},
    "alerts": {"config"},
    "web": {"config"},
    "config": set(),
    "logs": set(),
    "shipped": set(),
    "__init__": set(),
    "__main__": {"cli"},
}
"""The parts of the package below `plimsoll`, and which others each may import."""

FOR_ALL = {"logs", "shipped", "__version__"}
"""What every part may import."""

MAY_KNOW = {
    "settings": set(),
    "metrics": set(),
    "jobs": {"metrics", "sources.SourceError", "sources.places"},
    "sources": {"settings"},
    "lives": {"sources.answers"},  # pure bookkeeping, and so is the inventory
    "inventory": {"sources.answers", "lives"},
    "state": {"settings", "metrics", "sources", "inventory", "selection", "roots"},
    "series": {"settings", "metrics", "sources", "state"},  # pure, too
    "selection": set(),  # pure, too
    "roots": {"selection"},
    "passes": {"settings", "sources", "state", "selection", "roots"},
    "table_series": {"metrics", "state", "roots"},
    "table_statistics": {"metrics", "state"},
    "queries": {"settings", "jobs", "sources", "state"},
    "collectors": {
        *("settings", "metrics", "jobs", "sources", "lives", "inventory", "state", "series", "queries"),
        *("passes", "table_series", "table_statistics"),
    },
    "self_metrics": {"metrics", "jobs"},
    "rotation": {"jobs"},
    "targets": {
        *("settings", "metrics", "jobs", "sources", "inventory", "state", "collectors", "self_metrics"),
        "rotation",
    },
    "check": {"settings", "sources", "state", "series", "queries", "collectors", "targets"},
    "exporter": {"settings", "metrics", "jobs", "sources", "targets", "self_metrics"},
    "command": {"settings", "exporter"},
    "__init__": set(),
}
"""The layers of `plimsoll.serve`, and which others each may import."""

ALERTS = (
    *("units", "labels", "matchers", "writing", "shape", "access", "catalogue", "settings", "effective"),
    *("mistakes", "merging", "selection", "compiler", "routing", "routes", "failures", "peer", "rollout"),
    *("rendering", "explain", "runbooks", "shipping", "command"),
)
"""The layers of `plimsoll.alerts`: each may import those before it."""

RELAY = (
    *("times", "alert", "delivery", "fields", "settings", "lives", "signing", "notification", "repeats"),
    *("sources", "witnesses", "acknowledging", "ack", "history", "forwarding", "memory", "counts"),
    *("rounds", "relay", "check", "command"),
)
"""The layers of `plimsoll.relay`: each may import those before it."""

IN_ORDER = {"alerts": ALERTS, "relay": RELAY}

CADVISOR_NAMES = {
    "container_memory_rss",
    "container_memory_cache",
    "container_memory_swap",
    "container_memory_failcnt",
    "container_last_seen",
    "container_spec_cpu_quota",
    "container_spec_cpu_period",
}
"""Names without the unit or the _total that they ought to have: cAdvisor's, which dashboards ask for."""

OF_THE_VIEW = {family.name for family in table_statistics.FAMILIES}
"""Columns of pg_stat_user_tables, whose names postgres_exporter gave to metrics as they are."""

LABELS = {
    "pg": ("server",),
    "container": ("engine", "id", "name", "image"),
    "machine": ("engine",),
    "plimsoll": (),
}
"""What every family of a prefix has at least."""

DEFINERS = (self_metrics, table_series, table_statistics)
"""Modules that define families apart from a collector."""

FAMILIES = [family for collector in COLLECTORS for family in collector.families]
FAMILIES += self_metrics.FAMILIES
RELAY_FAMILIES = asyncio.run(families())
SHARED = {
    "plimsoll_config_last_reload_successful",
    "plimsoll_config_last_reload_success_timestamp_seconds",
} | {self_metrics.BUILD.name}
"""What both programs publish."""

STATEMENTS = {
    "statement": PACKAGE / "serve" / "sources" / "sql",
    "query": PACKAGE / "relay" / "history" / "sql",
}
"""Where the SQL is that a function of that name reads."""

SQL = re.compile(
    r"\b(SELECT\s.*\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+[A-Z]+"
    r"|SET\s+(LOCAL|SESSION)|BEGIN|COMMIT|ROLLBACK|TRUNCATE|GRANT)\b",
    re.DOTALL,
)


def name_of(path: Path) -> str:
    parts = ("plimsoll", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give each imported module of ours, as its full name, with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module=str(module)):
                names = [f"{module}.{alias.name}" for alias in node.names]
            case ast.ImportFrom():
                pytest.fail(f"{path}:{node.lineno}: a relative import")
            case _:
                continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "plimsoll")


def parts_of(path: Path) -> str:
    return (*path.relative_to(PACKAGE).with_suffix("").parts,)[0]


def upward(path: Path, allowed: tuple[str, ...]) -> list[str]:
    """Tell which imports begin with none of the allowed names."""
    return [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for line, name in imports(path)
        if not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    ]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    part = parts_of(path)
    allowed = {part} | MAY_IMPORT[part] | FOR_ALL

    assert upward(path, tuple(f"plimsoll.{name}" for name in allowed)) == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "serve").rglob("*.py")), ids=name_of)
def test_each_layer_of_serve_knows_only_what_it_stands_on(path: Path) -> None:
    layer = path.relative_to(PACKAGE / "serve").with_suffix("").parts[0]
    outside = (MAY_IMPORT["serve"] | FOR_ALL) - {"serve"}
    allowed = outside | {f"serve.{name}" for name in {layer} | MAY_KNOW[layer]}

    assert upward(path, tuple(f"plimsoll.{name}" for name in allowed)) == []


@pytest.mark.parametrize(
    "path", sorted(path for part in IN_ORDER for path in (PACKAGE / part).rglob("*.py")), ids=name_of
)
def test_each_layer_knows_only_those_before_it(path: Path) -> None:
    part = parts_of(path)
    layer = path.relative_to(PACKAGE / part).with_suffix("").parts[0]
    outside = (MAY_IMPORT[part] | FOR_ALL) - {part}
    layers = IN_ORDER[part]
    known = () if layer == "__init__" else layers[: layers.index(layer) + 1]

    allowed = (*outside, *(f"{part}.{name}" for name in known))
    assert upward(path, tuple(f"plimsoll.{name}" for name in allowed)) == []


def test_each_collector_stands_in_a_file_of_its_name() -> None:
    names = [collector.name for collector in COLLECTORS]
    files = {path.stem for path in (PACKAGE / "serve" / "collectors").glob("*.py")} - {"__init__"}

    assert sorted(names) == sorted(files)
    for collector in COLLECTORS:
        assert collector.__module__ == f"plimsoll.serve.collectors.{collector.name}"


@pytest.mark.parametrize("reader", STATEMENTS)
def test_every_sql_file_is_used_and_exists(reader: str) -> None:
    folder = STATEMENTS[reader]
    used = {
        node.args[0].value
        for path in sorted(folder.parents[1].rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == reader
        and isinstance(node.args[0], ast.Constant)
    }

    assert used == {path.stem for path in folder.glob("*.sql")}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Give each string of a module that is no docstring, with its line."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "text", ["SELECT 1\nFROM a", "INSERT  INTO a", "UPDATE a\nSET b", "DROP TABLE a", "COMMIT"]
)
def test_sql_is_known_when_it_is_seen(text: str) -> None:
    assert SQL.search(text)


def test_only_the_history_of_the_relay_talks_to_a_database() -> None:
    relay = PACKAGE / "relay"
    others = [path for path in sorted(relay.rglob("*.py")) if relay / "history" not in path.parents]
    written = [f"{name_of(path)}:{line}" for path in others for line, text in texts(path) if SQL.search(text)]

    assert written == []
    assert any(SQL.search(text) for _, text in texts(relay / "history" / "migrating.py"))
    assert not [path for path in relay.rglob("*.sql") if relay / "history" not in path.parents]


def test_no_statement_writes() -> None:
    for path in (PACKAGE / "serve" / "sources" / "sql").glob("*.sql"):
        code = re.sub(r"--[^\n]*", "", path.read_text("utf-8")).strip()
        assert re.match(r"(SELECT|WITH)\s", code), f"{path.name} is no SELECT"
        assert ";" not in code, f"{path.name} holds more than one statement"
        assert not re.search(r"\b(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|LOCK|SET|ANALYZE|VACUUM)\s", code)


@pytest.mark.parametrize("definer", [*COLLECTORS, *DEFINERS], ids=lambda definer: definer.__name__)
def test_every_family_is_defined_beside_its_collector(definer: type[Collector[Any]] | ModuleType) -> None:
    source = inspect.getsourcefile(definer)
    assert source
    defined = [
        str(node.args[0].value)
        for node in ast.walk(ast.parse(Path(source).read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Family"
        and isinstance(node.args[0], ast.Constant)
    ]
    if isinstance(definer, ModuleType):
        families = set(definer.FAMILIES)
    else:
        families = set(definer.families).difference(*(module.FAMILIES for module in DEFINERS))

    assert sorted(defined) == sorted(family.name for family in families)


def test_each_family_has_a_name_of_its_own() -> None:
    text = self_metrics.ProcessMetrics().encode(openmetrics=False)
    of_the_process = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)

    counts = Counter([*(family.name for family in FAMILIES), *of_the_process])

    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("family", [*FAMILIES, *RELAY_FAMILIES], ids=lambda family: family.name)
def test_families_follow_the_conventions_for_names(family: Family | Published) -> None:
    """See https://prometheus.io/docs/practices/naming/."""
    prefix, _, rest = family.name.partition("_")
    assert prefix in LABELS
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", rest)
    assert not re.search(
        r"_(ms|millis\w*|micros\w*|minutes|hours|kb|mb|gb|kib|mib|gib|percent)(_|$)", family.name
    )
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    if family.name not in CADVISOR_NAMES | OF_THE_VIEW:
        assert not family.name.endswith(("_sum", "_count", "_bucket", "_created"))
        assert family.kind != "unknown"
        in_unit = re.search(r"size|memory|time|duration", family.name)
        if in_unit or re.search(r"[Bb]ytes|in seconds|Microseconds", family.help):
            assert re.search(r"_(bytes|seconds)(_total)?$", family.name)
    if "timestamp" in family.name:
        assert family.name.endswith("_timestamp_seconds")


@pytest.mark.parametrize("family", [*FAMILIES, *RELAY_FAMILIES], ids=lambda family: family.name)
def test_families_have_the_labels_of_their_kind(family: Family | Published) -> None:
    first = LABELS[family.name.partition("_")[0]]

    assert family.labels[: len(first)] == first
    assert len(set(family.labels)) == len(family.labels)
    for label in family.labels:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", label)
        assert label not in {"le", "quantile", "job", "instance"}


@pytest.mark.parametrize("families", [FAMILIES, RELAY_FAMILIES], ids=["exporter", "relay"])
def test_no_label_of_ours_can_be_declared_by_users(families: list[Family | Published]) -> None:
    named = {family.name: set(family.labels) for family in families}
    assert named.pop(self_metrics.BUILD.name) == {"version"}

    assert set().union(*named.values()) <= RESERVED_LABELS


def test_what_both_programs_publish_means_the_same() -> None:
    relay = {family.name: (family.kind, family.help, family.labels) for family in RELAY_FAMILIES}
    exporter = {family.name: (family.kind, family.help, family.labels) for family in FAMILIES}

    assert relay.keys() & exporter.keys() == SHARED
    assert {name: relay[name] for name in SHARED} == {name: exporter[name] for name in SHARED}


def test_every_exception_is_a_family() -> None:
    assert {family.name for family in FAMILIES} >= CADVISOR_NAMES
