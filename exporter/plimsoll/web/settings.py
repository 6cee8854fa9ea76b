"""The file of `--web.config.file`: certificates and users, in the format of exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from plimsoll.config import Document, PlacedError, Problem, Section
from plimsoll.config.fields import FilePath, Name
from plimsoll.config.section import shown
from plimsoll.web.tls import Handshake

_SECTIONS = ("tls_server_config", "basic_auth_users")
_OTHER_SECTIONS = ("http_server_config", "rate_limit")
_REFUSED = "is a key of exporter-toolkit that Plimsoll does not support"
_OTHER_KEY = Field(default=None, deprecated=_REFUSED)

_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_ALLOWED_TYPES = ", ".join(_CLIENTS)
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_WEAK_VERSIONS = ("TLS10", "TLS11")

_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_HIGHEST_COST = 16


def _client_auth_type(value: Any) -> str:
    if value in _UNVERIFIED:
        raise ValueError(
            f"{value} is not supported: Python's TLS takes none unverified; allowed: {_ALLOWED_TYPES}"
        )
    if value not in tuple(_CLIENTS):
        raise ValueError(f"must be one of {_ALLOWED_TYPES}, is {shown(value)}")
    return str(value)


def _min_version(value: Any) -> str:
    if value in _WEAK_VERSIONS:
        raise ValueError(f"{value} is not supported, for it is not secure; TLS12 and TLS13 are")
    if value not in tuple(_VERSIONS):
        raise ValueError(f"must be TLS12 or TLS13, is {shown(value)}")
    return str(value)


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("must hold no colon: it ends the name where a client sends it")
    return value


def _bcrypt_hash(value: Any) -> str:
    """Accept a hash; what is none is not shown, for it may be a password."""
    match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError('is no bcrypt hash, such as `htpasswd -nBC 10 ""` prints after the colon')
    if int(match["cost"]) > _HIGHEST_COST:
        raise ValueError(f"has the cost {match['cost']}: at most {_HIGHEST_COST} can be compared in seconds")
    return match[0]


def _no_passphrase() -> str:
    """Refuse, where OpenSSL would ask whoever sits at the terminal."""
    raise PlacedError("is encrypted; a key without a passphrase is needed", "key_file")


class TlsSettings(Section):
    """How the server proves who it is, and its clients to it."""

    cert_file: FilePath
    key_file: FilePath
    client_auth_type: Annotated[str, BeforeValidator(_client_auth_type)] = "NoClientCert"
    client_ca_file: FilePath | None = Field(default=None, validate_default=True)
    min_version: Annotated[str, BeforeValidator(_min_version)] = "TLS12"
    cert: Any = _OTHER_KEY
    key: Any = _OTHER_KEY
    client_ca: Any = _OTHER_KEY
    client_allowed_sans: Any = _OTHER_KEY
    max_version: Any = _OTHER_KEY
    cipher_suites: Any = _OTHER_KEY
    prefer_server_cipher_suites: Any = _OTHER_KEY
    curve_preferences: Any = _OTHER_KEY

    @field_validator("cert", "key", "client_ca", mode="before")
    @classmethod
    def _is_no_file(cls, _: Any, info: ValidationInfo) -> None:
        raise ValueError(f"{_REFUSED}; {info.field_name}_file names a file")

    @field_validator(
        *("client_allowed_sans", "max_version", "cipher_suites", "prefer_server_cipher_suites"),
        "curve_preferences",
        mode="before",
    )
    @classmethod
    def _is_not_supported(cls, _: Any) -> None:
        raise ValueError(_REFUSED)

    @field_validator("client_ca_file")
    @classmethod
    def _goes_with_its_type(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        kind = info.data.get("client_auth_type")  # None: it is there, and bad
        if file and kind == "NoClientCert":
            raise ValueError("is for a client_auth_type that verifies, such as RequireAndVerifyClientCert")
        # exporter-toolkit would take everybody to whom some public authority has given a certificate.
        if kind and kind != "NoClientCert" and not file:
            raise ValueError(f"is required where client_auth_type is {kind}")
        return file

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _ = self.context
        return self

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What the files held when they were read.

        Raises:
            ValueError: one of them cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = Handshake
        context.minimum_version = _VERSIONS[self.min_version]
        context.verify_mode = _CLIENTS[self.client_auth_type]
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except OSError as error:
            raise ValueError(
                f"cert_file and key_file are no pair of certificate and key: {error.strerror or error}"
            ) from None
        if self.client_ca_file:
            self._trust(context, self.client_ca_file)
        return context

    @staticmethod
    def _trust(context: ssl.SSLContext, file: Path) -> None:
        try:
            context.load_verify_locations(file)
        except OSError as error:
            raise PlacedError(f"holds no certificates: {error.strerror or error}", "client_ca_file") from None


class WebSettings(Section):
    """Who may ask, and under which certificate the answer comes; nothing: anybody, in plain HTTP."""

    tls_server_config: TlsSettings | None = None
    basic_auth_users: dict[
        Annotated[Name, AfterValidator(_user)], Annotated[str, BeforeValidator(_bcrypt_hash)]
    ] = Field(default_factory=dict)

    @field_validator("tls_server_config", mode="before")
    @classmethod
    def _is_there(cls, tls: Any) -> Any:
        if tls is None:
            raise ValueError("must be a mapping, is empty")
        return tls

    @property
    def files(self) -> frozenset[Path]:
        """The files that it names."""
        tls = self.tls_server_config
        return frozenset(filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file) if tls else ()))

    def less_than(self, former: WebSettings) -> Iterator[tuple[str, str]]:
        """Tell, by section, why these settings must not follow the former ones while the server runs.

        A file that somebody is still writing looks like one that protects less, so that needs a restart.
        """
        tls, former_tls = self.tls_server_config, former.tls_server_config
        if (tls is None) != (former_tls is None):
            yield "tls_server_config", "TLS is turned on or off by a restart only"
        if former.basic_auth_users and not self.basic_auth_users:
            yield "basic_auth_users", "passwords are turned off by a restart only"
        if tls and former_tls:
            if _CLIENTS[tls.client_auth_type] < _CLIENTS[former_tls.client_auth_type]:
                yield "tls_server_config", "client_auth_type is weakened by a restart only"
            if _VERSIONS[tls.min_version] < _VERSIONS[former_tls.min_version]:
                yield "tls_server_config", "min_version is lowered by a restart only"


def load_web_settings(path: Path) -> WebSettings:
    """Read `path`, and the certificates that it names.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    document = Document.read(path, _SECTIONS)
    document.problems = [_by_name(problem) for problem in document.problems]
    return document.sections(WebSettings)


def _by_name(problem: Problem) -> Problem:
    """Say of a key that exporter-toolkit has, and we have not, that it is no slip of the pen."""
    unknown = problem.message.startswith("unknown key") and problem.place[0] in _OTHER_SECTIONS
    return replace(problem, message=_REFUSED) if unknown else problem
