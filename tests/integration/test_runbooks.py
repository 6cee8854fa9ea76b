"""What the runbooks let people paste at two in the morning: it runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import psycopg
import pytest
import yaml

from fix_postgres import Database
from plimsoll.alerts.catalogue import load_catalogue
from plimsoll.alerts.shape import Look
from support import require_program, said_by

LOOKS = {
    f"{name}-{number}": look
    for name, (_, preset) in load_catalogue().presets.items()
    for number, look in enumerate(preset.runbook.look, 1)
}
SCHEMA = (resources.files("plimsoll.serve") / "collector_files" / "agents.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_there_is_something_to_paste(look: Look) -> None:
    assert sum(text is not None for text in (look.promql, look.sql, look.shell)) == 1


def test_prometheus_reads_all_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"look{index}", "expr": look.promql}
        for index, look in enumerate(LOOKS.values())
        if look.promql
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "looks", "rules": rules}]}), "utf-8")
    said = said_by(require_program("promtool"), "check", "rules", file)
    assert f"SUCCESS: {len(rules)} rules found" in said


def test_bash_reads_all_commands(tmp_path: Path) -> None:
    file = tmp_path / "commands.sh"
    file.write_text("\n".join(look.shell for look in LOOKS.values() if look.shell), "utf-8")
    said_by(require_program("bash"), "-n", file)


def test_postgresql_runs_all_sql(database: Database) -> None:
    """As the exporter's role, which is less than what an operator may do."""
    with database.connect() as owner:
        owner.execute(SCHEMA)
    statements = [look.sql for look in LOOKS.values() if look.sql]
    assert statements
    for statement in statements:
        with psycopg.connect(database.dsn()) as session:
            session.read_only = True
            session.execute(statement.encode())
