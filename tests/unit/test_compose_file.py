"""docker-compose.yml, docs/compose/pairs.yml, .env.example and docs/compose.md, held against each other."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE, PAIRS = ROOT / "docker-compose.yml", ROOT / "docs" / "compose" / "pairs.yml"
CONFIG, OF_PAIRS = ROOT / "docs" / "compose" / "config", ROOT / "docs" / "compose" / "pairs"
GUIDE = (ROOT / "docs" / "compose.md").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")

PUBLISHED = {"grafana", "prometheus", "alertmanager"}
ENDING = {"setup", "render", "render-b"}
"""Services that do their work and end."""
ROOTS = {"setup", "engine"}
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def read(path: Path) -> dict[str, Any]:
    """Give a file of Compose, with what its anchors stand for."""
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


ALONE: dict[str, dict[str, Any]] = read(FILE)["services"]
ADDED = {name: each for name, each in read(PAIRS)["services"].items() if name not in ALONE}
SERVICES = ALONE | ADDED

each_service = pytest.mark.parametrize(("name", "service"), SERVICES.items(), ids=SERVICES)


# --- every service ------------------------------------------------------------------------------------------


@each_service
def test_it_has_limits_and_its_logs_are_rotated(name: str, service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["cpus"] <= 1  # an engine with one processor refuses more
    assert 0 < service["pids_limit"] <= 200
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


@each_service
def test_it_is_locked_up(name: str, service: dict[str, Any]) -> None:
    assert service["read_only"] is (name != "grafana")
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["CHOWN", "SETGID", "SETUID"] if name == "setup" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "pid", "ipc", "devices"}


@each_service
def test_it_is_root_only_where_it_must_be(name: str, service: dict[str, Any]) -> None:
    is_ours = service["image"].startswith("plimsoll:")  # whose Dockerfile names user 65532
    user = service.get("user", "65532" if is_ours else "unknown").partition(":")[0]
    assert (user == "0") is (name in ROOTS)
    assert user.isdigit()


@each_service
def test_it_is_asked_whether_it_is_well_and_is_started_again(name: str, service: dict[str, Any]) -> None:
    if name in ENDING:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"].keys() == {"test", "interval", "timeout", "retries", "start_period"}


@each_service
def test_its_image_is_pinned(name: str, service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?", service["image"])


@each_service
def test_it_starts_after_what_it_needs_is_well(name: str, service: dict[str, Any]) -> None:
    conditions = {needed: each["condition"] for needed, each in service.get("depends_on", {}).items()}
    assert conditions.keys() <= SERVICES.keys()
    assert all(
        condition == ("service_completed_successfully" if needed in ENDING else "service_healthy")
        for needed, condition in conditions.items()
    )
    secrets = any(volume.startswith("secrets") for volume in service.get("volumes", ()))
    assert name == "setup" or not secrets or "setup" in conditions


@each_service
def test_what_it_mounts_is_there(name: str, service: dict[str, Any]) -> None:
    volumes = read(FILE)["volumes"].keys() | read(PAIRS)["volumes"].keys()
    for volume in service.get("volumes", ()):
        source = VARIABLE.sub(r"\2", volume).split(":")[0]
        if source.startswith("."):
            assert (
                ROOT / source
            ).is_dir()  # a file that is mounted alone stays the old one when it is replaced
        else:
            assert source in volumes or source in {"/", "/sys", "/proc", "/var/run/docker.sock"}


def test_nothing_but_the_three_is_published_and_only_where_the_user_says() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports.keys() == PUBLISHED
    for name, (port,) in ports.items():
        variable = rf"\$\{{PUBLISH_ADDRESS:-127\.0\.0\.1\}}:\$\{{{name.upper()}_PORT:-(\d+)\}}:(\d+)"
        found = re.fullmatch(variable, port)
        assert found
        assert found[1] == found[2]


def test_a_service_has_its_own_secrets_only() -> None:
    mounted = {
        name: {volume.split(":")[0] for volume in service.get("volumes", ()) if volume.startswith("secrets")}
        for name, service in SERVICES.items()
    }
    assert len(mounted.pop("setup")) == 7
    assert {name: volumes for name, volumes in mounted.items() if volumes} == {
        name: {f"secrets-{name.removesuffix('-b')}"} for name, volumes in mounted.items() if volumes
    }


def test_the_engine_is_reached_by_the_exporter_alone() -> None:
    near = {name for name, service in SERVICES.items() if "engine" in service.get("networks", ())}
    assert near == {"engine", "exporter", "exporter-b"}
    assert [name for name, each in SERVICES.items() if "docker.sock" in str(each.get("volumes"))] == [
        "engine"
    ]
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = re.search(r"^  ```yaml\n(  services:\n    engine:.*?)  ```", readme, re.DOTALL | re.MULTILINE)
    assert shown
    proxy = yaml.safe_load(shown[1])["services"]["engine"]
    assert SERVICES["engine"]["image"].startswith(f"{proxy['image']}:")
    assert SERVICES["engine"]["environment"] == proxy["environment"]


# --- what a user sets ---------------------------------------------------------------------------------------


def test_what_can_be_set_is_in_the_example_with_what_holds_else() -> None:
    defaults = dict(VARIABLE.findall(FILE.read_text()))
    assert "$" not in VARIABLE.sub("", FILE.read_text().replace("$$", ""))
    shown: dict[str, list[str]] = {}
    for name, value in re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE):
        shown.setdefault(name, []).append(value)
    del shown["COMPOSE_PROFILES"]  # Compose's own
    assert shown.keys() == defaults.keys()
    yours = {"DATA_SOURCE_NAME", "PLIMSOLL_WEBHOOK_URL"}  # which show what could be there
    assert {name: [default] for name, default in defaults.items() if name not in yours} == {
        name: values for name, values in shown.items() if name not in yours
    }


def test_one_variable_has_one_default() -> None:
    alone, paired = (set(VARIABLE.findall(file.read_text())) for file in (FILE, PAIRS))
    assert len(alone) == len(dict(alone))
    assert paired - alone == {("PLIMSOLL_CONFIG", "./docs/compose/pairs")}


def test_the_configuration_asks_for_variables_that_are_set() -> None:
    asked = set(re.findall(r"\$\{(\w+)\}", (CONFIG / "plimsoll" / "plimsoll.yml").read_text()))
    given = chain.from_iterable(ALONE[name]["environment"] for name in ("exporter", "render"))
    assert asked <= set(given)
    assert ALONE["setup"]["environment"] == ALONE["render"]["environment"]


def test_no_password_has_a_default() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN", name) or name.endswith(("__FILE", "_FILE"))
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value))


# --- Prometheus, and pairs ----------------------------------------------------------------------------------


def jobs(path: Path) -> dict[str, Any]:
    return {job["job_name"]: job for job in yaml.safe_load(path.read_text())["scrape_configs"]}


def test_prometheus_scrapes_what_ours_does_and_more() -> None:
    ours = yaml.safe_load((ROOT / "rules" / "prometheus.yml").read_text())
    composed = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
    assert composed["global"] == ours["global"]
    assert {job["job_name"] for job in ours["scrape_configs"]} <= jobs(
        CONFIG / "prometheus/prometheus.yml"
    ).keys()


@pytest.mark.parametrize(("replica", "file"), [("a", "prometheus.yml"), ("b", "prometheus-b.yml")])
def test_a_pair_is_scraped_as_one_is(replica: str, file: str) -> None:
    path = OF_PAIRS / "prometheus" / file
    paired = yaml.safe_load(path.read_text())
    alone = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
    assert paired["global"] == {**alone["global"], "external_labels": {"replica": replica}}
    assert paired["alerting"] == {
        "alert_relabel_configs": [{"action": "labeldrop", "regex": "replica"}],
        "alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093", "alertmanager-b:9093"]}]}],
    }
    assert paired["rule_files"] == alone["rule_files"]
    for name, job in jobs(CONFIG / "prometheus" / "prometheus.yml").items():
        twice = name in {"plimsoll", "plimsoll-relay", "prometheus", "alertmanager"}
        assert (jobs(path)[name] == job) is not twice
        if twice:
            assert len(jobs(path)[name]["static_configs"][0]["targets"]) == 2


def test_a_pair_is_configured_as_one_is_but_for_the_second_alertmanager() -> None:
    alone = yaml.safe_load((CONFIG / "plimsoll" / "plimsoll.yml").read_text())
    paired = yaml.safe_load((OF_PAIRS / "plimsoll" / "plimsoll.yml").read_text())
    assert paired.pop("alertmanager") == {"urls": ["http://alertmanager:9093", "http://alertmanager-b:9093"]}
    assert alone.pop("alertmanager") == {"urls": ["http://alertmanager:9093"]}
    assert paired == alone
    assert (OF_PAIRS / "prometheus" / "probes.yml").read_text() == (
        CONFIG / "prometheus/probes.yml"
    ).read_text()


@pytest.mark.parametrize("name", ADDED)
def test_the_second_is_like_the_first(name: str) -> None:
    first, second = ALONE[name.removesuffix("-b")], SERVICES[name]
    assert second["image"] == first["image"]
    assert set(second["networks"]) == set(first["networks"]) - (
        {"published"} if name == "prometheus-b" else set()
    )
    for key in (
        "mem_limit",
        "cpus",
        "pids_limit",
        "restart",
        "healthcheck",
        "build",
        "extra_hosts",
        "user",
        "tmpfs",
    ):
        assert second.get(key) == first.get(key)


# --- what is said of it -------------------------------------------------------------------------------------


def test_the_guide_names_every_service_with_its_user_and_networks() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| (\d+|root) \| ([\w, ]+) \|", GUIDE, re.MULTILINE)
    assert {name: (user, networks) for name, user, networks in rows} == {
        name: (
            "root" if name in ROOTS else service.get("user", "65532").partition(":")[0],
            ", ".join(service.get("networks", ())) or "none",
        )
        for name, service in ALONE.items()
        if name != "render"
    }


def test_commands_of_the_guide_name_services_and_files_that_are_there() -> None:
    commands = re.findall(r"docker compose ([^`\n#;&|]+)", GUIDE)
    assert len(commands) > 15
    for command in commands:
        words = command.split()
        while words[0] == "-f":
            assert (ROOT / words[1]).is_file()
            words = words[2:]
        services = [word for word in words[1:] if word in SERVICES]
        assert words[0] in {"up", "down", "build"} or services


def test_the_images_files_are_those_of_its_users() -> None:
    """What runs in the project's image stands beside the compose file, so changes need no build."""
    for name in ("setup", "inbox"):
        (script,) = (word for word in ALONE[name]["entrypoint"] if word.endswith(".py"))
        assert (ROOT / "docs" / "compose" / script.lstrip("/")).is_file()
