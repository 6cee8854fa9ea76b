"""What the demo tells Grafana, as a stand-in understands it: there is no Grafana to test with."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from demonstration import UP, demo
from fix_postgres import Database
from plimsoll.demo import grafana
from plimsoll.demo.processes import ProcessError, free_port
from plimsoll.demo.service import Service, fetch
from plimsoll.shipped import shipped
from stand_in_grafana import install
from support import PATH

BROKEN = "#!/bin/sh\necho 'Error: database is locked' >&2\nexit 3\n"


def report(service: Service) -> dict[str, Any]:
    """Give what the stand-in made of what it was told."""
    found: dict[str, Any] = json.loads(fetch(service.url))
    return found


def started(program: Path, directory: Path, **keys: Any) -> dict[str, Any]:
    """Run it, and give what it made of what it was told."""
    directory.mkdir()
    addresses = {"prometheus": "http://127.0.0.1:1", "alertmanager": "http://127.0.0.1:2"}
    with grafana.running(program, directory, **{**addresses, **keys}) as service:
        return report(service)


@pytest.mark.parametrize("name", ["grafana", "grafana-server"])
@pytest.mark.parametrize(
    ("program", "home"),
    [("grafana-12.4.1/bin", "grafana-12.4.1"), ("usr/sbin", "usr/share/grafana")],
    ids=["archive", "package"],
)
def test_its_home_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, program: str, home: str
) -> None:
    install(tmp_path / program / name, tmp_path / home)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(tmp_path / program / name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = grafana.find()
    assert found == tmp_path / "bin" / name
    made = started(found, tmp_path / "own")
    assert made["flags"]["homepath"] == made["environment"]["GRAFANA_HOME"] == str(tmp_path / home)


def test_a_program_without_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "grafana"
    monkeypatch.setattr(grafana, "_PACKAGE", (tmp_path / "no package", tmp_path / "no plugins"))
    with pytest.raises(ProcessError, match=rf"^{program} has no conf/defaults.ini in any of {tmp_path}, "):
        started(program, tmp_path / "own")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return install(tmp_path / "grafana" / "bin" / "grafana", tmp_path / "grafana")


def test_it_is_told_where_everything_is(program: Path, tmp_path: Path) -> None:
    history = "postgresql://grafana:p%24{w}@127.0.0.1:5433/history"
    made = started(program, tmp_path / "own", history=history)
    sources = {source["uid"]: source for source in made["datasources"]}
    assert sources["plimsoll-prometheus"]["url"] == "http://127.0.0.1:1"
    assert sources["plimsoll-alertmanager"]["url"] == "http://127.0.0.1:2"
    kept = sources["plimsoll-history"]
    assert (kept["url"], kept["user"], kept["database"]) == ("127.0.0.1:5433", "grafana", "history")
    assert (kept["jsonData"]["database"], kept["jsonData"]["sslmode"]) == ("history", "disable")
    assert kept["secureJsonData"] == {"password": "p${w}"}
    assert made["home"] == "plimsoll-storage"
    shown = {json.loads(path.read_text())["uid"] for path in (shipped("grafana") / "dashboards").glob("*")}
    assert set(made["dashboards"]) == shown


def test_without_a_history_its_login_is_empty(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLIMSOLL_HISTORY_PASSWORD", "of the user's own")
    made = started(program, tmp_path / "own")
    (kept,) = (source for source in made["datasources"] if source["uid"] == "plimsoll-history")
    assert (kept["url"], kept["user"], kept["secureJsonData"]) == ("", "", {"password": ""})


def test_whoever_looks_is_a_viewer_and_nobody_is_called(program: Path, tmp_path: Path) -> None:
    settings = started(program, tmp_path / "own")["settings"]
    assert settings["server"]["http_addr"] == settings["server"]["domain"] == "127.0.0.1"
    assert settings["auth.anonymous"] == {"enabled": "true", "org_role": "Viewer"}
    assert len(settings["security"]["admin_password"]) > 20
    assert set(settings["analytics"].values()) == {"false"}
    assert settings["news"] == {"news_feed_enabled": "false"}
    assert settings["security"]["disable_gravatar"] == settings["plugins"]["preinstall_disabled"] == "true"


def test_all_that_it_writes_is_below_the_directory(program: Path, tmp_path: Path) -> None:
    own = tmp_path / "a #1; b"
    made = started(program, own)
    paths = made["settings"]["paths"]
    assert {Path(paths[name]).relative_to(own).parts[0] for name in ("data", "logs", "plugins")} == {
        "grafana"
    }
    assert paths["provisioning"] == str(shipped("grafana") / "provisioning")
    assert made["flags"]["config"] == str(own / "grafana.ini")
    assert stat.S_IMODE((own / "grafana.ini").stat().st_mode) == 0o600


def test_variables_that_would_change_it_are_kept_from_it(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GF_PATHS_DATA", "PGSSLMODE", "PLIMSOLL_DASHBOARDS"):
        monkeypatch.setenv(name, "/elsewhere")
    made = started(program, tmp_path / "own")
    assert "/elsewhere" not in made["environment"].values()


def test_others_may_not_look_into_its_database(program: Path, tmp_path: Path) -> None:
    data = Path(started(program, tmp_path / "own")["settings"]["paths"]["data"])
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_the_script_of_a_package_does_not_come_between(tmp_path: Path) -> None:
    """Older ones wait for the program, which then outlives what ends them."""
    home = tmp_path / "usr" / "share" / "grafana"
    script = install(tmp_path / "usr" / "sbin" / "grafana-server", home, script=BROKEN)
    install(home / "bin" / "grafana", home)
    assert started(script, tmp_path / "own")["flags"]["homepath"] == str(home)


def test_plugins_that_come_with_it_are_found(program: Path, tmp_path: Path) -> None:
    assert "bundled_plugins" not in started(program, tmp_path / "one")["settings"]["paths"]
    bundled = tmp_path / "grafana" / "data" / "plugins-bundled"
    (bundled / "prometheus").mkdir(parents=True)
    assert started(program, tmp_path / "two")["settings"]["paths"]["bundled_plugins"] == str(bundled)


def test_a_port_that_is_taken_is_left_to_others(program: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    addresses = {"prometheus": "http://127.0.0.1:1", "alertmanager": "http://127.0.0.1:2"}
    with grafana.running(program, tmp_path / "one", **addresses, port=free_port()) as service:
        port = int(service.address.rpartition(":")[2])
        made = started(program, tmp_path / "two", port=port)
        assert made["settings"]["server"]["http_port"] != str(port)


@pytest.mark.long
def test_one_that_does_not_start_costs_the_demo_nothing(tmp_path: Path, newest_database: Database) -> None:
    program = install(tmp_path / "grafana" / "bin" / "grafana", tmp_path / "grafana", script=BROKEN)
    with demo("--dsn", newest_database.dsn("postgres"), path=f"{program.parent}:{PATH}") as running:
        running.wait_for("\nError: database is locked\n")
        assert "going on without it: starting Grafana: it ended with status 3; the end of " in running.text
        assert UP in running.text
        assert running.end(signal.SIGINT) == 0
