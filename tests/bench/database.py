"""The PostgreSQL of the benches: one server that also tells how long it worked for whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from bench.processes import family_cpu_seconds, private_memory
from fix_postgres import TOOLS
from plimsoll import __version__
from plimsoll.demo.postgres import PostgresServer

PASSWORD = "of-the-bench"
DATABASE = "bench"

_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "autovacuum": "off",  # it would come and go as it likes
    "shared_buffers": "1GB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "20GB",
    "checkpoint_timeout": "1h",
    "max_locks_per_transaction": "2000",  # thousands of tables are made in one transaction
}


class BenchServer:
    """A running server, and a superuser's session that looks at it.

    The time that the server works for an exporter is what pg_stat_statements gives for its role: planning and
    execution of every statement, those of transaction control too. What that leaves out (logging in, parsing)
    is in the processor time of the server.
    """

    def __init__(self, server: PostgresServer, session: psycopg.Connection) -> None:
        self.server = server
        self.session = session

    @property
    def versions(self) -> dict[str, str]:
        """The server's release, and ours."""
        server = str(self.session.info.parameter_status("server_version"))
        return {"PostgreSQL": server, "Plimsoll": __version__}

    def create_watcher(self, role: str) -> None:
        """Create another role that may see what the role plimsoll may."""
        name = sql.Identifier(role)
        self.session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, PASSWORD))
        self.session.execute(sql.SQL("GRANT pg_monitor TO {}").format(name))

    def dsn(self, role: str, dbname: str = DATABASE) -> str:
        """Give a role's DSN, over TCP."""
        return self.server.dsn(dbname, role, PASSWORD)

    def worked_for(self, role: str) -> float:
        """Give the seconds that the server has planned and executed statements for a role."""
        found = self.session.execute(
            "SELECT coalesce(sum(total_plan_time + total_exec_time), 0) / 1000"
            " FROM pg_stat_statements WHERE toplevel AND userid = %s::regrole",
            [role],
        ).fetchone()
        assert found is not None
        return float(found[0])

    def cpu_seconds(self) -> float:
        """Give the processor time of the server, without that of our session."""
        return family_cpu_seconds(self.server.pid, without=[self.session.info.backend_pid])

    def session_memory(self, role: str) -> float:
        """Give the MiB that the sessions which a role holds open at present take for themselves."""
        sessions = self.session.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", [role])
        return private_memory(pid for (pid,) in sessions)

    def connect(self) -> psycopg.Connection:
        """Log in as the superuser to the database of the bench."""
        return psycopg.connect(self.server.dsn(DATABASE), autocommit=True)


@contextlib.contextmanager
def bench_server(directory: Path, **settings: str) -> Iterator[BenchServer]:
    """Start the newest release that is set up, with the role plimsoll and the database `bench`."""
    with PostgresServer(_newest(), directory, _SETTINGS | settings) as server:
        server.create_role(PASSWORD)
        with psycopg.connect(server.dsn(), autocommit=True) as session:
            session.execute("CREATE EXTENSION pg_stat_statements")
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            yield BenchServer(server, session)


def _newest() -> Path:
    releases = [int(folder.name) for folder in (TOOLS / "postgresql").iterdir()]
    return TOOLS / "postgresql" / str(max(releases)) / "bin"
