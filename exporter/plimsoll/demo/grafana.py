"""Grafana as the demo runs it, where there is one: on the shipped files, open to all, calling nobody."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from plimsoll.demo import programs
from plimsoll.demo.processes import ProcessError, write_private
from plimsoll.demo.service import LOOPBACK, Command, Listener, Service
from plimsoll.shipped import shipped

_PACKAGE = Path("/usr/share/grafana"), Path("/var/lib/grafana/plugins-bundled")
"""Where Debian's package has its files, and what was a part of the program in former releases."""

_FOREIGN = ("GF_", "PG", "PLIMSOLL_")
"""How variables begin that would change what we set."""


def find() -> Path | None:
    """Return the program on PATH, if there is one."""
    return programs.find("grafana") or programs.find("grafana-server")


def running(
    program: Path,
    directory: Path,
    *,
    prometheus: str,
    alertmanager: str,
    history: str | None = None,
    port: int = 0,
) -> contextlib.AbstractContextManager[Service]:
    """Run Grafana, whose home is the dashboard of storage.

    Args:
        program: the path of `grafana` or `grafana-server`.
        directory: where its configuration, log and data stand.
        prometheus: the URL of Prometheus.
        alertmanager: the URL of Alertmanager.
        history: a connection string for the history of alerts; None leaves that data source without one.
        port: where it listens, if nobody else does; 0 leaves the choice to the system.

    Raises:
        ProcessError: what it reads at first is not where it is looked for.
    """
    home = _home(program)
    program = _itself(program, home)
    subcommand = ["server"] if program.name == "grafana" else []
    data = directory / "grafana"
    data.mkdir(mode=0o700, exist_ok=True)  # what its database hides, any Grafana can read
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
        "GRAFANA_HOME": str(home),  # for the script that the packages put on PATH
        "PLIMSOLL_PROMETHEUS_URL": prometheus,
        "PLIMSOLL_ALERTMANAGER_URL": alertmanager,
        "PLIMSOLL_DASHBOARDS": str(shipped("grafana") / "dashboards"),
        **_history(history),
    }

    def command(port: int) -> Command:
        file = write_private(directory / "grafana.ini", _configuration(home, data, port))
        return [program, *subcommand, f"--homepath={home}", f"--config={file}"]

    return Listener(
        "Grafana",
        command,
        directory / "grafana.log",
        announcement="HTTP Server Listen",
        env=environment,
        ready="/api/health",
        patience=90,  # it makes its database first
    ).running(port)


def _home(program: Path) -> Path:
    """Return the folder with `conf` and `public`: above `bin`, or where packages put it."""
    above = program.resolve().parents[1]
    places = (above, above / "share/grafana", _PACKAGE[0])
    for place in places:
        if (place / "conf/defaults.ini").is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise ProcessError(f"{program} has no conf/defaults.ini in any of {looked}")


def _itself(program: Path, home: Path) -> Path:
    """Return the program that a package's script on PATH would run with the settings of the system."""
    places = (home / "bin" / name for name in ("grafana", "grafana-server"))
    return next((place for place in places if os.access(place, os.X_OK)), program)


def _bundled(home: Path) -> str:
    """Say where the plugins are that come with it, PostgreSQL's and Prometheus' among them since 13."""
    for place in (home / "data/plugins-bundled", _PACKAGE[1]):
        with contextlib.suppress(OSError):
            if any(place.iterdir()):
                return f'bundled_plugins = """{place}"""\n'
    return ""


def _history(dsn: str | None) -> Mapping[str, str]:
    """Give the login of the history in variables; all are set, so that none is taken from elsewhere."""
    parts = conninfo_to_dict(dsn or "")
    return {
        "PLIMSOLL_HISTORY_HOST": f"{parts['host']}:{parts['port']}" if dsn else "",
        "PLIMSOLL_HISTORY_DATABASE": str(parts.get("dbname", "")),
        "PLIMSOLL_HISTORY_USER": str(parts.get("user", "")),
        "PLIMSOLL_HISTORY_PASSWORD": str(parts.get("password", "")),
        "PLIMSOLL_HISTORY_SSLMODE": "disable",
    }


def _configuration(home: Path, data: Path, port: int) -> str:
    """Write grafana.ini; triple quotes let paths hold what begins a comment."""
    ours = shipped("grafana")
    return f'''\
[paths]
data = """{data}"""
logs = """{data / "log"}"""
plugins = """{data / "plugins"}"""
provisioning = """{ours / "provisioning"}"""
{_bundled(home)}
[server]
protocol = http
http_addr = {LOOPBACK}
http_port = {port}
domain = {LOOPBACK}

[dashboards]
default_home_dashboard_path = """{ours / "dashboards/storage.json"}"""

[auth]
disable_login_form = true

[auth.anonymous]
enabled = true
org_role = Viewer

[security]
admin_password = {secrets.token_urlsafe(16)}
disable_gravatar = true

[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
feedback_links_enabled = false

[news]
news_feed_enabled = false

[snapshots]
external_enabled = false

[plugins]
preinstall_disabled = true
plugin_admin_enabled = false
public_key_retrieval_disabled = true

[log]
mode = console
'''
