"""What agents write into PostgreSQL reaches a webhook, by the shipped tables and collector file.

PostgreSQL is asked more often, and that is all. The thresholds are those of the catalogue: what agents write
down about the past needs no waiting.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from fix_postgres import Database
from judging import at_once, job, judging, user_file
from plimsoll.demo.exporter import serving
from waiting import eventually

pytestmark = pytest.mark.long

TOLD = {
    "AgentDown",
    "AgentGatewayDisconnected",
    "AgentErrorRateHigh",
    "AgentContextWindowHigh",
    "AgentTaskStuck",
    "AgentCostHigh",
}
"""Presets that fire and resolve here."""

SHIPPED = resources.files("plimsoll.serve") / "collector_files"
SCHEMA = (SHIPPED / "agents.sql").read_text("utf-8")

TROUBLE = """
INSERT INTO plimsoll_agents.agents
    (agent, heartbeat_at, gateway_connected, context_tokens, context_window_tokens, decommissioned_at)
VALUES ('fine', now() + interval '1 hour', true, 10, 200000, NULL),
       ('silent', now() - interval '10 minutes', NULL, NULL, NULL, NULL),
       ('cut off', now() + interval '1 hour', false, NULL, NULL, NULL),
       ('full', now() + interval '1 hour', true, 190000, 200000, NULL),
       ('former', now() - interval '1 day', false, 200000, 200000, now());
INSERT INTO plimsoll_agents.runs (agent, failed, cost_dollars)
SELECT 'fine', number = 1, 0.5 FROM generate_series(1, 10) number;
INSERT INTO plimsoll_agents.runs (agent, failed, cost_dollars)
VALUES ('former', true, 100), ('former', true, 100),
       ('full', false, 6),
       ('cut off', false, NULL), ('cut off', true, NULL), ('cut off', true, NULL);
INSERT INTO plimsoll_agents.tasks (agent, task, started_at, finished_at)
VALUES ('fine', 'new', now() - interval '1 minute', NULL),
       ('fine', 'done', now() - interval '2 hours', now()),
       ('full', 'long', now() - interval '31 minutes', NULL),
       ('former', 'forgotten', now() - interval '1 day', NULL);
"""
"""What is wrong, and beside it what is not; a heartbeat from the future stays fresh."""

END_OF_TROUBLE = """
UPDATE plimsoll_agents.agents SET heartbeat_at = now() + interval '1 hour' WHERE agent = 'silent';
UPDATE plimsoll_agents.agents SET gateway_connected = true WHERE agent = 'cut off';
UPDATE plimsoll_agents.agents SET context_tokens = 20000 WHERE agent = 'full';
UPDATE plimsoll_agents.runs SET finished_at = now() - interval '1 hour' WHERE agent IN ('full', 'cut off');
UPDATE plimsoll_agents.tasks SET finished_at = now() WHERE agent = 'full';
"""

VALUES = {
    "AgentDown": ("silent", "10m"),
    "AgentGatewayDisconnected": ("cut off", "0 (disconnected)"),
    "AgentErrorRateHigh": ("cut off", "66.7 % in 15 minutes"),
    "AgentContextWindowHigh": ("full", "95.0 %"),
    "AgentTaskStuck": ("full", "31m"),
    "AgentCostHigh": ("full", "$6.00 in the last hour"),
}
"""Who is told of, and how the annotation `value` begins."""


@pytest.fixture
def agents(newest_database: Database) -> Database:
    with newest_database.connect() as owner:
        owner.execute(SCHEMA)
        owner.execute(TROUBLE)
    return newest_database


def write_collector_file(directory: Path) -> str:
    """Write the shipped one with an interval that nobody has to wait for, and give its name."""
    shipped = (SHIPPED / "agents.yml").read_text("utf-8")
    assert shipped.count("min_interval: 30s\n") == 1
    (directory / "own.yml").write_text(shipped.replace("min_interval: 30s\n", "min_interval: 1s\n"), "utf-8")
    return "own.yml"


def test_what_happens_to_agents_is_told_and_resolved(agents: Database, tmp_path: Path) -> None:
    own = {"server": "main", "datname": agents.name, "organization": "acme", "category": "agent"}
    expected = {name: {"agent": agent, **own} for name, (agent, _) in VALUES.items()}
    assert expected.keys() == TOLD
    server = {"name": "main", "dsn": agents.dsn(), "labels": {"organization": "acme"}}
    queries = write_collector_file(tmp_path)
    sections = {"postgres": {"servers": [server]}, "sql": [queries], "alerts": at_once({})}
    with (
        user_file(tmp_path, sections) as file,
        serving(file.path, tmp_path) as exporter,
        judging(file, [job("plimsoll", exporter.address)]) as watcher,
    ):
        watcher.wait_for("firing", expected)
        for name, (agent, value) in VALUES.items():
            texts = watcher.told(name)[0]["annotations"]
            assert texts["value"].startswith(value)
            assert f'gent "{agent}" in database "{agents.name}"' in texts["description"]
        with agents.connect() as owner:
            owner.execute(END_OF_TROUBLE)
        watcher.wait_for("resolved", expected)
        eventually(lambda: not watcher.query('ALERTS{alertstate="firing"}'))
        watcher.check_told(expected)
