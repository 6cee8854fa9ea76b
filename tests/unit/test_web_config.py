"""Files of `--web.config.file`: good ones have the values that they say; bad ones get exactly their message.

Every `tests/fixtures/web/bad/NAME.yml` stands beside a `NAME.txt` with the lines that it gets, as in
`test_config.py`, and `PLIMSOLL_UPDATE_GOLDEN=1 pytest tests/unit/test_web_config.py` writes them anew.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

import pytest
import yaml

from plimsoll.config import ConfigError
from plimsoll.web.settings import load_web_settings

FIXTURES = Path(__file__).parents[1] / "fixtures" / "web"
BAD = sorted((FIXTURES / "bad").glob("*.yml"))
OPENSSL = re.compile(r"\[[^\]]+\] [^\n]* \(_ssl\.c:[0-9]+\)")
PASSWORDS = ("hunter2", "12345")
HASH = "$2b$10$tSGfgIIiLPBeTLUU0EGEG.G8WPeLHqEOYwWOcpxBO.TRcESAQ4BWa"
CERTIFICATES = FIXTURES.parent / "config" / "certificates"
TLS = {"cert_file": str(CERTIFICATES / "cert.pem"), "key_file": str(CERTIFICATES / "key.pem")}
VERIFIED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": str(CERTIFICATES / "ca.pem")}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_gets_its_message(path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_web_settings(path)
    got = f"{refused.value}\n".replace(str(path), "{file}").replace(str(path.parent), "{directory}")
    got = OPENSSL.sub("{openssl}", got)

    expected = path.with_suffix(".txt")
    if os.environ.get("PLIMSOLL_UPDATE_GOLDEN"):
        expected.write_text(got, "utf-8")

    assert got == expected.read_text("utf-8")
    assert not any(password in got for password in PASSWORDS)


def test_every_message_belongs_to_a_file() -> None:
    assert {path.stem for path in BAD} == {path.stem for path in (FIXTURES / "bad").glob("*.txt")}


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_web_settings(tmp_path / "web.yml")
    assert str(refused.value) == f"{tmp_path}/web.yml: cannot be read: No such file or directory"


def test_an_empty_file_protects_nothing() -> None:
    settings = load_web_settings(FIXTURES / "good" / "empty.yml")

    assert (settings.tls_server_config, settings.basic_auth_users, settings.files) == (None, {}, frozenset())


def test_a_minimal_file_has_the_defaults() -> None:
    settings = load_web_settings(FIXTURES / "good" / "minimal.yml")

    assert settings.basic_auth_users == {}
    assert {file.resolve() for file in settings.files} == {
        CERTIFICATES / "cert.pem",
        CERTIFICATES / "key.pem",
    }
    assert settings.tls_server_config
    context = settings.tls_server_config.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_a_full_file_has_its_values() -> None:
    settings = load_web_settings(FIXTURES / "good" / "full.yml")

    assert set(settings.basic_auth_users) == {"ada", "prometheus", "grace hopper ⚓"}
    assert settings.basic_auth_users["ada"] == HASH
    assert (FIXTURES / "good" / "../../config/certificates/ca.pem") in settings.files
    assert settings.tls_server_config
    context = settings.tls_server_config.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


ADA, BOB = {"basic_auth_users": {"ada": HASH}}, {"basic_auth_users": {"bob": HASH}}


@pytest.mark.parametrize(
    ("former", "now", "reasons"),
    [
        ({}, {}, []),
        ({}, ADA, []),
        (ADA, BOB, []),
        (ADA, {}, [("basic_auth_users", "passwords are turned off by a restart only")]),
        (
            {},
            {"tls_server_config": TLS},
            [("tls_server_config", "TLS is turned on or off by a restart only")],
        ),
        (
            {"tls_server_config": TLS, **ADA},
            {},
            [
                ("tls_server_config", "TLS is turned on or off by a restart only"),
                ("basic_auth_users", "passwords are turned off by a restart only"),
            ],
        ),
        ({"tls_server_config": TLS}, {"tls_server_config": TLS | VERIFIED | {"min_version": "TLS13"}}, []),
        (
            {"tls_server_config": TLS | VERIFIED | {"min_version": "TLS13"}},
            {"tls_server_config": TLS},
            [
                ("tls_server_config", "client_auth_type is weakened by a restart only"),
                ("tls_server_config", "min_version is lowered by a restart only"),
            ],
        ),
        (
            {"tls_server_config": TLS | VERIFIED},
            {"tls_server_config": TLS | VERIFIED | {"client_auth_type": "VerifyClientCertIfGiven"}},
            [("tls_server_config", "client_auth_type is weakened by a restart only")],
        ),
    ],
)
def test_protection_is_taken_away_by_a_restart_only(
    former: object, now: object, reasons: list[tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "web.yml"
    path.write_text(yaml.safe_dump(former))
    before = load_web_settings(path)
    path.write_text(yaml.safe_dump(now))

    assert list(load_web_settings(path).less_than(before)) == reasons
