"""What the package's parts may know of each other, and what its metrics are called."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import plimsoll
from plimsoll.serve import self_metrics
from plimsoll.serve.collectors import COLLECTORS
from plimsoll.serve.metrics import Family

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

FAMILIES = [family for collector in COLLECTORS for family in collector.families]
FAMILIES += self_metrics.FAMILIES


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


@pytest.mark.parametrize("path", sorted((PACKAGE / "serve" / "sources").rglob("*.py")), ids=name_of)
def test_sources_know_nothing_of_those_who_read_them(path: Path) -> None:
    allowed = ("plimsoll.config", "plimsoll.serve.settings", "plimsoll.serve.sources")

    assert upward(path, allowed) == []


@pytest.mark.parametrize("module", ["settings", "metrics", "jobs"])
def test_the_foundations_of_serve_know_nothing_of_what_stands_on_them(module: str) -> None:
    allowed = ("plimsoll.config", "plimsoll.serve.sources.SourceError")

    assert upward(PACKAGE / "serve" / f"{module}.py", allowed) == []


def test_collectors_do_not_know_their_users() -> None:
    forbidden = ("plimsoll.serve.target", "plimsoll.serve.exporter", "plimsoll.serve.command")
    for path in (PACKAGE / "serve" / "collectors").glob("*.py"):
        assert not [name for _, name in imports(path) if name.startswith(forbidden)]


def test_each_collector_stands_in_a_file_of_its_name() -> None:
    names = [collector.name for collector in COLLECTORS]
    files = {path.stem for path in (PACKAGE / "serve" / "collectors").glob("*.py")} - {"__init__"}

    assert sorted(names) == sorted(files)
    for collector in COLLECTORS:
        assert collector.__module__ == f"plimsoll.serve.collectors.{collector.name}"


def test_every_sql_file_is_used_and_exists() -> None:
    used = {
        node.args[0].value
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "statement"
        and isinstance(node.args[0], ast.Constant)
    }

    assert used == {path.stem for path in (PACKAGE / "serve" / "sources" / "sql").glob("*.sql")}


def test_no_statement_writes() -> None:
    for path in (PACKAGE / "serve" / "sources" / "sql").glob("*.sql"):
        code = re.sub(r"--[^\n]*", "", path.read_text("utf-8")).strip()
        assert re.match(r"(SELECT|WITH)\s", code), f"{path.name} is no SELECT"
        assert ";" not in code, f"{path.name} holds more than one statement"
        assert not re.search(r"\b(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|LOCK|SET|ANALYZE|VACUUM)\s", code)


def test_every_family_that_is_defined_is_named_by_its_collector() -> None:
    modules = [*(PACKAGE / "serve" / "collectors").glob("*.py"), PACKAGE / "serve" / "self_metrics.py"]
    defined = {
        node.args[0].value
        for path in modules
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Family"
        and isinstance(node.args[0], ast.Constant)
    }

    assert defined == {family.name for family in FAMILIES}


def test_each_family_has_a_name_of_its_own() -> None:
    text = self_metrics.ProcessMetrics().encode(openmetrics=False)
    of_the_process = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)

    counts = Counter([*(family.name for family in FAMILIES), *of_the_process])

    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_families_follow_the_conventions_for_names(family: Family) -> None:
    """See https://prometheus.io/docs/practices/naming/."""
    assert re.fullmatch(r"(pg|plimsoll)_[a-z0-9]+(_[a-z0-9]+)*", family.name)
    assert not re.search(
        r"_(ms|millis\w*|micros\w*|minutes|hours|kb|mb|gb|kib|mib|gib|percent)(_|$)", family.name
    )
    assert not family.name.endswith(("_total", "_sum", "_count", "_bucket", "_created"))
    assert family.help.endswith(".")
    if "size" in family.name:
        assert family.name.endswith(("_bytes", "_seconds"))
    if "timestamp" in family.name:
        assert family.name.endswith("_timestamp_seconds")
    assert len(set(family.labels)) == len(family.labels)
    for label in family.labels:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", label)
        assert label not in {"le", "quantile", "job", "instance"}
