"""docs/security.md: with TLS and passwords everywhere all works together, or it is said what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
import yaml

from locked import ALERT, Locked, block, command, locked
from plimsoll.cli import FAILED, GOOD
from waiting import eventually

pytestmark = pytest.mark.long

OTHER = trustme.CA()
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
ALL = ("alertmanager", "prometheus")

EXPIRED = "expired"
"""A job for Alertmanager that trusts who issued the certificate which has expired."""

CLOSED = "EOF$|reset by peer$|broken pipe$"
"""A server of ours just hangs up, and says why in its log."""

DOWN: dict[str, tuple[dict[str, Any], str]] = {
    "authority": ({"tls_config": {"ca_file": "other.pem"}}, "certificate signed by unknown authority"),
    "name": (
        {"tls_config": {"server_name": "elsewhere"}},
        "certificate is valid for exporter, not elsewhere",
    ),
    "no_certificate": ({"tls_config": {"cert_file": "", "key_file": ""}}, CLOSED),
    "bad_certificate": (
        {"tls_config": {"cert_file": "stranger.pem", "key_file": "stranger.key"}},
        CLOSED,
    ),
    "password": ({"basic_auth": {"password_file": "secrets/plimsoll"}}, "HTTP status 401 Unauthorized"),
    "no_password": ({"basic_auth": None}, "server returned HTTP status 401 Unauthorized"),
    "plain": ({"scheme": "http", "tls_config": None}, CLOSED),
}
"""By job: how its scrape of the exporter differs from a good one, and what Prometheus says of it."""


def bad_jobs(world: Locked) -> list[dict[str, Any]]:
    expired = OTHER.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=90))
    for name, certificate in {"stranger": OTHER.issue_cert("127.0.0.1"), "expired": expired}.items():
        (world.directory / f"{name}.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
        (world.directory / f"{name}.key").write_bytes(certificate.private_key_pem.bytes())
    (world.directory / "other.pem").write_bytes(OTHER.cert_pem.bytes())
    scraped = {job["job_name"]: job for job in yaml.safe_load(block("prometheus.yml"))["scrape_configs"]}
    return [{**merged(scraped["alertmanager"], DOWN["authority"][0]), "job_name": EXPIRED}] + [
        {**merged(scraped["plimsoll"], changes), "job_name": name} for name, (changes, _) in DOWN.items()
    ]


def merged(job: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change a job, and what stands in its sections; None takes a section away."""
    found = {**job, **changes}
    for key, value in changes.items():
        if isinstance(value, dict):
            found[key] = {**job[key], **value}
    return {key: value for key, value in found.items() if value is not None}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with locked(tmp_path_factory.mktemp("locked"), bad_jobs) as running:
        yield running


def test_prometheus_scrapes_them_all(world: Locked) -> None:
    wanted = dict.fromkeys(("plimsoll", "plimsoll-relay", "alertmanager"), ("up", ""))
    eventually(lambda: wanted.items() <= world.targets().items())


@pytest.mark.parametrize("job", DOWN)
def test_prometheus_says_why_it_cannot_scrape(world: Locked, job: str) -> None:
    eventually(lambda: world.targets()[job][0] != "unknown")
    health, error = world.targets()[job]
    assert health == "down"
    assert re.search(DOWN[job][1], error)


def test_an_alert_is_told_through_the_relay_and_taken(
    world: Locked, capsys: pytest.CaptureFixture[str]
) -> None:
    eventually(lambda: world.receiver.told(ALERT, "firing"), 60)
    secret = (world.directory / "secrets" / "webhook").read_text("utf-8").strip()
    world.receiver.told(ALERT, "firing")[0].verify(secret)
    eventually(lambda: world.value("min(plimsoll_source_up)") == 1)

    assert world.run(*command("plimsoll", "ack", "--list")) == GOOD
    assert ALERT in capsys.readouterr().out
    assert world.run("ack", ALERT, "--config.file=plimsoll.yml") == GOOD
    eventually(lambda: world.value('sum(plimsoll_alerts{state="acknowledged"})') == 1)


def test_rules_are_taken_into_service(world: Locked, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run(*command("plimsoll", "check")) == GOOD
    assert re.findall(r"^ok  (\w+): https://", capsys.readouterr().out, re.MULTILINE) == [*ALL]
    assert world.run(*command("plimsoll", "render"), "--reload") == GOOD
    assert ": in force as rendered/versions/" in capsys.readouterr().out


# --- What our own commands say of what is wrong -----------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "authority": (
        {"tls_config": {"ca_file": "other.pem"}},
        "its certificate is refused: unable to get local issuer certificate (ca_file names the authority",
    ),
    "authorities of the system": ({"tls_config": {}}, "its certificate is refused: "),
    "name": (
        {"tls_config": {"ca_file": "tls/ca.pem", "server_name": "elsewhere"}},
        "its certificate is refused: Hostname mismatch, certificate is not valid for 'elsewhere' (server",
    ),
    "password": (
        {"basic_auth": {"username": "prometheus", "password_file": "secrets/plimsoll"}},
        "was answered with 401: Unauthorized (basic_auth, beside its URL, names the user and the file",
    ),
    "no password": (
        {"basic_auth": {"username": "nobody", "password_file": "secrets/plimsoll"}},
        "with 401: ",
    ),
}
"""What stands in the sections, and what is said of it."""


@contextmanager
def user_file(world: Locked, **changes: Mapping[str, Any]) -> Iterator[None]:
    """Change the user's file for a while."""
    world.write_user_file(**changes)
    try:
        yield
    finally:
        world.write_user_file()


def check_told(world: Locked, lines: list[str], kinds: Sequence[str], reason: str) -> None:
    """Check that there is a line for each program that says why it cannot be asked, and shows no secret."""
    assert len(lines) == len(kinds)
    for line, kind in zip(lines, kinds, strict=True):
        assert f"https://{world.addresses[kind]}: GET " in line
        assert reason in line
        assert world.password("plimsoll") not in line


def tried(world: Locked, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run `plimsoll check --connect`, and give what is bad."""
    assert world.run(*command("plimsoll", "check")) == FAILED
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("BAD ")]


@pytest.mark.parametrize("mistake", WRONG)
def test_it_is_said_what_is_wrong(world: Locked, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes, reason = WRONG[mistake]
    with user_file(world, **dict.fromkeys(ALL, changes)):
        check_told(world, tried(world, capsys), ALL, reason)


def test_every_command_says_what_is_wrong(world: Locked, capsys: pytest.CaptureFixture[str]) -> None:
    changes, reason = WRONG["password"]
    with user_file(world, **dict.fromkeys(ALL, changes)):
        assert world.run(*command("plimsoll", "render"), "--reload") == FAILED
        told = [line for line in capsys.readouterr().err.splitlines() if "https://" in line]
        check_told(world, told, ("prometheus", "alertmanager"), reason)
        assert world.run(*command("plimsoll", "ack", "--list")) == FAILED
        check_told(world, capsys.readouterr().err.splitlines()[:1], ("alertmanager",), "answered with 401")


CERTIFICATES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "expired": (
        {"cert_file": "expired.pem", "key_file": "expired.key"},
        {"ca_file": "other.pem"},
        "its certificate is refused: certificate has expired",
    ),
    "none of ours": (
        {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "tls/ca.pem"},
        {"ca_file": "tls/ca.pem"},
        "it refuses our certificate, or misses one: ",
    ),
    "a stranger's": (
        {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "tls/ca.pem"},
        {"ca_file": "tls/ca.pem", "cert_file": "stranger.pem", "key_file": "stranger.key"},
        "it refuses our certificate, or misses one: ",
    ),
}
"""What Alertmanager is given while it runs, what stands in the file, and what is said of it."""


@pytest.mark.parametrize("case", CERTIFICATES)
def test_it_is_said_which_certificate_is_bad(
    world: Locked, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served, tls_config, reason = CERTIFICATES[case]
    world.write_web_file("alertmanager", **served)
    try:
        with user_file(world, alertmanager={"tls_config": tls_config}):
            check_told(world, tried(world, capsys), ("alertmanager",), reason)
    finally:
        world.write_web_file("alertmanager")


def test_prometheus_says_that_a_certificate_has_expired(world: Locked) -> None:
    world.write_web_file("alertmanager", cert_file="expired.pem", key_file="expired.key")
    try:
        eventually(lambda: "certificate has expired or is not yet valid" in world.targets()[EXPIRED][1])
    finally:
        world.write_web_file("alertmanager")


def test_commands_show_a_certificate_of_their_own(world: Locked, capsys: pytest.CaptureFixture[str]) -> None:
    own = {"ca_file": "tls/ca.pem", "cert_file": "tls/relay.pem", "key_file": "tls/relay.key"}
    eventually(lambda: world.receiver.told(ALERT, "firing"), 60)
    world.write_web_file(
        "alertmanager", client_auth_type="RequireAndVerifyClientCert", client_ca_file="tls/ca.pem"
    )
    try:
        with user_file(world, alertmanager={"tls_config": own}):
            assert world.run(*command("plimsoll", "check")) == GOOD
            assert world.run(*command("plimsoll", "ack", "--list")) == GOOD
    finally:
        world.write_web_file("alertmanager")
    assert ALERT in capsys.readouterr().out


def test_the_relay_says_what_is_wrong_and_goes_on_when_it_is_mended(world: Locked) -> None:
    reason = "its certificate is refused: unable to get local issuer certificate"
    with user_file(world, alertmanager={"tls_config": {"ca_file": "other.pem"}}):
        world.reload_relay()
        eventually(lambda: world.relay.messages(reason))
    (told,) = world.relay.messages(reason)
    assert told["url"] == f"https://{world.addresses['alertmanager']}"
    eventually(lambda: world.value("min(plimsoll_source_up)") == 0)
    world.reload_relay()
    eventually(lambda: world.value("min(plimsoll_source_up)") == 1)
