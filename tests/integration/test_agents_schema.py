"""The collector file of agents and its schema: what its queries give to the role plimsoll."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from fix_postgres import Database
from plimsoll.shipped import shipped

FILES = resources.files("plimsoll.serve") / "collector_files"
SCHEMA = (FILES / "agents.sql").read_text(encoding="utf-8")
COLLECTOR = yaml.safe_load((FILES / "agents.yml").read_text(encoding="utf-8"))
QUERIES = {query["query_name"]: query["query"] for query in COLLECTOR["queries"]}

Row = dict[str, Any]


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """Give a session of the application, in a database with the schema."""
    with database.connect() as session:
        session.execute(SCHEMA)
        yield session


def asked(database: Database, query: str) -> dict[str, Row]:
    """Give what a query gives to the exporter's role, by agent."""
    with psycopg.connect(database.dsn(), row_factory=dict_row) as session:
        session.read_only = True
        return {row.pop("agent"): row for row in session.execute(QUERIES[query].encode()).fetchall()}


def test_every_metric_has_its_column(database: Database, owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('a')")
    columns = {name: asked(database, name)["a"].keys() for name in QUERIES}
    used = {
        name: {m["values"][0] for m in COLLECTOR["metrics"] if m["query_ref"] == name} for name in QUERIES
    }
    assert used == columns
    for metric in COLLECTOR["metrics"]:
        assert metric.keys() == {"metric_name", "type", "help", "key_labels", "values", "query_ref"}
        assert (metric["type"], metric["key_labels"]) == ("gauge", ["agent"])
        assert len(metric["values"]) == 1


def test_the_rules_use_these_metrics_only() -> None:
    rules = (shipped("rules") / "recording.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\b(?<!:)agent_\w+\b(?!:)", re.sub(r"#.*|- name: .*", "", rules)))
    published = {metric["metric_name"] for metric in COLLECTOR["metrics"]}
    assert used == published - {"agent_tasks_in_progress"}  # which is for dashboards


@pytest.mark.parametrize("query", QUERIES)
def test_without_agents_there_is_nothing(database: Database, owner: psycopg.Connection, query: str) -> None:
    owner.execute("INSERT INTO plimsoll_agents.runs (agent, failed) VALUES ('unknown', true)")
    owner.execute(
        "INSERT INTO plimsoll_agents.tasks (agent, task, started_at) VALUES ('unknown', '1', now())"
    )
    assert asked(database, query) == {}


def test_the_state_of_agents(database: Database, owner: psycopg.Connection) -> None:
    owner.execute(
        """
        INSERT INTO plimsoll_agents.agents VALUES
            ('busy', now() - interval '10 s', true, 1000, 200000, NULL),
            ('cut off', now() - interval '20 s', false, 0, 0, NULL),
            ('gone', now(), true, 1, 2, now());
        INSERT INTO plimsoll_agents.tasks VALUES
            ('busy', 'queued', NULL, NULL),
            ('busy', 'old', now() - interval '40 min', NULL),
            ('busy', 'new', now() - interval '5 min', NULL),
            ('busy', 'done', now() - interval '2 days', now()),
            ('cut off', 'done', now() - interval '2 days', now());
        """
    )
    rows = asked(database, "agents")
    now = {row.pop("asked_at") for row in rows.values()}.pop()
    for row in rows.values():
        row["heartbeat_at"] = pytest.approx(now - row["heartbeat_at"], abs=5)
    assert now - rows["busy"].pop("oldest_task_started_at") == pytest.approx(2400, abs=5)
    assert rows == {
        "busy": {
            "heartbeat_at": 10,
            "gateway_connected": 1,
            "context_tokens": 1000,
            "context_window_tokens": 200000,
            "tasks_in_progress": 2,
        },
        "cut off": {
            "heartbeat_at": 20,
            "gateway_connected": 0,
            "context_tokens": 0,
            "context_window_tokens": 0,
            "tasks_in_progress": 0,
            "oldest_task_started_at": None,
        },
    }


def test_what_is_unknown_stays_unknown(database: Database, owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO plimsoll_agents.agents (agent, heartbeat_at) VALUES ('a', NULL)")
    owner.execute("INSERT INTO plimsoll_agents.runs (agent, failed) VALUES ('a', false)")
    state = asked(database, "agents")["a"]
    assert {name for name, value in state.items() if value is not None} == {"asked_at", "tasks_in_progress"}
    assert asked(database, "runs") == {"a": {"runs_15m": 1, "failed_runs_15m": 0, "cost_1h_dollars": None}}


def test_silence_counts_from_the_registration(database: Database, owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('a')")
    state = asked(database, "agents")["a"]
    assert state["asked_at"] - state["heartbeat_at"] == pytest.approx(0, abs=5)


def test_runs_of_the_last_quarter_and_cost_of_the_last_hour(
    database: Database, owner: psycopg.Connection
) -> None:
    owner.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('a'), ('idle')")
    owner.execute(
        """
        INSERT INTO plimsoll_agents.runs SELECT 'a', now() - age, failed, cost FROM (VALUES
            (interval '1 s', false, 0.5),
            (interval '2 s', true, NULL),
            (interval '14 min', true, 0.25),
            (interval '16 min', true, 1),
            (interval '59 min', false, 2),
            (interval '61 min', true, 100)
        ) AS runs (age, failed, cost)
        """
    )
    assert asked(database, "runs") == {
        "a": {"runs_15m": 3, "failed_runs_15m": 2, "cost_1h_dollars": 3.75},
        "idle": {"runs_15m": 0, "failed_runs_15m": 0, "cost_1h_dollars": 0},
    }


def test_what_the_future_brings_and_what_is_no_cost_do_not_count(
    database: Database, owner: psycopg.Connection
) -> None:
    """A clock that is a little ahead is forgiven."""
    owner.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('a'), ('odd')")
    owner.execute(
        """
        INSERT INTO plimsoll_agents.runs SELECT agent, now() + ahead, true, cost FROM (VALUES
            ('a', interval '30 s', 0.5),
            ('a', interval '5 min', 100),
            ('a', interval '-1 s', 'NaN'::numeric),
            ('odd', interval '-1 s', 'NaN')
        ) AS runs (agent, ahead, cost)
        """
    )
    assert asked(database, "runs") == {
        "a": {"runs_15m": 2, "failed_runs_15m": 2, "cost_1h_dollars": 0.5},
        "odd": {"runs_15m": 1, "failed_runs_15m": 1, "cost_1h_dollars": None},
    }


def test_it_may_be_applied_again(database: Database, owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('kept')")
    owner.execute(SCHEMA)
    assert asked(database, "agents").keys() == {"kept"}


@pytest.mark.parametrize("table", ["agents", "runs", "tasks"])
def test_the_role_reads_and_does_not_write(database: Database, owner: psycopg.Connection, table: str) -> None:
    with psycopg.connect(database.dsn()) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(f"DELETE FROM plimsoll_agents.{table}".encode())
    assert owner.closed is False


def test_views_of_an_application_serve_as_well(database: Database) -> None:
    """Its tables stay closed to the role: a view reads with the rights of its owner."""
    with database.connect() as owner:
        owner.execute(
            """
            CREATE TABLE workers (name varchar(20), seen timestamptz);
            CREATE TABLE jobs (
                id int, worker varchar(20), state text, cents int, began timestamptz, ended timestamptz
            );
            INSERT INTO workers VALUES ('w', now());
            INSERT INTO jobs VALUES
                (1, 'w', 'done', 150, now(), now()),
                (2, 'w', 'running', NULL, now(), NULL);
            CREATE SCHEMA plimsoll_agents;
            CREATE VIEW plimsoll_agents.agents AS
                SELECT name::text AS agent, seen AS heartbeat_at, NULL::boolean AS gateway_connected,
                       NULL::bigint AS context_tokens, NULL::bigint AS context_window_tokens,
                       NULL::timestamptz AS decommissioned_at
                FROM workers;
            CREATE VIEW plimsoll_agents.runs AS
                SELECT worker::text AS agent, ended AS finished_at, state = 'failed' AS failed,
                       cents / 100.0 AS cost_dollars
                FROM jobs WHERE ended IS NOT NULL;
            CREATE VIEW plimsoll_agents.tasks AS
                SELECT worker::text AS agent, id::text AS task, began AS started_at, ended AS finished_at
                FROM jobs;
            """
        )
        owner.execute("".join(line for line in SCHEMA.splitlines(keepends=True) if line.startswith("GRANT")))
    assert asked(database, "agents")["w"]["tasks_in_progress"] == 1
    assert asked(database, "runs") == {"w": {"runs_15m": 1, "failed_runs_15m": 0, "cost_1h_dollars": 1.5}}


def test_the_queries_read_only_what_they_need(database: Database, owner: psycopg.Connection) -> None:
    """Neither the history of runs nor that of tasks, as long as they are."""
    owner.execute(
        "INSERT INTO plimsoll_agents.agents (agent) SELECT 'agent ' || n FROM generate_series(1, 10) n"
    )
    owner.execute(
        """
        INSERT INTO plimsoll_agents.runs
            SELECT 'agent ' || n % 10 + 1, now() - n * interval '1 min', false, 1
            FROM generate_series(1, 20000) n;
        INSERT INTO plimsoll_agents.tasks
            SELECT 'agent ' || n % 10 + 1, n, now(), CASE WHEN n > 50 THEN now() END
            FROM generate_series(1, 20000) n;
        """
    )
    for table in ("agents", "runs", "tasks"):
        owner.execute(f"VACUUM (ANALYZE) plimsoll_agents.{table}".encode())
    plans = {name: plan(owner, query) for name, query in QUERIES.items()}
    assert "Index Only Scan using runs_finished_at" in plans["runs"]
    assert "Index Only Scan using tasks_in_progress" in plans["agents"]


def plan(session: psycopg.Connection, query: str) -> str:
    return "\n".join(line for (line,) in session.execute(f"EXPLAIN {query}".encode()).fetchall())
