"""Good configuration files have the values that they say; bad ones get exactly their message.

Every `tests/fixtures/config/bad/NAME.yml` stands beside a `NAME.txt` with the lines that it gets, in
which `{file}` is the file's path, and `{directory}` the directory's. A new mistake needs those two files and
nothing here. `PLIMSOLL_UPDATE_GOLDEN=1 pytest tests/unit/test_config.py` writes the .txt files anew: read the
difference before you commit it.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from plimsoll.config import ConfigError, Document, Section, engines
from plimsoll.serve.settings import load_settings
from plimsoll.serve.settings.containers import EngineSettings, TlsSettings
from plimsoll.serve.settings.postgres import Host, PostgresSettings

FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
GOOD = sorted((FIXTURES / "good").glob("*.yml"))
BAD = sorted((FIXTURES / "bad").glob("*.yml"))
CERTIFICATES = FIXTURES / "certificates"
DESIGN = FIXTURES.parent / "alerts" / "pairs" / "in-design.yml"
PASSWORD = "hunter2"
SERVER = "postgres:\n  servers:\n    - name: main\n      dsn: host=db\n"
ENGINE = "containers:\n  - name: local\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("PG", "DATA_SOURCE_NAME", "DOCKER_", "PLIMSOLL_TEST_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(engines, "SOCKETS", ())  # whatever runs here
    monkeypatch.setenv("PLIMSOLL_TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("PLIMSOLL_TEST_CONNECTIONS", "7")
    monkeypatch.setenv("PLIMSOLL_TEST_HOST", "docker")


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
    places = [(problem.file != str(path), problem.file, problem.line) for problem in error.problems]
    assert places == sorted(places), "the file's own first, then file by file"


def test_every_message_belongs_to_a_file() -> None:
    assert {path.stem for path in BAD} == {path.stem for path in (FIXTURES / "bad").glob("*.txt")}


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_is_accepted(path: Path) -> None:
    settings = load_settings(path)

    assert settings.servers or settings.containers


def test_a_minimal_file_has_the_defaults() -> None:
    (server,) = load_settings(FIXTURES / "good" / "minimal.yml").servers

    assert server.name == "main"
    assert server.target_labels == {"server": "main"}
    assert server.parameters == {"user": "plimsoll", "host": "db", "dbname": "postgres"}
    assert server.hosts == (Host("db", "5432"),)
    assert server.databases.wanted("anything")
    assert (server.databases.interval, server.tables.interval, server.tables.full_interval) == (60, 60, 3600)
    assert (server.tables.limit, server.tables.partitions, server.tables.statistics) == (
        1000,
        "roll_up",
        False,
    )
    assert server.max_connections == 2
    assert (server.connect_timeout, server.statement_timeout, server.lock_timeout) == (5, 10, 0.1)
    assert server.max_age == 6 * 3600


def test_a_full_file_has_its_values() -> None:
    main, second = load_settings(FIXTURES / "good" / "full.yml").servers

    assert main.target_labels == {"server": "main", "organization": "acme", "region": "eu ⚓"}
    assert main.parameters["password"] == PASSWORD
    assert main.hosts == (Host("db", "5433"),)
    assert (main.databases.interval, main.tables.interval, main.tables.full_interval) == (300, 5400, 43200)
    assert (main.tables.limit, main.tables.partitions, main.tables.statistics) == (0, "roots_only", True)
    assert main.max_connections == 7
    assert (main.connect_timeout, main.statement_timeout, main.lock_timeout) == (0.5, 60, 1)
    assert main.max_age == 86400
    assert second.parameters == {"host": "db2", "user": "plimsoll", "password": PASSWORD}
    assert second.target_labels == {"server": "second", "since": "2024-01-01"}


def test_the_servers_of_the_designs_example_are_accepted() -> None:
    (server,) = Document.read(DESIGN).sections(Measured).postgres.servers

    assert (server.tables.full_interval, server.tables.limit, server.tables.partitions) == (
        3600,
        500,
        "roll_up",
    )


def test_a_minimal_engine_has_the_defaults() -> None:
    settings = load_settings(FIXTURES / "good" / "engine_minimal.yml")

    assert settings.servers == ()
    (engine,) = settings.containers
    assert engine.target_labels == {"engine": "local"}
    assert (engine.docker_host, engine.tls) == ("unix:///var/run/docker.sock", None)
    assert engine.wanted("anything")
    assert engine.published_labels == {
        "container_label_com_docker_compose_project": "com.docker.compose.project",
        "container_label_com_docker_compose_service": "com.docker.compose.service",
    }
    assert engine.host_root == Path("/")
    assert (engine.timeout, engine.keep_removed) == (5, 3600)


def test_full_engines_have_their_values() -> None:
    remote, podman, behind_proxy = load_settings(FIXTURES / "good" / "full.yml").containers

    assert remote.target_labels == {"engine": "remote", "region": "eu ⚓"}
    assert remote.docker_host == "tcp://docker:2376"
    assert remote.tls is not None
    assert remote.tls.ca_file.samefile(CERTIFICATES / "ca.pem")
    assert remote.tls.context().check_hostname
    assert remote.published_labels == {
        "container_label_com_docker_compose_service": "com.docker.compose.service",
        "container_label_org_example_tier": "org.example/tier",
        "team": "org.example.team",
    }
    assert remote.host_root == Path("/host")
    assert (remote.timeout, remote.keep_removed) == (2.5, 86400)
    assert podman.docker_host == "unix:///run/podman/podman.sock"
    assert (podman.published_labels, podman.keep_removed) == ({}, 0)
    assert (behind_proxy.docker_host, behind_proxy.tls) == ("tcp://[::1]:2375", None)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("acme_web", True),
        ("traefik", True),
        ("acme_web_run_7f3a", False),  # excluded
        ("traefik_2", False),  # patterns match whole names
        ("my_acme_web", False),
    ],
)
def test_patterns_choose_containers(name: str, wanted: bool) -> None:
    remote, *_ = load_settings(FIXTURES / "good" / "full.yml").containers

    assert remote.wanted(name) is wanted


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


class Relayed(Section):
    relay: Secretive


class Measured(Section):
    postgres: PostgresSettings


@pytest.fixture
def two_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Document:
    monkeypatch.setattr("plimsoll.config.document.SECTIONS", ("postgres", "relay"))
    return Document.read(write(tmp_path, f"{SERVER}relay: {{secret: '${{PLIMSOLL_TEST_UNSET}}'}}\n"))


def test_a_process_needs_the_secrets_of_its_own_sections_only(two_parts: Document) -> None:
    assert two_parts.sections(Measured).postgres.servers
    with pytest.raises(ConfigError, match=r"relay\.secret: the environment variable PLIMSOLL_TEST_UNSET"):
        two_parts.sections(Relayed)


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

    settings = load_settings(None)

    (server,) = settings.servers
    assert server.name == "main"
    assert server.parameters == parameters
    assert server.hosts == hosts
    assert settings.containers == ()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DATA_SOURCE_NAME": "", "PGHOST": "", "DOCKER_HOST": ""},
        {"PGPASSWORD": PASSWORD},
        {"DOCKER_TLS_VERIFY": "1"},
    ],
)
def test_without_a_file_and_an_environment_there_is_nothing_to_watch(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        load_settings(None)
    assert str(refused.value) == (
        "environment: nothing to watch: "
        "give --config.file, DATA_SOURCE_NAME, PGHOST or DOCKER_HOST, or start Docker or Podman"
    )


@pytest.mark.parametrize("dsn", [f"plimsoll:{PASSWORD}@db", f"postgresql://u:{PASSWORD}%zz@db", "\udcff"])
def test_a_bad_data_source_name_is_refused(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv("DATA_SOURCE_NAME", dsn)

    with pytest.raises(ConfigError, match=re.escape("DATA_SOURCE_NAME: is no connection string")) as refused:
        load_settings(None)
    assert PASSWORD not in str(refused.value)


def listen_at(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return str(path)


@pytest.fixture
def usual_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Where sockets are looked for."""
    places = [tmp_path / "docker.sock", tmp_path / "podman.sock"]
    monkeypatch.setattr(engines, "SOCKETS", tuple(map(str, places)))
    return places


@pytest.mark.parametrize(
    "host", ["unix:///run/user/1000/docker.sock", "tcp://docker:2375", "tcp://[::1]:2375"]
)
def test_docker_host_names_the_engine(
    monkeypatch: pytest.MonkeyPatch, usual_places: list[Path], host: str
) -> None:
    listen_at(usual_places[0])
    monkeypatch.setenv("DOCKER_HOST", host)

    settings = load_settings(None)

    assert settings.servers == ()
    assert settings.containers == (EngineSettings(name="local", docker_host=host),)


@pytest.mark.parametrize("present", [[0], [1], [0, 1]])
def test_an_engine_is_found_at_the_usual_places(usual_places: list[Path], present: list[int]) -> None:
    found = [listen_at(usual_places[index]) for index in present]

    (engine,) = load_settings(None).containers

    assert engine == EngineSettings(name="local", docker_host=f"unix://{found[0]}")


def test_what_is_no_socket_is_no_engine(usual_places: list[Path]) -> None:
    usual_places[0].touch()
    usual_places[1].mkdir()

    with pytest.raises(ConfigError, match="nothing to watch"):
        load_settings(None)


def test_what_cannot_be_looked_at_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = f"/{'docker' * 50}.sock"  # refused by the system, as a folder is that we may not enter
    monkeypatch.setattr(engines, "SOCKETS", (too_long,))

    with pytest.raises(ConfigError, match="nothing to watch"):
        load_settings(None)


def test_the_environment_names_a_server_and_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_SOURCE_NAME", "host=db")
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker:2375")

    settings = load_settings(None)

    assert [server.name for server in settings.servers] == ["main"]
    assert [engine.name for engine in settings.containers] == ["local"]


def test_a_file_is_not_mixed_with_the_environment(
    monkeypatch: pytest.MonkeyPatch, usual_places: list[Path], tmp_path: Path
) -> None:
    listen_at(usual_places[0])
    monkeypatch.setenv("DATA_SOURCE_NAME", "host=db")

    assert load_settings(write(tmp_path, SERVER)).containers == ()
    assert load_settings(write(tmp_path, ENGINE)).servers == ()


def test_certificates_are_where_docker_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copies = {name: tmp_path / ".docker" / f"{name}.pem" for name in ("ca", "cert", "key")}
    (tmp_path / ".docker").mkdir()
    for name, copy in copies.items():
        copy.write_bytes((CERTIFICATES / f"{name}.pem").read_bytes())
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker:2376")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(None).containers[0].tls is None

    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    at_home = load_settings(None).containers[0].tls
    monkeypatch.setenv("DOCKER_CERT_PATH", str(CERTIFICATES))
    elsewhere = load_settings(None).containers[0].tls

    assert at_home == TlsSettings(ca_file=copies["ca"], cert_file=copies["cert"], key_file=copies["key"])
    assert elsewhere is not None
    assert elsewhere.ca_file == CERTIFICATES / "ca.pem"


@pytest.mark.parametrize("host", ["unix:///run/docker.sock", None])
def test_a_socket_needs_no_certificates(
    monkeypatch: pytest.MonkeyPatch, usual_places: list[Path], host: str | None
) -> None:
    listen_at(usual_places[0])
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", "/nowhere")
    if host:
        monkeypatch.setenv("DOCKER_HOST", host)

    assert load_settings(None).containers[0].tls is None


def test_missing_certificates_are_told_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://docker:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))

    with pytest.raises(ConfigError, match=r"ca(_file|\.pem).*: No such file or directory") as refused:
        load_settings(None)
    assert "pydantic" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == len(refused.value.problems)


@pytest.mark.parametrize(
    "host",
    [f"ssh://u:{PASSWORD}@docker", f"tcp://:{PASSWORD}@docker:2375", f"tcp://u:{PASSWORD}℀@docker:2375"],
)
def test_a_bad_docker_host_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    with pytest.raises(ConfigError, match=r"^DOCKER_HOST: is no engine's address: ") as refused:
        load_settings(None)
    assert PASSWORD not in str(refused.value)


def test_everything_bad_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_SOURCE_NAME", "db")
    monkeypatch.setenv("DOCKER_HOST", "docker")

    with pytest.raises(ConfigError) as refused:
        load_settings(None)
    assert [problem.file for problem in refused.value.problems] == ["DATA_SOURCE_NAME", "DOCKER_HOST"]
