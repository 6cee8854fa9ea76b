"""Good configuration files have the values that they say; bad ones get exactly their message.

Every `tests/fixtures/config/bad/NAME.yml` stands beside a `NAME.txt` with the lines that it gets, in
which `{file}` is the file's path and `{directory}` the directory's. A new mistake needs those two files
and nothing here. `PLIMSOLL_UPDATE_GOLDEN=1 pytest tests/unit/test_config.py` writes the .txt files
anew: read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from plimsoll.config import ConfigError, Document, Section
from plimsoll.serve.command import load_settings
from plimsoll.serve.settings import Host, PostgresSettings, from_environment

FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
GOOD = sorted((FIXTURES / "good").glob("*.yml"))
BAD = sorted((FIXTURES / "bad").glob("*.yml"))
PASSWORD = "hunter2"
SERVER = "postgres:\n  servers:\n    - name: main\n      dsn: host=db\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("PG", "DATA_SOURCE_NAME", "PLIMSOLL_TEST_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("PLIMSOLL_TEST_CONNECTIONS", "7")


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        load_settings(path)
    return refused.value


def write(directory: Path, text: str) -> Path:
    path = directory / "plimsoll.yml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_gets_its_message(path: Path) -> None:
    error = refusal(path)
    got = f"{error}\n".replace(str(path), "{file}").replace(str(path.parent), "{directory}")

    expected = path.with_suffix(".txt")
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        expected.write_text(got, "utf-8")

    assert got == expected.read_text("utf-8")
    assert PASSWORD not in got
    lines = [problem.line for problem in error.problems]
    assert lines == sorted(lines)


def test_every_message_belongs_to_a_file() -> None:
    assert {path.stem for path in BAD} == {path.stem for path in (FIXTURES / "bad").glob("*.txt")}


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_is_accepted(path: Path) -> None:
    assert load_settings(path).servers


def test_a_minimal_file_has_the_defaults() -> None:
    (server,) = load_settings(FIXTURES / "good" / "minimal.yml").servers

    assert server.name == "main"
    assert server.target_labels == {"server": "main"}
    assert server.parameters == {"user": "plimsoll", "host": "db", "dbname": "postgres"}
    assert server.hosts == (Host("db", "5432"),)
    assert server.databases.wanted("anything")
    assert (server.databases.interval, server.tables.interval) == (60, 60)
    assert server.max_connections == 2
    assert (server.connect_timeout, server.statement_timeout, server.lock_timeout) == (5, 10, 0.1)
    assert server.max_age == 6 * 3600


def test_a_full_file_has_its_values() -> None:
    main, second = load_settings(FIXTURES / "good" / "full.yml").servers

    assert main.target_labels == {"server": "main", "organization": "acme", "region": "eu ⚓"}
    assert main.parameters["password"] == PASSWORD
    assert main.hosts == (Host("db", "5433"),)
    assert (main.databases.interval, main.tables.interval) == (300, 5400)
    assert main.max_connections == 7
    assert (main.connect_timeout, main.statement_timeout, main.lock_timeout) == (0.5, 60, 1)
    assert main.max_age == 86400
    assert second.parameters == {"host": "db2", "user": "plimsoll", "password": PASSWORD}
    assert second.target_labels == {"server": "second", "since": "2024-01-01"}


def test_aliases_stand_for_what_they_name() -> None:
    live, test = load_settings(FIXTURES / "good" / "aliases.yml").servers

    assert live.labels == test.labels == {"organization": "acme"}
    assert (live.databases.interval, live.tables.interval, test.tables.interval) == (0, 0, 60)


@pytest.mark.parametrize(
    ("datname", "wanted"),
    [
        ("billing", True),
        ("tenant_1", True),
        ("tenant_12", True),
        ("tenant_0", False),  # excluded
        ("tenant_", False),
        ("my_billing", False),  # patterns match whole names
        ("billing_old", False),
        ("billing\n", False),
    ],
)
def test_patterns_choose_databases(datname: str, wanted: bool) -> None:
    main, _ = load_settings(FIXTURES / "good" / "full.yml").servers

    assert main.databases.wanted(datname) is wanted


def test_settings_do_not_show_their_password() -> None:
    settings = load_settings(FIXTURES / "good" / "full.yml")

    assert PASSWORD not in repr(settings)
    assert PASSWORD not in str(settings)
    assert PASSWORD not in settings.model_dump_json()


def test_settings_are_equal_if_the_files_say_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, f"{SERVER}      databases: {{include: [a, b]}}\n")
    first, second = load_settings(path).servers[0], load_settings(path).servers[0]
    assert first.parameters  # remembered by one of them only

    assert first == second

    path.write_text(path.read_text().replace("[a, b]", "[a, c]"))

    assert load_settings(path).servers[0] != first


def test_a_file_of_a_secret_is_relative_to_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "main.dsn").write_text("host=db\n")
    write(tmp_path / "etc", "postgres:\n  servers:\n    - name: main\n      dsn_file: ../main.dsn\n")
    monkeypatch.chdir(tmp_path)

    (server,) = load_settings(Path("etc/plimsoll.yml")).servers

    assert server.parameters == {"host": "db"}


def test_a_file_of_a_secret_may_be_absolute(tmp_path: Path) -> None:
    secret = tmp_path / "main.dsn"
    secret.write_text("host=db")
    path = write(tmp_path, f"postgres:\n  servers:\n    - name: main\n      dsn_file: {secret}\n")

    assert load_settings(path).servers[0].parameters == {"host": "db"}


def test_an_environment_variable_is_not_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    password = r"$1${PLIMSOLL_TEST_CONNECTIONS}\1: {"
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", password)
    path = write(tmp_path, f"{SERVER}      labels:\n        secret: ${{PLIMSOLL_TEST_PASSWORD}}\n")

    assert load_settings(path).servers[0].labels["secret"] == password


def test_an_environment_variable_may_be_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", "")
    path = write(tmp_path, f"{SERVER}      labels: {{organization: '${{PLIMSOLL_TEST_PASSWORD}}'}}\n")

    assert load_settings(path).servers[0].labels == {"organization": ""}


def test_an_environment_variable_must_be_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", "caf\udce9")  # a byte that is no UTF-8
    path = write(tmp_path, f"{SERVER}      labels:\n        organization: ${{PLIMSOLL_TEST_PASSWORD}}\n")

    assert str(refusal(path)) == (
        f"{path}:6: postgres.servers[0].labels.organization: "
        "holds a NUL or half of a surrogate pair, which no text may"
    )


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"

    assert str(refusal(missing)) == f"{missing}: cannot be read: No such file or directory"
    assert str(refusal(tmp_path)) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "plimsoll.yml"
    path.write_bytes(b"\xef\xbb\xbf" + f"{SERVER}      lock_timeout: 0\n".replace("\n", "\r\n").encode())

    assert [problem.line for problem in refusal(path).problems] == [5]


def test_a_mistake_behind_an_alias_is_told_where_it_stands(tmp_path: Path) -> None:
    text = SERVER.replace("    -", "    - &main\n     ") + "      lock_timeout: 0\n    - *main\n"

    problems = refusal(write(tmp_path, text)).problems

    assert [(problem.place[2], problem.line) for problem in problems] == [(0, 6), (1, 6)]


class Secretive(Section):
    secret: str


@pytest.fixture
def two_sections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Document:
    monkeypatch.setattr("plimsoll.config.document.SECTIONS", ("postgres", "relay"))
    return Document.read(write(tmp_path, f"{SERVER}relay: {{secret: '${{PLIMSOLL_TEST_UNSET}}'}}\n"))


def test_a_section_needs_only_its_own_secrets(two_sections: Document) -> None:
    assert two_sections.section("postgres", PostgresSettings).servers
    with pytest.raises(ConfigError, match=r"relay\.secret: the environment variable PLIMSOLL_TEST_UNSET"):
        two_sections.section("relay", Secretive)


def left(name: str) -> Host:
    """Name a server that libpq finds."""
    return Host(name, "5432", left_to_libpq=True)


@pytest.mark.parametrize(
    ("variables", "parameters", "hosts"),
    [
        (
            {"DATA_SOURCE_NAME": "postgresql://u:hunter2@db:5433/app"},
            {"user": "u", "password": PASSWORD, "host": "db", "port": "5433", "dbname": "app"},
            (Host("db", "5433"),),
        ),
        ({"DATA_SOURCE_NAME": "host=db", "PGPORT": "6432"}, {"host": "db"}, (Host("db", "6432"),)),
        ({"DATA_SOURCE_NAME": "host=a,b"}, {"host": "a,b"}, (Host("a", "5432"), Host("b", "5432"))),
        (
            {"DATA_SOURCE_NAME": "host=a,b port=1,2"},
            {"host": "a,b", "port": "1,2"},
            (Host("a", "1"), Host("b", "2")),
        ),
        ({"PGHOST": "db", "PGUSER": "u"}, {}, (Host("db", "5432"),)),
        ({"DATA_SOURCE_NAME": "hostaddr=192.0.2.1"}, {"hostaddr": "192.0.2.1"}, (left("192.0.2.1"),)),
        ({"DATA_SOURCE_NAME": "service=app"}, {"service": "app"}, (left("app"),)),
        ({"PGHOSTADDR": "192.0.2.1"}, {}, (left(""),)),
        ({"PGDATABASE": "app"}, {}, (left(""),)),
        ({"PGSERVICE": "app"}, {}, (left(""),)),
    ],
)
def test_without_a_file_the_environment_names_the_server(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    parameters: dict[str, str],
    hosts: tuple[Host, ...],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    (server,) = load_settings(None).servers

    assert server.name == "main"
    assert server.parameters == parameters
    assert server.hosts == hosts


@pytest.mark.parametrize("variables", [{}, {"DATA_SOURCE_NAME": "", "PGHOST": ""}, {"PGPASSWORD": PASSWORD}])
def test_without_a_file_and_an_environment_there_is_nothing_to_watch(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert from_environment() is None
    with pytest.raises(ConfigError) as refused:
        load_settings(None)
    assert str(refused.value) == (
        "environment: nothing to watch: give --config.file, DATA_SOURCE_NAME or PGHOST"
    )


@pytest.mark.parametrize("dsn", [f"plimsoll:{PASSWORD}@db", f"postgresql://u:{PASSWORD}%zz@db", "\udcff"])
def test_a_bad_data_source_name_is_refused(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv("DATA_SOURCE_NAME", dsn)

    with pytest.raises(ConfigError, match=re.escape("DATA_SOURCE_NAME: is no connection string")) as refused:
        load_settings(None)
    assert PASSWORD not in str(refused.value)
