"""Reloading and stopping, also in the middle of a collection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from fix_postgres import Database
from proxy import Proxy
from serving import Serving, serving
from waiting import eventually


@pytest.fixture
def database(newest_database: Database) -> Database:
    """Nothing here depends on the release."""
    return newest_database


def reload_by_signal(exporter: Serving) -> None:
    logged = len(exporter.messages("configuration "))
    exporter.signal(signal.SIGHUP)
    eventually(lambda: len(exporter.messages("configuration ")) > logged)


def reload_by_post(exporter: Serving) -> None:
    exporter.fetch("/-/reload", method="POST")


@pytest.mark.parametrize("reload", [reload_by_signal, reload_by_post])
def test_a_bad_file_is_refused_and_the_former_configuration_goes_on(
    database: Database, tmp_path: Path, reload: object
) -> None:
    file = tmp_path / "plimsoll.yml"
    with serving(database.config(), tmp_path) as exporter:
        good = file.read_text()
        assert exporter.scrape().get("plimsoll_config_last_reload_successful") == 1
        file.write_text(good.replace("name: main", "nam: main"))
        reload(exporter)  # type: ignore[operator]
        page = exporter.scrape()
        assert page.get("plimsoll_config_last_reload_successful") == 0
        assert page.get("pg_up", server="main") == 1
        (line,) = exporter.messages("configuration refused")
        assert "nam: unknown key" in line["problems"]
        file.write_text(good.replace("name: main", "name: renamed"))
        reload(exporter)  # type: ignore[operator]
        page = exporter.scrape()
        assert page.get("plimsoll_config_last_reload_successful") == 1
        assert page.get("pg_up", server="renamed") == 1
        assert page.get("pg_up", server="main") is None


def test_a_refused_reload_answers_with_the_reason(database: Database, tmp_path: Path) -> None:
    with serving(database.config(), tmp_path) as exporter:
        (tmp_path / "plimsoll.yml").write_text("nonsense: 1\n")
        status, body = exporter.fetch("/-/reload", method="POST")
        assert status == 500
        assert f"{tmp_path}/plimsoll.yml:1: nonsense: unknown key; allowed: postgres" in body


def test_reload_in_the_middle_of_a_collection(database: Database, proxy: Proxy, tmp_path: Path) -> None:
    """The new configuration goes on from what is known, and waits for the old one's connections."""
    file = tmp_path / "plimsoll.yml"
    with serving(database.config(port=proxy.port), tmp_path) as exporter:
        before = exporter.scrape()
        for labels in ({"team": "a"}, {"team": "b"}, {"team": "c"}):
            proxy.hold(after_bytes=700)
            with ThreadPoolExecutor() as pool:
                scrape = pool.submit(exporter.scrape, timeout=5)
                assert proxy.holding.wait(10)
                config = database.config(port=proxy.port, labels=labels)
                file.write_text(yaml.safe_dump(config))
                assert exporter.fetch("/-/reload", method="POST") == (200, "Reloaded\n")
                proxy.release()
                assert scrape.result().tables() == before.tables(), "sizes outlive the reload"
            eventually(lambda: set(exporter.scrape().all("plimsoll_collector_success").values()) == {1})
            assert exporter.scrape().all("pg_stat_user_tables_size_bytes", **labels)
        assert not exporter.messages("too many connections")


def test_an_unchanged_server_is_not_measured_again(database: Database, tmp_path: Path) -> None:
    with serving(database.config(tables={"interval": "1h"}), tmp_path) as exporter:
        measured = exporter.scrape().all("pg_sizes_oldest_timestamp_seconds", datname=database.name)
        reload_by_post(exporter)
        assert exporter.scrape().all("pg_sizes_oldest_timestamp_seconds", datname=database.name) == measured


def test_an_interval_is_kept(database: Database, tmp_path: Path) -> None:
    config = database.config(tables={"interval": "1h"})
    with database.connect() as session, serving(config, tmp_path) as exporter:
        session.execute("CREATE TABLE early (a int)")
        assert "early" in exporter.scrape().tables(datname=database.name)
        session.execute("CREATE TABLE late (a int)")
        assert "late" not in exporter.scrape().tables(datname=database.name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_in_the_middle_of_a_collection(
    database: Database, proxy: Proxy, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(database.config(port=proxy.port), tmp_path) as exporter:
        proxy.hold(after_bytes=700)
        with ThreadPoolExecutor() as pool:
            scrape = pool.submit(exporter.fetch, "/metrics")
            assert proxy.holding.wait(10)
            started = time.monotonic()
            exporter.signal(number)
            status, _ = scrape.result()
            assert exporter.process.wait(10) == 0
            assert time.monotonic() - started < 5
            assert status == 200, "who waited got what was known"
    proxy.release()
    database.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'plimsoll'")


def test_a_taken_port_is_said(database: Database, tmp_path: Path) -> None:
    with serving(database.config(), tmp_path) as exporter:
        address = exporter.url.removeprefix("http://")
        second = subprocess.run(
            [sys.executable, "-m", "plimsoll", "serve", f"--web.listen-address={address}"],
            env={**os.environ, "DATA_SOURCE_NAME": "host=127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "cannot listen" in second.stderr
    assert "Traceback" not in second.stderr
