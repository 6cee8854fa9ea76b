"""The built wheel, installed outside the checkout in an empty environment: checks, serves, runs the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from demonstration import demo
from fix_postgres import Database
from plimsoll.demo import exporter
from plimsoll.demo.service import Listener, fetch
from stand_in_grafana import install
from support import PATH, require_program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it with the demo's PostgreSQL, and give the folder of its programs."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    # By our own pip, for a Debian without python3-venv cannot put one into an environment.
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", f"{wheel}[demo]")
    return environment / "bin"


def run(*command: str | Path) -> str:
    """Run a program outside the checkout, where it has to succeed, and give what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd="/", env=inherited, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(600)  # it may have to download PostgreSQL
def test_the_wheel_checks_serves_and_runs_the_demo(
    scripts: Path, newest_database: Database, tmp_path: Path
) -> None:
    location = run(scripts / "python", "-c", "import plimsoll; print(plimsoll.__file__)")
    assert location.startswith(str(scripts.parent))
    shipped = (
        "from plimsoll.serve.settings.sql import SHIPPED; print(*sorted(f.name for f in SHIPPED.iterdir()))"
    )
    assert run(scripts / "python", "-c", shipped).split() == ["agents.sql", "agents.yml"]
    configuration = exporter.write_configuration(tmp_path, {"main": newest_database.dsn("postgres")})
    checks(scripts / "plimsoll", configuration)
    serves(scripts / "plimsoll", configuration, tmp_path)
    runs_the_demo(scripts, tmp_path)


def checks(plimsoll: Path, configuration: Path) -> None:
    said = run(plimsoll, "check", "--connect", f"--config.file={configuration}")
    assert "\nok  main: PostgreSQL " in said


def serves(plimsoll: Path, configuration: Path, directory: Path) -> None:
    def command(port: int) -> list[str | Path]:
        flags = [f"--config.file={configuration}", f"--web.listen-address=127.0.0.1:{port}"]
        return [plimsoll, "serve", *flags]

    listener = Listener("serve", command, directory / "log", announcement="msg=listening")
    with listener.running(0) as service:
        page = fetch(f"{service.url}/metrics")
    assert 'pg_up{server="main"} 1' in page
    assert "\npg_database_size_bytes{" in page


def runs_the_demo(scripts: Path, directory: Path) -> None:
    for name in ("prometheus", "promtool"):
        require_program(name)
    require_program("alertmanager", "prometheus-alertmanager")
    grafana = install(directory / "grafana" / "bin" / "grafana", directory / "grafana")
    with demo(plimsoll=[scripts / "plimsoll"], path=f"{grafana.parent}:{PATH}") as running:
        running.wait_for("FIRING  TableGrowthHigh", 120)
        rules = json.loads(fetch(f"{running.address('Prometheus')}/api/v1/rules"))["data"]["groups"]
        files = {Path(group["file"]) for group in rules}
        assert {path.name for path in files} == {"recording.yml", "alerts.yml"}
        # Where a port was taken, the alerts are compiled with links to another.
        folders = (scripts.parent, running.folder)
        assert all(any(path.is_relative_to(folder) for folder in folders) for path in files)
        running.wait_for("\nGrafana       http")
        shows_the_dashboards(json.loads(fetch(running.address("Grafana"))), scripts.parent)


def shows_the_dashboards(report: dict[str, Any], installation: Path) -> None:
    provisioning = Path(report["settings"]["paths"]["provisioning"])
    assert provisioning.is_relative_to(installation)
    assert {path.name for path in provisioning.parent.iterdir()} == {"provisioning", "dashboards"}
    assert report["home"] in report["dashboards"]
