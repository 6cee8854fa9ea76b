"""The command line, as a process: its help, its answers, its exit status, and that it keeps secrets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import __version__

COMMANDS = ("serve", "check", "demo")
FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
PASSWORD = "hunter2"


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATA_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "plimsoll", *map(str, arguments)],
        env=inherited | variables,
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


def write(directory: Path, dsn: str) -> Path:
    path = directory / "plimsoll.yml"
    path.write_text(f"postgres:\n  servers:\n    - name: main\n      dsn: {dsn}\n      connect_timeout: 2s\n")
    return path


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
        ("check", ["--config.file", "--connect"]),
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
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: plimsoll" in done.stderr
    assert complaint in done.stderr


def test_a_good_file_passes_the_check() -> None:
    path = FIXTURES / "good" / "full.yml"
    done = run("check", "--config.file", path, PLIMSOLL_TEST_PASSWORD=PASSWORD, PLIMSOLL_TEST_CONNECTIONS="2")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: 2 server(s) configured\n", "")


def test_the_environment_passes_the_check() -> None:
    done = run("check", DATA_SOURCE_NAME=f"postgresql://plimsoll:{PASSWORD}@db/postgres")

    assert (done.returncode, done.stdout, done.stderr) == (0, "environment: 1 server(s) configured\n", "")


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
    assert "nothing to watch: give --config.file, DATA_SOURCE_NAME or PGHOST" in done.stderr


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("dsn", [f"postgresql://u:{PASSWORD}%zz@db", f"u:{PASSWORD}@db", f"pass={PASSWORD}"])
def test_a_bad_data_source_name_is_refused_without_showing_it(command: str, dsn: str) -> None:
    done = run(command, DATA_SOURCE_NAME=dsn)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("DATA_SOURCE_NAME: is no connection string: ")


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
    path = write(tmp_path, dsn.format(port=closed_port))
    done = run("check", "--connect", "--config.file", path)

    assert done.returncode == 1
    assert done.stdout.startswith(f"{path}: 1 server(s) configured\nBAD main: ")
    assert done.stderr == ""


def test_a_taken_address_is_told(tmp_path: Path, taken_port: int) -> None:
    path = write(tmp_path, f"postgresql://u:{PASSWORD}@127.0.0.1/postgres")
    done = run("serve", "--config.file", path, "--web.listen-address", f"127.0.0.1:{taken_port}")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("plimsoll: cannot listen: ")
    assert "address already in use" in done.stderr
