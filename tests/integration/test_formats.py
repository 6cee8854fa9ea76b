"""What a scraper gets: formats, compression, HEAD; and what the log tells."""

from __future__ import annotations

import gzip
import urllib.request
from pathlib import Path

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from fix_postgres import Database
from serving import Serving, serving

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def ask(exporter: Serving, method: str = "GET", **headers: str) -> tuple[dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{exporter.url}/metrics", method=method, headers=named)
    with urllib.request.urlopen(request, timeout=15) as response:
        return dict(response.headers), response.read()


def test_formats_and_compression_by_request(newest_database: Database, tmp_path: Path) -> None:
    with newest_database.connect() as session:
        session.execute('CREATE TABLE "a ""b"" \\ c" (a int)')
    with serving(newest_database.config(), tmp_path) as exporter:
        headers, plain = ask(exporter)
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "Content-Encoding" not in headers

        headers, packed = ask(exporter, Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert len(packed) < len(plain) / 3
        names = {line.partition("{")[0] for line in plain.decode().splitlines()}
        assert {line.partition("{")[0] for line in gzip.decompress(packed).decode().splitlines()} >= {
            name for name in names if name.startswith("pg_")
        }

        headers, page = ask(exporter, Accept=OPENMETRICS)
        assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = {family.name: family for family in parse_openmetrics(page.decode())}  # type: ignore[no-untyped-call]
        relnames = {s.labels["relname"] for s in families["pg_stat_user_tables_size_bytes"].samples}
        assert 'a "b" \\ c' in relnames
        assert "process_cpu_seconds" in families


def test_head_is_answered_without_a_collection(newest_database: Database, tmp_path: Path) -> None:
    with serving(newest_database.config(), tmp_path) as exporter:
        headers, body = ask(exporter, "HEAD")
        assert body == b""
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        with newest_database.connect() as session:
            seen = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'plimsoll'"
            assert session.execute(seen).fetchone() == (0,)
        assert not exporter.messages("collection")


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
@pytest.mark.parametrize("source", ["file", "environment"])
def test_no_password_is_logged(
    newest_database: Database, tmp_path: Path, log_format: str, source: str
) -> None:
    """Neither at the most talkative level, nor when the log-in fails."""
    dsn = psycopg.conninfo.make_conninfo(newest_database.dsn(), password="hunter2")
    config = {"postgres": {"servers": [{"name": "main", "dsn": dsn}]}} if source == "file" else None
    flags = ("--log.level=debug", f"--log.format={log_format}")
    with serving(config, tmp_path, *flags, env={"DATA_SOURCE_NAME": dsn}) as exporter:
        assert exporter.scrape().get("pg_up", server="main") == 0
        assert exporter.fetch("/-/reload", method="POST")[0] == 200
        exporter.scrape()
    assert any("password authentication failed" in str(line) for line in exporter.log)
    assert not any("hunter2" in str(line) for line in exporter.log)
