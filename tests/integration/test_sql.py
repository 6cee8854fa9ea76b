"""Custom SQL metrics, from collector files through the exporter, on real servers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from fix_postgres import Database, fresh_database
from plimsoll.demo.postgres import PostgresServer
from plimsoll.serve.settings.sql import SHIPPED
from proxy import Proxy
from serving import Samples, Serving, serving
from waiting import eventually

QUEUE = """
CREATE TABLE job (queue text, state text, priority int, done bigint, seen timestamptz DEFAULT now());
INSERT INTO job VALUES ('mail', 'waiting', 3, 10), ('print', NULL, NULL, 20);
GRANT SELECT ON job TO plimsoll;
"""
QUERY = "plimsoll_sql_query"


def gauge(name: str, query: str, **keys: Any) -> dict[str, Any]:
    """Give a metric whose value is the column v."""
    values = {} if "static_value" in keys else {"values": ["v"]}
    return {"metric_name": name, "type": "gauge", "help": "Of a test.", **values, "query": query, **keys}


def collector(*metrics: dict[str, Any], name: str = "app", **keys: Any) -> dict[str, Any]:
    return {"collector_name": name, "metrics": list(metrics), **keys}


@pytest.fixture
def queue(limited: Database) -> Database:
    with limited.connect() as session:
        session.execute(QUEUE)
    return limited


@pytest.fixture
def newest_queue(newest_database: Database) -> Database:
    with newest_database.connect() as session:
        session.execute(QUEUE)
    return newest_database


@contextmanager
def exporting(
    database: Database, directory: Path, *files: dict[str, Any], sql: list[Any] | None = None, **server: Any
) -> Iterator[Serving]:
    """Run an exporter whose DSN names the database, with collector files."""
    for file in files:
        (directory / f"{file['collector_name']}.yml").write_text(yaml.safe_dump(file, allow_unicode=True))
    config = database.config(**{"dsn": database.dsn(), **server})
    config["sql"] = sql or [f"./{file['collector_name']}.yml" for file in files]
    with serving(config, directory) as exporter:
        yield exporter


def values(page: Samples, name: str, *, without: tuple[str, ...] = ("server", "datname")) -> dict[Any, float]:
    """Give the samples of a metric by what tells them apart."""
    return {
        tuple(sorted(item for item in key if item[0] not in without)): value
        for key, value in page.all(name).items()
    }


def reason(page: Samples, query: str) -> str | None:
    """Give why a query fails; None if it does not."""
    failed = [dict(key)["reason"] for key in page.all(f"{QUERY}_failure_reason", query=query)]
    assert page.get(f"{QUERY}_success", query=query) == (0 if failed else 1)
    assert len(failed) < 2
    return failed[0] if failed else None


def test_rows_become_series(queue: Database, tmp_path: Path) -> None:
    named = {"query_name": "jobs", "query": "SELECT queue, priority, done, 100 % 7 AS rest FROM job;"}
    file = collector(
        gauge("app_priority", "", key_labels=["queue"], values=["priority"], query_ref="jobs"),
        gauge("app_done_total", "", type="counter", key_labels=["queue"], values=["done"], query_ref="jobs"),
        gauge(
            "app_numbers",
            "",
            key_labels=["queue"],
            static_labels={"unit": "jobs %s"},
            values=["priority", "done", "rest"],
            value_label="what",
            query_ref="jobs",
        ),
        gauge("app_queue", "SELECT queue, state FROM job", key_labels=["queue", "state"], static_value=1),
        gauge("app_open", "SELECT count(*) > 0 AS v FROM job"),
        queries=[named],
    )
    for metric in file["metrics"]:
        if "query_ref" in metric:
            del metric["query"]

    with exporting(queue, tmp_path, file, labels={"organization": "acme"}) as exporter:
        page = exporter.scrape()

    own = {"server": "main", "datname": queue.name, "organization": "acme"}
    assert page.get("app_priority", queue="mail", **own) == 3
    without = tuple(own)
    mail, printer, unit = ("queue", "mail"), ("queue", "print"), ("unit", "jobs %s")
    assert values(page, "app_priority", without=without) == {(mail,): 3}, "NULL is no sample"
    assert values(page, "app_done_total", without=without) == {(mail,): 10, (printer,): 20}
    assert values(page, "app_numbers", without=without) == {
        (mail, unit, ("what", "priority")): 3,
        (mail, unit, ("what", "done")): 10,
        (mail, unit, ("what", "rest")): 2,
        (printer, unit, ("what", "done")): 20,
        (printer, unit, ("what", "rest")): 2,
    }
    assert values(page, "app_queue", without=without) == {(mail, ("state", "waiting")): 1, (printer,): 1}
    assert page.get("app_open") == 1
    assert {dict(key)["query"] for key in page.all(f"{QUERY}_success")} == {"jobs", "app_queue", "app_open"}
    assert page.get(f"{QUERY}_rows", query="jobs", sql_collector="app", **own) == 2
    assert page.get("plimsoll_collector_success", collector="sql", target="main", **own) == 1


BAD = {
    "broken": ("failed", "SELECT nothing AS v", "does not exist"),
    "write": ("failed", "SELECT nextval('s') AS v", "read-only transaction"),
    "commit": ("failed", "SELECT 1 AS v; COMMIT", "multiple commands"),
    "slow": ("timeout", "SELECT pg_sleep(60)::text AS v", "statement timeout"),
    "held": ("locked", "SELECT a AS v FROM held", "lock timeout"),
    "denied": ("denied", "SELECT a AS v FROM private", "permission denied"),
    "last_words": (
        "connection",
        "SELECT pg_terminate_backend(pg_backend_pid()) AS v",
        "terminating connection",
    ),
    "many": ("rows", "SELECT generate_series(1, 1000000000) AS v", "more than 5 rows"),
    "twins": ("duplicate", "VALUES (1), (2)", "a series of app_twins{} stands twice"),
    "missing": ("column", "SELECT 1 AS w", "there is no column v; there are: w"),
    "text": ("value", "SELECT 'high' AS v", "is no number, but text"),
    "time": ("value", "SELECT now() AS v", "extract(epoch FROM"),
}


def test_a_bad_query_costs_its_own_metrics(queue: Database, tmp_path: Path) -> None:
    with queue.connect() as session:
        session.execute("CREATE SEQUENCE s; GRANT ALL ON s TO plimsoll; CREATE TABLE private (a int)")
        session.execute("CREATE TABLE held (a int); GRANT SELECT ON held TO plimsoll")
    bad = [gauge(f"app_{name}", query) for name, (_, query, _) in BAD.items()]
    bad[list(BAD).index("twins")]["values"] = ["column1"]
    file = collector(gauge("app_first", "SELECT 1 AS v"), *bad, gauge("app_last", "SELECT 2 AS v"))
    sql = [{"files": "./app.yml", "row_limit": 5}]
    limits = {"statement_timeout": "1s", "lock_timeout": "50ms"}

    with queue.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        with exporting(queue, tmp_path, file, sql=sql, **limits) as exporter:
            page = exporter.scrape()
            exporter.scrape()

    assert (page.get("app_first"), page.get("app_last")) == (1, 2)
    assert {name: reason(page, f"app_{name}") for name in BAD} == {
        name: why for name, (why, _, _) in BAD.items()
    }
    assert not [name for name in BAD if page.all(f"app_{name}")]
    assert page.get("plimsoll_collector_success", collector="sql") == 0
    assert page.get("plimsoll_collector_success", collector="tables", datname=queue.name) == 1
    assert page.get("pg_up") == 1
    (line,) = exporter.messages("queries failed")  # once, not at every scrape
    assert line["error"].startswith(f"{len(BAD)} of {len(BAD) + 2} queries failed: app/app_broken (failed: ")
    assert (line["collector"], line["target"], line["datname"]) == ("sql", "main", queue.name)


@pytest.mark.parametrize("name", BAD)
def test_check_tells_what_is_bad(newest_queue: Database, tmp_path: Path, name: str) -> None:
    with newest_queue.connect() as session:
        session.execute("CREATE SEQUENCE s; GRANT ALL ON s TO plimsoll; CREATE TABLE private (a int)")
        session.execute("CREATE TABLE held (a int); GRANT SELECT ON held TO plimsoll")
    why, query, told = BAD[name]
    metric = gauge(f"app_{name}", query, values=["column1"] if name == "twins" else ["v"])
    file = collector(gauge("app_fine", "SELECT 1 AS v"), metric)
    (tmp_path / "app.yml").write_text(yaml.safe_dump(file))
    config = newest_queue.config(
        dsn=newest_queue.dsn(), statement_timeout="500ms", databases={"include": [newest_queue.name]}
    )
    (tmp_path / "plimsoll.yml").write_text(
        yaml.safe_dump({**config, "sql": [{"files": "./app.yml", "row_limit": 5}]})
    )
    command = [
        sys.executable,
        "-m",
        "plimsoll",
        "check",
        f"--config.file={tmp_path}/plimsoll.yml",
        "--connect",
    ]

    with newest_queue.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1, done.stdout
    subject = f"main/{newest_queue.name}"
    assert f"ok  {subject}: query app/app_fine: 1 rows, 1 series\n" in done.stdout
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert len(bad) == 1, done.stdout
    (line,) = bad
    assert line.startswith(f"BAD {subject}: query app/app_{name} ({why}): ")
    assert told in line


def test_check_tells_what_runs_nowhere(newest_queue: Database, tmp_path: Path) -> None:
    file = collector(gauge("app_fine", "SELECT 1 AS v"))
    (tmp_path / "app.yml").write_text(yaml.safe_dump(file))
    config = newest_queue.config(databases={"include": [newest_queue.name]})
    sql = [{"files": "./app.yml", "databases": {"include": ["tenant_.*"]}}]
    (tmp_path / "plimsoll.yml").write_text(yaml.safe_dump({**config, "sql": sql}))

    done = subprocess.run(
        [sys.executable, "-m", "plimsoll", "check", f"--config.file={tmp_path}/plimsoll.yml", "--connect"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    told = f"app: `databases` selects none of those that are watched: {newest_queue.name}"
    assert f"BAD main: {told}\n" in done.stdout
    with serving({**config, "sql": sql}, tmp_path) as exporter:
        pages = [exporter.scrape() for _ in range(2)]
        assert [page.get("plimsoll_sql_databases", sql_collector="app") for page in pages] == [0, 0]
        assert [line["error"] for line in exporter.messages("run nowhere")] == [told]


STUBBORN = """
CREATE FUNCTION stubborn() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
    END LOOP;
END $$;
"""


def test_a_query_that_cannot_be_cancelled_costs_only_itself(queue: Database, tmp_path: Path) -> None:
    with queue.connect() as session:
        session.execute(STUBBORN)
    file = collector(
        gauge("app_stubborn", "SELECT stubborn() AS v"), gauge("app_jobs", "SELECT count(*) AS v FROM job")
    )
    with exporting(queue, tmp_path, file, statement_timeout="500ms") as exporter:
        eventually(lambda: exporter.scrape(timeout=1).get("app_jobs") == 2)
        page = exporter.scrape()
        assert reason(page, "app_stubborn") == "connection"
        assert page.get("plimsoll_collector_success", collector="tables", datname=queue.name) == 1
        assert exporter.messages("its backend was told to end")
        assert not exporter.messages("too many connections")


def test_no_backend_outlives_the_exporter(newest_queue: Database, tmp_path: Path) -> None:
    with newest_queue.connect() as session:
        session.execute(STUBBORN)
    file = collector(gauge("app_stubborn", "SELECT stubborn() AS v"))
    ours = "pg_stat_activity WHERE application_name = 'plimsoll' AND query LIKE 'FETCH%'"
    with exporting(newest_queue, tmp_path, file, statement_timeout="100ms") as exporter:
        exporter.scrape(timeout=1)
        newest_queue.wait_until(f"SELECT count(*) = 1 FROM {ours}")
        exporter.signal(signal.SIGTERM)
        assert exporter.process.wait(10) == 0
    newest_queue.wait_until(f"SELECT count(*) = 0 FROM {ours}", 2)


def test_gauges_are_repeated_and_counters_are_not(newest_queue: Database, tmp_path: Path) -> None:
    file = collector(
        gauge("app_waiting", "SELECT count(*) AS v FROM job"),
        gauge("app_done_total", "SELECT sum(done) AS v FROM job", type="counter"),
    )
    with exporting(newest_queue, tmp_path, file) as exporter:
        page = exporter.scrape()
        assert (page.get("app_waiting"), page.get("app_done_total")) == (2, 30)
        with newest_queue.connect(autocommit=False) as holder:
            holder.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
            page = exporter.scrape()
        assert (page.get("app_waiting"), page.get("app_done_total")) == (2, None)
        assert reason(page, "app_waiting") == reason(page, "app_done_total") == "locked"
        page = exporter.scrape()
        assert (page.get("app_waiting"), page.get("app_done_total")) == (2, 30)
        assert reason(page, "app_waiting") is None
        assert len(exporter.messages("collection works again")) == 1


def test_a_slow_query_goes_on_in_the_background(newest_queue: Database, tmp_path: Path) -> None:
    file = collector(
        gauge("app_slow", "SELECT 1 AS v, pg_sleep(2)"),
        gauge("app_fast_total", "SELECT 1 AS v", type="counter"),
    )
    with exporting(newest_queue, tmp_path, file) as exporter:
        page = exporter.scrape(timeout=1)
        assert page.get("pg_up") == 1
        assert page.get("app_slow") is None
        eventually(lambda: exporter.scrape(timeout=1).get("app_slow") == 1)


def test_without_the_server_gauges_are_repeated_and_counters_end(
    queue: Database, tmp_path: Path, proxy: Proxy
) -> None:
    file = collector(
        gauge("app_waiting", "SELECT count(*) AS v FROM job"),
        gauge("app_done_total", "SELECT sum(done) AS v FROM job", type="counter"),
    )
    dsn = queue.dsn().replace(f":{queue.server.port}/", f":{proxy.port}/")
    with exporting(queue, tmp_path, file, dsn=dsn) as exporter:
        assert exporter.scrape().get("app_done_total") == 30
        proxy.hold()
        page = exporter.scrape(timeout=2)
        assert (page.get("pg_up"), page.get("app_waiting"), page.get("app_done_total")) == (0, 2, None)


def test_an_interval_is_kept_also_across_a_reload(newest_queue: Database, tmp_path: Path) -> None:
    seldom = collector(gauge("app_seldom", "SELECT count(*) AS v FROM job"), min_interval="1h")
    often = collector(gauge("app_often", "SELECT count(*) AS v FROM job"), name="often")
    with exporting(newest_queue, tmp_path, seldom, often) as exporter:
        exporter.scrape()
        with newest_queue.connect() as session:
            session.execute("DELETE FROM job")
        page = exporter.scrape()
        assert (page.get("app_seldom"), page.get("app_often")) == (2, 0)
        (tmp_path / "often.yml").write_text(yaml.safe_dump(often).replace("Of a test.", "Of another."))
        assert exporter.fetch("/-/reload", method="POST")[0] == 200
        page = exporter.scrape()
        assert (page.get("app_seldom"), page.get("app_often")) == (2, 0)
        assert "# HELP app_often Of another." in page.text


def test_reloads_follow_collector_files(newest_queue: Database, tmp_path: Path) -> None:
    file = collector(gauge("app_jobs", "SELECT count(*) AS v FROM job"), min_interval="1h")
    with exporting(newest_queue, tmp_path, file) as exporter:
        assert exporter.scrape().get("app_jobs") == 2
        text = (tmp_path / "app.yml").read_text()
        (tmp_path / "app.yml").write_text(text.replace("count(*)", "count(*) + 5"))
        assert exporter.fetch("/-/reload", method="POST")[0] == 200
        assert exporter.scrape().get("app_jobs") == 7
        (tmp_path / "app.yml").write_text(text.replace("type: gauge", "type: gouge"))
        status, body = exporter.fetch("/-/reload", method="POST")
        assert status == 500
        assert f"{tmp_path}/app.yml:6: metrics[0].type: must be 'gauge' or 'counter', is 'gouge'" in body
        page = exporter.scrape()
        assert (page.get("app_jobs"), page.get("plimsoll_config_last_reload_successful")) == (7, 0)


@pytest.fixture
def other(newest_postgres: PostgresServer) -> Iterator[Database]:
    yield from fresh_database(newest_postgres)


def test_queries_run_in_the_databases_and_servers_that_are_named(
    newest_database: Database, other: Database, tmp_path: Path
) -> None:
    tell = "SELECT current_database() AS database, 1 AS v"
    for name in ("everywhere", "own", "elsewhere"):
        metric = gauge(f"app_{name}", tell, key_labels=["database"])
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(collector(metric, name=name)))
    config = newest_database.config(databases={"include": [newest_database.name, other.name]})
    (server,) = config["postgres"]["servers"]
    config["postgres"]["servers"].append({**server, "name": "second", "labels": {"tier": "test"}})
    config["sql"] = [
        {"files": "./everywhere.yml", "databases": {"include": ["test_.*"]}},
        "./own.yml",
        {"files": ["./own.yml", "./everywhere.yml"], "databases": {"exclude": [other.name]}},  # not twice
        {"files": "./elsewhere.yml", "servers": ["sec.*"], "databases": {"exclude": [newest_database.name]}},
    ]

    with serving(config, tmp_path) as exporter:
        page = exporter.scrape()
        assert page.get("plimsoll_collector_success", collector="sql", server="main", datname=other.name) == 1
        other_gone(other)
        after = exporter.scrape()

    def places(page: Samples, name: str) -> set[tuple[str, str]]:
        found = [dict(key) for key in page.all(name)]
        assert all(key["datname"] == key["database"] for key in found)
        assert all(key.get("tier") == ("test" if key["server"] == "second" else None) for key in found)
        return {(key["server"], key["datname"]) for key in found}

    both = {(server, each.name) for server in ("main", "second") for each in (newest_database, other)}
    assert places(page, "app_everywhere") == both
    assert places(page, "app_own") == {
        (server, name) for server in ("main", "second") for name in ("postgres", newest_database.name)
    }
    assert places(page, "app_elsewhere") == {("second", other.name)}
    assert places(after, "app_everywhere") == {
        (server, newest_database.name) for server in ("main", "second")
    }
    assert places(after, "app_elsewhere") == set()
    assert not after.all(f"{QUERY}_success", datname=other.name)


def other_gone(database: Database) -> None:
    with database.connect("postgres") as session:
        session.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(database.name)))


def test_a_series_of_two_queries_is_refused_once(newest_queue: Database, tmp_path: Path) -> None:
    first = collector(gauge("app_jobs", "SELECT 'a' AS kind, 1 AS v", key_labels=["kind"]))
    second = collector(
        gauge("app_jobs", "SELECT * FROM (VALUES ('a', 2), ('b', 3)) t (kind, v)", key_labels=["kind"]),
        name="again",
    )
    with exporting(newest_queue, tmp_path, first, second) as exporter:
        for _ in range(2):
            page = exporter.scrape()
            assert values(page, "app_jobs") == {(("kind", "a"),): 1}
            success = {
                dict(key)["sql_collector"]: value for key, value in page.all(f"{QUERY}_success").items()
            }
            assert success == {"app": 1, "again": 0}


def test_the_shipped_collector_file_runs_on_its_schema(database: Database, tmp_path: Path) -> None:
    with database.connect() as session:
        session.execute((SHIPPED / "agents.sql").read_bytes())
        session.execute("INSERT INTO plimsoll_agents.agents (agent) VALUES ('anna'), ('bob')")

    with exporting(database, tmp_path, sql=["agents"]) as exporter:
        page = exporter.scrape()

    assert page.get("plimsoll_collector_success", collector="sql") == 1, exporter.messages("queries failed")
    assert page.all(f"{QUERY}_success")
    assert set(page.all(f"{QUERY}_success").values()) == {1}
    heartbeats = page.all("agent_last_heartbeat_timestamp_seconds", server="main", datname=database.name)
    assert {dict(key)["agent"] for key in heartbeats} == {"anna", "bob"}


def test_the_example_of_the_readme_runs(newest_database: Database, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    example = re.search(r"<!-- collector -->\n```yaml\n(.*?)```", readme, re.DOTALL)
    assert example
    (tmp_path / "queue.yml").write_text(example[1])
    with newest_database.connect() as session:
        session.execute("CREATE TABLE job (queue text, started_at timestamptz)")
        session.execute("INSERT INTO job VALUES ('mail', NULL), ('mail', NULL), ('mail', now())")
        session.execute("GRANT SELECT ON job TO plimsoll")

    with exporting(newest_database, tmp_path, sql=["./queue.yml"]) as exporter:
        jobs = values(
            exporter.scrape(), "app_queue_jobs", without=("server", "datname", "application", "queue")
        )

    assert jobs == {(("state", "waiting"),): 2, (("state", "running"),): 1}
