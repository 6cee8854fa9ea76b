"""The units of docs/systemd: systemd finds nothing wrong, and what they run does its work and no more."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from psycopg import sql

from engines import Engine
from fix_postgres import Database, fresh_database
from plimsoll.cli import _parser
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.processes import workspace
from plimsoll.demo.service import fetch
from serving import Samples, Serving, serving
from support import missing, require_program, said_by
from units import UNITS, Systemd, program, unmet
from waiting import eventually

PAGE = (UNITS.parent / "systemd.md").read_text()
HIGHEST_EXPOSURE = {"plimsoll": 1.5, "plimsoll-relay": 1.5}
"""By unit, of 10: what docs/systemd.md says. Releases of systemd differ by some tenths."""
WITH_CONTAINERS = 1.8
TOKEN_GROUP, ENGINE_GROUP = 64242, 64243
PREPARED = f"""\
sed -i '/^docker:/d' /etc/group
echo 'plimsoll-token:x:{TOKEN_GROUP}:' >>/etc/group
echo 'docker:x:{ENGINE_GROUP}:' >>/etc/group
install -m 660 -g docker /dev/null /run/engine.sock
"""
"""Two groups, and what has the mode of an engine's socket."""
CREDENTIALS = "/run/credentials"
SECRETS = ("main", "ops", "history", "relay")


def analyze(*arguments: str | Path, units: Path) -> tuple[int, str]:
    """Run systemd-analyze on units in a folder, which finds the system's, too; gives status and words."""
    if not (found := program("systemd-analyze")):
        missing("systemd-analyze is not there: `make setup` fetches it on Debian")
    done = subprocess.run(
        found.command("--no-pager", *arguments),
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Give a folder with the units, whose program is there, and with their drop-ins."""
    plimsoll = str(Path(sys.executable).with_name("plimsoll"))
    for name in HIGHEST_EXPOSURE:
        text = (UNITS / f"{name}.service").read_text()
        (tmp_path / f"{name}.service").write_text(text.replace("/opt/plimsoll/bin/plimsoll", plimsoll))
    (tmp_path / "with-containers.service").write_text((tmp_path / "plimsoll.service").read_text())
    drop_in = tmp_path / "with-containers.service.d"
    drop_in.mkdir()
    (drop_in / "containers.conf").write_text((UNITS / "plimsoll-containers.conf").read_text())
    return tmp_path


@pytest.mark.parametrize("name", [*HIGHEST_EXPOSURE, "with-containers"])
def test_nothing_is_wrong_with_a_unit(name: str, installed: Path) -> None:
    wrong = analyze("verify", "--man=no", "--recursive-errors=no", f"{name}.service", units=installed)
    assert wrong == (0, "")


def test_what_is_wrong_is_found(installed: Path) -> None:
    unit = installed / "plimsoll.service"
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    _, said = analyze("verify", "--man=no", "--recursive-errors=no", unit.name, units=installed)
    assert "ProtectHouse" in said


@pytest.mark.parametrize(
    ("name", "highest"), [*HIGHEST_EXPOSURE.items(), ("with-containers", WITH_CONTAINERS)]
)
def test_exposure(name: str, highest: float, installed: Path) -> None:
    threshold = f"--threshold={highest * 10:.0f}"
    status, said = analyze("security", "--offline=yes", threshold, f"{name}.service", units=installed)
    assert status == 0, said


# --- docs/systemd.md --------------------------------------------------------------------------------------


def test_the_exposure_that_is_told_is_tested() -> None:
    told = dict(re.findall(r"\(systemd/([\w-]+)\.\w+\) \|.*\| ([0-9.]+) \|", PAGE))
    expected = {**HIGHEST_EXPOSURE, "plimsoll-containers": WITH_CONTAINERS}
    assert told == {name: str(highest) for name, highest in expected.items()}


COMMANDS = re.findall(
    r"bin/plimsoll (.*)", "\n".join([PAGE, *(file.read_text() for file in UNITS.iterdir())])
)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_exists(command: str) -> None:
    assert _parser().parse_args(shlex.split(command)).config_file == Path("/etc/plimsoll/plimsoll.yml")


def test_the_example_for_prometheus_is_valid(tmp_path: Path) -> None:
    example = re.search(r"<!-- prometheus -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    (tmp_path / "prometheus.yml").write_text(example[1])
    said_by(require_program("promtool"), "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@pytest.mark.parametrize("page", ["systemd.md", "security.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    text = (UNITS.parent / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (UNITS.parent / link).exists()] == []


# --- under a real systemd ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(newest_postgres: PostgresServer) -> Iterator[Database]:
    yield from fresh_database(newest_postgres)


def plimsoll_yml(**server: object) -> str:
    """Give the example of docs/systemd.md, for which neither Prometheus nor Alertmanager runs here."""
    example = re.search(r"<!-- example -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    sections = yaml.safe_load(example[1].replace(":9090", ":1").replace(":9093", ":1"))
    sections["postgres"]["servers"][0] |= server
    return yaml.safe_dump(sections)


@pytest.fixture(scope="module")
def systemd(database: Database) -> Iterator[Systemd]:
    """Run both units as docs/systemd.md installs them."""
    if reason := unmet():
        missing(reason)
    password = "of the history"
    with database.connect() as session:
        session.execute("CREATE TABLE shipment (id int PRIMARY KEY)")
        session.execute("DROP ROLE IF EXISTS unit_relay")
        session.execute(sql.SQL("CREATE ROLE unit_relay LOGIN PASSWORD {}").format(password))
        grant = sql.SQL("GRANT ALL ON DATABASE {} TO unit_relay")
        session.execute(grant.format(sql.Identifier(database.name)))
    secrets = {
        "main": database.dsn(),
        "ops": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8=",
        "history": database.server.dsn(database.name, "unit_relay", password),
        "relay": "a-token",
    }
    with workspace() as folder:
        manager = Systemd(folder)
        (manager.etc / "plimsoll.yml").write_text(plimsoll_yml())
        directory = manager.etc / "secrets"
        directory.mkdir()
        directory.chmod(0o711)
        for name, secret in secrets.items():
            (directory / name).write_text(secret)
            (directory / name).chmod(0o600)
        (directory / "relay").chmod(0o640)
        os.chown(directory / "relay", 0, TOKEN_GROUP)
        manager.install("plimsoll")
        manager.install("plimsoll-relay")
        with manager.running():
            manager.run("sh", "-ec", PREPARED)
            said = manager.systemctl("start", *HIGHEST_EXPOSURE, check=False)
            assert not said, [said, *map(manager.log, HIGHEST_EXPOSURE)]
            yield manager
            manager.systemctl("stop", *HIGHEST_EXPOSURE)
    with database.connect() as session:
        session.execute("DROP OWNED BY unit_relay CASCADE")
        session.execute("DROP ROLE unit_relay")


def status(systemd: Systemd, name: str) -> dict[str, str]:
    """Give what the kernel says of a service's process."""
    process = systemd.systemctl("show", "--value", "--property=MainPID", name)
    lines = systemd.run("cat", f"/proc/{process}/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_the_exporter_measures(systemd: Systemd, database: Database) -> None:
    def measured() -> bool:
        samples = Samples(fetch(f"{systemd.url('plimsoll')}/metrics"))
        sizes = samples.tables(datname=database.name, server="main")
        return samples.get("pg_up", server="main") == 1 and "shipment" in sizes

    eventually(measured)


def test_the_process_tells_of_itself(systemd: Systemd) -> None:
    for name in HIGHEST_EXPOSURE:
        samples = Samples(fetch(f"{systemd.url(name)}/metrics"))
        assert samples.get("process_start_time_seconds"), name


def test_the_relay_keeps_a_history(systemd: Systemd) -> None:
    url = systemd.url("plimsoll-relay")
    eventually(lambda: Samples(fetch(f"{url}/metrics")).get("plimsoll_history_up") == 1)


@pytest.mark.parametrize("name", HIGHEST_EXPOSURE)
def test_what_the_process_may_do(name: str, systemd: Systemd) -> None:
    told = status(systemd, name)
    assert "0" not in told["Uid"].split()
    assert {told[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")  # and system calls are filtered


READABLE = {
    "plimsoll": [f"{CREDENTIALS}/plimsoll.service/main"],
    "plimsoll-relay": [
        "/etc/plimsoll/secrets/relay",
        f"{CREDENTIALS}/plimsoll-relay.service/history",
        f"{CREDENTIALS}/plimsoll-relay.service/ops",
    ],
}
"""By unit, what it can read of all secrets."""


@pytest.mark.parametrize("name", READABLE)
def test_which_secrets_it_can_read(name: str, systemd: Systemd) -> None:
    originals = [f"/etc/plimsoll/secrets/{secret}" for secret in SECRETS]
    others = ["/etc/shadow", "/proc/1/status"]  # and no process of others
    everybodys = [path for paths in READABLE.values() for path in paths]
    assert reached(systemd, name, "-r", *originals, *everybodys, *others) == set(READABLE[name])


@pytest.mark.parametrize("name", READABLE)
def test_where_it_can_write(name: str, systemd: Systemd) -> None:
    places = ["/", "/etc/plimsoll", "/opt/plimsoll", "/run", "/var/lib", "/dev/shm", "/tmp", "/var/tmp"]
    assert reached(systemd, name, "-w", *places) == {"/tmp", "/var/tmp"}  # its own, gone when it ends


def reached(systemd: Systemd, name: str, flag: str, *paths: str) -> set[str]:
    """Give those of `paths` that test(1) finds who is what a service is, and sees what it sees."""
    told = status(systemd, name)
    uid, groups = told["Uid"].split()[0], told["Groups"].split()
    user = [f"--reuid={uid}", f"--regid={told['Gid'].split()[0]}", f"--groups={','.join(groups) or uid}"]
    enter = ["nsenter", f"--target={told['Pid']}", "--mount", "--", "setpriv", *user, "--bounding-set=-all"]
    script = f'for path; do test {flag} "$path" && echo "$path"; done; true'
    return set(systemd.run(*enter, "sh", "-c", script, "sh", *paths).splitlines())


@pytest.mark.parametrize("with_drop_in", [False, True])
def test_what_the_drop_in_for_containers_opens(with_drop_in: bool, systemd: Systemd) -> None:
    """In place of the exporter runs a shell, that looks at the engine's socket and at another's process."""
    name = f"probe-{with_drop_in}".lower()
    shell = "test -w /run/engine.sock && cat /proc/1/cgroup /proc/1/net/dev"
    unit = re.sub("^Exec.*\n", "", without_restart(), flags=re.MULTILINE)
    unit = unit.replace("Type=exec", f"Type=oneshot\nExecStart=/bin/sh -c '{shell}'")
    (systemd.units / f"{name}.service").write_text(unit)
    if with_drop_in:
        drop_in = systemd.units / f"{name}.service.d"
        drop_in.mkdir()
        (drop_in / "containers.conf").write_text((UNITS / "plimsoll-containers.conf").read_text())
    systemd.systemctl("daemon-reload")

    said = systemd.systemctl("start", name, check=False)

    assert bool(said) is not with_drop_in, said


def without_restart() -> str:
    """Give the exporter's unit as one that is tried once."""
    return re.sub("^Restart.*\n", "", (UNITS / "plimsoll.service").read_text(), flags=re.MULTILINE)


def test_a_bad_file_fails_the_start(systemd: Systemd) -> None:
    (systemd.etc / "bad.yml").write_text(plimsoll_yml(max_connections=0))
    log = "StandardOutput=append:/run/bad.log\nStandardError=append:/run/bad.log"
    unit = without_restart().replace("plimsoll.yml", "bad.yml").replace("Type=exec", f"Type=exec\n{log}")
    (systemd.units / "bad.service").write_text(unit)
    systemd.systemctl("daemon-reload")

    assert "failed" in systemd.systemctl("start", "bad", check=False)
    assert "max_connections" in systemd.log("bad")


def test_a_reload_is_followed(systemd: Systemd) -> None:
    (systemd.etc / "plimsoll.yml").write_text(plimsoll_yml(labels={"organization": "acme"}))
    systemd.systemctl("reload", "plimsoll")
    url = systemd.url("plimsoll")
    eventually(lambda: Samples(fetch(f"{url}/metrics")).all("pg_up", organization="acme"))


# --- without systemd --------------------------------------------------------------------------------------

NOBODYS = "--regid=65534"  # who is in root's group, `hidepid` hides nothing from
POWERLESS = ("setpriv", NOBODYS, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
"""A root whom every rule holds for: nothing is left but the number of the user."""

HIDDEN = ("unshare", "--mount", "sh", "-ec", 'mount -t proc -o hidepid=invisible proc /proc; exec "$@"', "sh")
"""What ProtectProc=invisible does."""


def test_what_needs_the_processes_of_others(docker: Engine, database: Database, tmp_path: Path) -> None:
    name, network = docker.name("other"), docker.name("network")
    docker.cli("network", "create", network)
    docker.run(f"--network={network}", "--user=4242", name=name)
    config = {**database.config(), "containers": [{"name": "local", "docker_host": docker.host}]}

    with (
        serving(config, tmp_path, through=POWERLESS) as open_,
        serving(config, tmp_path, through=(*HIDDEN, *POWERLESS)) as hidden,
    ):
        pages = [measured(open_, name), measured(hidden, name)]

    docker.cli("rm", "--force", name)
    docker.cli("network", "rm", network)
    for page in pages:
        assert page.get("pg_up") == 1
        assert page.get("pg_database_size_bytes", datname=database.name)
        assert page.get("plimsoll_containers_measured", source="cgroup") == 1
    networks = [page.all("container_network_receive_bytes_total", name=name) for page in pages]
    assert [bool(each) for each in networks] == [True, False]


def measured(exporter: Serving, name: str) -> Samples:
    """Scrape until a container is measured, and give that page."""
    pages: list[Samples] = []

    def is_measured() -> bool:
        pages.append(exporter.scrape())
        return pages[-1].get("container_memory_usage_bytes", name=name) is not None

    eventually(is_measured)
    return pages[-1]
