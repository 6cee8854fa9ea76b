"""Debian's postgres_exporter, with a file of queries that give what Plimsoll gives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

from bench.database import BenchServer
from bench.watchers import Watcher, scraped
from plimsoll.demo.service import Listener
from support import require_program, said_by

ROLE = "postgres_exporter"

# Written with care: no size is asked for twice, and the statistics view, slow with many tables, is not used.
_TABLES = """\
SELECT current_database() AS datname, schemaname, relname, table_size + index_size AS size_bytes,
       table_size AS table_size_bytes, toast_size AS toast_size_bytes, index_size AS index_size_bytes,
       n_live_tup, n_dead_tup
FROM (SELECT n.nspname AS schemaname, c.relname, pg_table_size(c.oid) AS table_size,
             CASE WHEN c.reltoastrelid = 0 THEN 0
                  ELSE pg_total_relation_size(c.reltoastrelid) END AS toast_size,
             pg_indexes_size(c.oid) AS index_size,
             pg_stat_get_live_tuples(c.oid) AS n_live_tup, pg_stat_get_dead_tuples(c.oid) AS n_dead_tup
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      OFFSET 0) AS measured
"""
_LABELS = ("datname", "schemaname", "relname")
_GAUGES = (
    "size_bytes",
    "table_size_bytes",
    "toast_size_bytes",
    "index_size_bytes",
    "n_live_tup",
    "n_dead_tup",
)
_DATABASE = (
    "SELECT datname, pg_database_size(oid) AS size_bytes FROM pg_database WHERE datname = current_database()"
)


@contextlib.contextmanager
def postgres_exporter(server: BenchServer, folder: Path, *, database_sizes: bool) -> Iterator[Watcher]:
    """Run it on the database of the bench; the role must exist."""
    queries = {"pg_stat_user_tables": _query(_TABLES, _LABELS, _GAUGES)}
    if database_sizes:
        queries["pg_database"] = _query(_DATABASE, ("datname",), ("size_bytes",))
    file = folder / "queries.yml"
    file.write_text(yaml.safe_dump(queries), "utf-8")
    environment = {**os.environ, "DATA_SOURCE_NAME": f"{server.dsn(ROLE)}?sslmode=disable"}
    listener = Listener(
        "postgres_exporter",
        partial(_command, file),
        folder / "postgres_exporter.log",
        "Listening on",
        env=environment,
        ready="/",
    )
    with (
        listener.running(9187) as service,
        scraped(server, ROLE, service.process.pid, service.url) as watcher,
    ):
        yield watcher


def _command(queries: Path, port: int) -> list[str]:
    return [
        require_program("postgres_exporter"),
        f"--web.listen-address=127.0.0.1:{port}",
        f"--extend.query-path={queries}",
        "--disable-default-metrics",
        "--disable-settings-metrics",
        "--no-collector.database",
        "--no-collector.bgwriter",
    ]


def versions() -> dict[str, str]:
    """Give its release."""
    return {"postgres_exporter": said_by(require_program("postgres_exporter"), "--version").split()[2]}


def _query(text: str, labels: tuple[str, ...], gauges: tuple[str, ...]) -> dict[str, object]:
    columns = [(label, "LABEL") for label in labels] + [(gauge, "GAUGE") for gauge in gauges]
    return {
        "query": text,
        "metrics": [{name: {"usage": usage, "description": name}} for name, usage in columns],
    }
