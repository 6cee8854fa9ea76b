"""The command line, as a process: its help, its answers, its exit status, and that it keeps secrets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import __version__, cli
from plimsoll.alerts.catalogue import load_catalogue

PRESETS = len(load_catalogue().presets)

COMMANDS = ("serve", "relay", "check", "render", "explain", "ack", "demo")
FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
PASSWORD = "hunter2"
PROGRAM = """
import runpy
from plimsoll.config import engines
engines.SOCKETS = ("/nowhere/docker.sock",)
runpy.run_module("plimsoll", run_name="__main__", alter_sys=True)
"""
"""What `python -m plimsoll` does, but for the engine that may run here."""


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    foreign = ("PG", "DATA_", "DOCKER_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, arguments)],
        env=inherited | variables,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # no terminal, so that nothing can ask for a password
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def write(directory: Path, text: str) -> Path:
    path = directory / "plimsoll.yml"
    path.write_text(text)
    return path


def write_dsn(directory: Path, dsn: str) -> Path:
    return write(
        directory,
        f"postgres:\n  servers:\n    - name: main\n      dsn: {dsn}\n      connect_timeout: 2s\n",
    )


def test_help_lists_the_commands() -> None:
    done = run("--help")

    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n    {command} " in done.stdout
    assert "Exit status: 0 good, 1 refused" in done.stdout


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (
            "serve",
            ["--config.file", "--web.listen-address", "--scrape.timeout", "--log.level", "--log.format"],
        ),
        ("check", ["--config.file", "--only", "--connect"]),
        ("demo", ["--dsn"]),
    ],
)
def test_each_command_explains_its_flags(command: str, flags: list[str]) -> None:
    done = run(command, "--help")

    assert done.returncode == 0
    assert done.stderr == ""
    for flag in flags:
        assert f"  {flag}" in done.stdout


def test_the_default_address_is_loopback() -> None:
    assert "(default\n" not in (done := run("serve", "--help", COLUMNS="200")).stdout
    assert "(default 127.0.0.1:9745)" in done.stdout


def test_version() -> None:
    done = run("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"plimsoll {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["watch"], "invalid choice: 'watch'"),
        (["serve", "--config.files", "x"], "unrecognized arguments"),
        (["serve", "--web.listen-address", "9745"], "must be HOST:PORT or :PORT, is '9745'"),
        (["serve", "--scrape.timeout", "10"], "must be a duration such as 30s, 5m or 1h30m, is '10'"),
        (["serve", "--log.level", "trace"], "invalid choice: 'trace'"),
        (["serve", "--log.format", "xml"], "invalid choice: 'xml'"),
        (["check", "plimsoll.yml"], "unrecognized arguments: plimsoll.yml"),
        (["check", "--only", "demo"], "invalid choice: 'demo'"),
        (["check", "--only", "relay"], "--only relay goes with --config.file"),
        (["check", "--only", "render", "--connect"], "--connect does not go with --only render"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: plimsoll" in done.stderr
    assert complaint in done.stderr


def test_a_good_file_passes_the_check() -> None:
    path = FIXTURES / "good" / "full.yml"
    variables = {"PASSWORD": PASSWORD, "CONNECTIONS": "2", "HOST": "docker"}
    done = run(
        "check",
        "--config.file",
        path,
        **{f"PLIMSOLL_TEST_{name}": value for name, value in variables.items()},
    )

    summary = f"{path}: 2 server(s), 3 engine(s), {PRESETS} alert(s) configured\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, summary, "")


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (
            {"DATA_SOURCE_NAME": f"postgresql://plimsoll:{PASSWORD}@db/postgres"},
            "1 server(s), 0 engine(s)",
        ),
        ({"DOCKER_HOST": "tcp://docker:2375"}, "0 server(s), 1 engine(s)"),
        ({"PGHOST": "db", "DOCKER_HOST": "unix:///run/docker.sock"}, "1 server(s), 1 engine(s)"),
    ],
)
def test_the_environment_passes_the_check(variables: dict[str, str], found: str) -> None:
    done = run("check", **variables)

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"environment: {found}, {PRESETS} alert(s) configured\n",
        "",
    )


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_bad_file_is_refused_with_every_mistake(command: str) -> None:
    path = FIXTURES / "bad" / "several.yml"
    done = run(command, "--config.file", path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == path.with_suffix(".txt").read_text("utf-8").replace("{file}", str(path))


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_missing_file_is_refused(command: str, tmp_path: Path) -> None:
    path = tmp_path / "missing.yml"
    done = run(command, "--config.file", path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", ["check", "serve"])
def test_nothing_to_watch_is_refused(command: str) -> None:
    done = run(command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("environment: nothing to watch: give --config.file, ")


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("dsn", [f"postgresql://u:{PASSWORD}%zz@db", f"u:{PASSWORD}@db", f"pass={PASSWORD}"])
def test_a_bad_data_source_name_is_refused_without_showing_it(command: str, dsn: str) -> None:
    done = run(command, DATA_SOURCE_NAME=dsn)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("DATA_SOURCE_NAME: is no connection string: ")


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("host", [f"ssh://u:{PASSWORD}@docker", f"tcp://u:{PASSWORD}@docker:2375"])
def test_a_bad_docker_host_is_refused_without_showing_it(command: str, host: str) -> None:
    done = run(command, DOCKER_HOST=host)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("DOCKER_HOST: is no engine's address: ")


def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    names = {"ca_file": "ca", "cert_file": "cert", "key_file": "locked-key"}
    tls = {key: str(FIXTURES / "certificates" / f"{name}.pem") for key, name in names.items()}
    path = write(
        tmp_path, f"containers:\n  - name: remote\n    docker_host: tcp://docker:2376\n    tls: {tls}\n"
    )
    done = run("check", "--config.file", path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}:4: containers[0].tls")
    assert "pass phrase" not in done.stderr


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:{{port}}/postgres",
        f"host=127.0.0.1 port={{port}} password={PASSWORD}",
        f"postgresql://u@127.0.0.1:{{port}}/postgres?password={PASSWORD}",
        f"postgresql://u:{PASSWORD}@nowhere.invalid/postgres",
        f"postgresql://u:{PASSWORD}@127.0.0.1:port/postgres",
        f"postgresql://u:{PASSWORD}@/postgres?host=/nowhere/{PASSWORD}",
    ],
)
def test_a_server_that_cannot_be_reached_fails_the_check(dsn: str, tmp_path: Path, closed_port: int) -> None:
    path = write_dsn(tmp_path, dsn.format(port=closed_port))
    done = run("check", "--connect", "--config.file", path)

    assert done.returncode == 1
    summary = f"{path}: 1 server(s), 0 engine(s), {PRESETS} alert(s) configured\n"
    assert done.stdout.startswith(f"{summary}BAD main: ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("unix://{folder}/missing.sock", "no engine listens on unix://{folder}/missing.sock"),
        ("unix://{folder}/plimsoll.yml", "no engine listens on unix://{folder}/plimsoll.yml"),
        ("tcp://127.0.0.1:{port}", "no engine listens on tcp://127.0.0.1:{port}"),
        ("tcp://nowhere.invalid:2375", "tcp://nowhere.invalid:2375 cannot be reached: "),
    ],
)
def test_an_engine_that_cannot_be_reached_fails_the_check(
    host: str, complaint: str, tmp_path: Path, closed_port: int
) -> None:
    places = {"folder": tmp_path, "port": closed_port}
    path = write(tmp_path, f"containers:\n  - name: local\n    docker_host: {host.format(**places)}\n")
    done = run("check", "--connect", "--config.file", path)

    assert done.returncode == 1
    summary = f"{path}: 0 server(s), 1 engine(s), {PRESETS} alert(s) configured\n"
    assert done.stdout.startswith(f"{summary}BAD local: {complaint.format(**places)}")
    assert done.stderr == ""


def test_every_server_and_every_engine_is_tried(tmp_path: Path, closed_port: int) -> None:
    path = write_dsn(tmp_path, f"host=127.0.0.1 port={closed_port}")
    with path.open("a") as file:
        file.write(f"containers:\n  - name: local\n    docker_host: unix://{tmp_path}/missing.sock\n")
    done = run("check", "--connect", "--config.file", path)

    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == ["BAD main", "BAD local"]


def test_a_taken_address_is_told(tmp_path: Path, taken_port: int) -> None:
    path = write_dsn(tmp_path, f"postgresql://u:{PASSWORD}@127.0.0.1/postgres")
    done = run("serve", "--config.file", path, "--web.listen-address", f"127.0.0.1:{taken_port}")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("plimsoll: cannot listen: ")
    assert "address already in use" in done.stderr


def test_check_tells_the_mistakes_of_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plimsoll.yml"
    text = "alerts: {ContainerDown: {for: soon}}\ncontainers: [{name: local, timeout: never}]\nnonsense: 1\n"
    path.write_text(text, "utf-8")

    assert cli.main(["check", f"--config.file={path}"]) == cli.FAILED
    told = capsys.readouterr().err.replace(f"{path}:", "").splitlines()
    assert [line.partition(" must ")[0].partition(" unknown ")[0] for line in told] == [
        "1: alerts.ContainerDown.for:",
        "2: containers[0].timeout:",
        "3: nonsense:",
    ]


RELAY = """\
webhooks:
  default: {url: "https://hooks.example.com/all"}
  ops: {url: "https://hooks.example.com/ops", secret_file: ops, min_severity: high}
relay: {url: "http://relay:9746", token_file: token}
"""
HISTORY = "history: {dsn_file: history}\n"
WATCHED = "postgres: {servers: [{name: main, dsn_file: main}]}\n"
SECRETS = {
    "ops": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "token": PASSWORD,
    "history": f"postgresql://relay:{PASSWORD}@db/history",
    "main": f"postgresql://plimsoll:{PASSWORD}@db/postgres",
}
NOT_WATCHED = "0 server(s), 0 engine(s)"


def checked(path: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Give what a check says, with what it finds wrong, without the file's name."""
    status = cli.main(["check", f"--config.file={path}", *flags])
    out, err = capsys.readouterr()
    assert status == (cli.FAILED if err else cli.GOOD)
    assert PASSWORD not in out + err
    return (out + err).replace(f"{path}:", "").strip()


@pytest.mark.parametrize(
    ("text", "flags", "summary"),
    [
        (RELAY, [], f"{NOT_WATCHED}, {PRESETS} alert(s), 1 signed receiver(s), no history configured"),
        (RELAY, ["--only=relay"], "1 signed receiver(s), no history configured"),
        (RELAY + HISTORY, ["--only=relay"], "1 signed receiver(s), a history configured"),
        (RELAY, ["--only=render"], f"{PRESETS} alert(s) configured"),
        ("alerts: {}\n", ["--only=render"], f"{PRESETS} alert(s) configured"),
        (WATCHED, ["--only=serve"], "1 server(s), 0 engine(s) configured"),
        (RELAY, ["--only=serve"], "nothing to watch: postgres or containers is required"),
        ("alerts: {}\n", [], "nothing to watch: postgres or containers is required"),
        (WATCHED, ["--only=relay"], "1: relay: is required"),
        (WATCHED + HISTORY, [], "1: relay: is required"),
    ],
)
def test_check_looks_at_what_is_there_or_asked_for(
    text: str, flags: list[str], summary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret)

    assert checked(write(tmp_path, text), *flags, capsys=capsys) == summary


@pytest.mark.parametrize(
    ("only", "present", "missing"),
    [
        ("relay", {"ops", "token", "history"}, ["1: postgres.servers[0].dsn_file"]),
        ("serve", {"main"}, ["4: webhooks.ops.secret_file", "5: relay.token_file", "6: history.dsn_file"]),
    ],
)
def test_each_machine_checks_its_own(
    only: str, present: set[str], missing: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in present:
        (tmp_path / name).write_text(SECRETS[name])
    path = write(tmp_path, WATCHED + RELAY + HISTORY)

    assert checked(path, f"--only={only}", capsys=capsys).endswith(" configured")
    whole = checked(path, capsys=capsys).splitlines()
    assert [line.partition(": the file cannot be read: ")[0] for line in whole] == missing


def test_rendering_needs_the_variables_of_urls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    path = write(tmp_path, 'webhooks: {default: {url: "${NOT_SET}"}}\n')

    found = checked(path, "--only=render", capsys=capsys)
    assert found == "1: webhooks.default.url: the environment variable NOT_SET is not set"
