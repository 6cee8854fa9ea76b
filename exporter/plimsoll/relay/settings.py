"""What the relay reads of the file: receivers and their secrets, whom to ask, and where history is kept."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretBytes,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from plimsoll.alerts.settings import AlertmanagerSettings, PrometheusSettings, RelaySettings
from plimsoll.alerts.shape import Given, Webhook
from plimsoll.config import Document, PlacedError, Section
from plimsoll.config.document import Review
from plimsoll.config.dsn import Dsn, DsnFile
from plimsoll.config.fields import Duration, SecretFile, WholeNumber, secret_in
from plimsoll.config.section import kind

_SHORTEST_SECRET, _LONGEST_SECRET = 24, 64
"""Bytes, as the specification of Standard Webhooks has it."""

_PREFIX = "whsec_"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SHORTEST_RETENTION = 3600.0
_OUR_HEADERS = frozenset(
    {
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
        *("host", "content-type", "content-length", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "upgrade", "te", "trailer", "expect"),
    }
)
"""Headers that say what is sent, by whom it is signed, and how it travels."""


def _secrets(value: Any) -> tuple[SecretBytes, ...]:
    return tuple(_decoded(secret, index) for index, secret in _listed(value))


def _secrets_in_files(value: Any, info: ValidationInfo) -> tuple[SecretBytes, ...]:
    return tuple(_decoded(secret_in(path, info), index) for index, path in _listed(value))


def _listed(value: Any) -> list[tuple[int | None, Any]]:
    """Give each entry with its index, which is None for what is no list."""
    if not isinstance(value, list):
        return [(None, value)]
    if not value:
        raise ValueError("must have at least one entry")
    return list(enumerate(value))


def _decoded(value: Any, index: int | None) -> SecretBytes:
    """Decode a secret. It is not shown, whatever is wrong with it."""
    place = () if index is None else (index,)
    if not isinstance(value, str) or not value.startswith(_PREFIX):
        raise PlacedError(f"must begin with {_PREFIX} and go on with base64", *place)
    try:
        secret = base64.b64decode(value.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise PlacedError(f"must be base64 after {_PREFIX}", *place) from None
    if not _SHORTEST_SECRET <= len(secret) <= _LONGEST_SECRET:
        raise PlacedError(
            f"must be {_SHORTEST_SECRET} to {_LONGEST_SECRET} bytes in base64, is {len(secret)}", *place
        )
    return SecretBytes(secret)


def _header_name(name: Any) -> str:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of a header")
    if name.lower() in _OUR_HEADERS:
        raise ValueError("is set by the relay itself; choose another header")
    return name


def _header_value(value: Any) -> SecretStr:
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"must be printable ASCII without blanks around it, is {kind(value)} that is not")
    return SecretStr(value)


def _token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("the file must hold one line of printable ASCII without blanks")
    return token


def _lasting(seconds: float) -> float:
    if seconds < _SHORTEST_RETENTION:
        raise ValueError("must be at least 1h")
    return seconds


HeaderName = Annotated[str, BeforeValidator(_header_name)]
HeaderValue = Annotated[SecretStr, BeforeValidator(_header_value)]
Secrets = Annotated[tuple[SecretBytes, ...], BeforeValidator(_secrets)]
Token = Annotated[SecretFile, AfterValidator(_token)]
SecretsInFiles = Annotated[tuple[SecretBytes, ...], BeforeValidator(_secrets_in_files)]


class Receiver(Webhook):
    """A webhook, with its secrets read."""

    secret: Secrets | None = None
    secret_file: SecretsInFiles | None = None
    headers: Mapping[HeaderName, HeaderValue] | None = None

    @model_validator(mode="after")
    def _has_one_authorization(self) -> Receiver:
        names = {name.lower() for name in self.headers or ()}
        if "authorization" in names and "@" in urlsplit(self.url).netloc:
            raise PlacedError(
                "hold Authorization, and so does the URL with its user: one is allowed", "headers"
            )
        return self

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What its posts are signed with: all of them, so that they can be exchanged one after another."""
        return tuple(each.get_secret_value() for each in (*(self.secret or ()), *(self.secret_file or ())))


class OwnSettings(RelaySettings):
    """The section of the relay, with its token read."""

    token_file: Token  # type: ignore[assignment]  # a path to everybody else


class HistorySettings(Given):
    """Where history is kept, and for how long."""

    dsn: Dsn | None = None
    dsn_file: DsnFile = Field(default=None, validate_default=True)
    retention: Annotated[Duration, AfterValidator(_lasting)] = 400 * 86400.0
    keep: WholeNumber = Field(default=10_000, ge=1)
    """Alerts that have resolved; and deliveries."""

    @property
    def conninfo(self) -> str:
        """The connection string."""
        dsn = self.dsn if self.dsn is not None else self.dsn_file
        assert dsn is not None  # noqa: S101 - the section was refused without
        return dsn.get_secret_value()


class _Sections(Given):
    relay: OwnSettings
    history: HistorySettings | None = None
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    prometheus: PrometheusSettings = PrometheusSettings()


class Settings(Section):
    """Everything that the relay needs to know."""

    receivers: Mapping[str, Receiver]
    relay: OwnSettings
    history: HistorySettings | None
    alertmanagers: tuple[str, ...]
    prometheus: str


def load_settings(path: Path) -> Settings:
    """Read what the relay needs; everything else in the file is left alone.

    Raises:
        ConfigError: it cannot be read, or something in the relay's sections is wrong: all of it.
    """
    document = Document.read(path)
    review = Review(document)
    sections = review.validate(_Sections, review.resolved(_Sections.model_fields), ())
    receivers = _receivers(review)
    review.conclude()
    assert sections is not None  # noqa: S101 - or there was something wrong
    return Settings(
        receivers=receivers,
        relay=sections.relay,
        history=sections.history,
        alertmanagers=sections.alertmanager.urls,
        prometheus=sections.prometheus.url,
    )


def check_settings(path: Path) -> None:
    """Look into the sections of the relay, if the file has them.

    Raises:
        ConfigError: something in them is wrong: all of it.
    """
    document = Document.read(path)
    if "relay" in document or "history" in document:
        load_settings(path)


def _receivers(review: Review) -> dict[str, Receiver]:
    webhooks = review.resolved(["webhooks"]).get("webhooks") or {}
    if not isinstance(webhooks, dict):
        review.blame(("webhooks",), "must be a mapping of names to their settings")
        return {}
    found = {name: review.validate(Receiver, each, ("webhooks", name)) for name, each in webhooks.items()}
    return {name: receiver for name, receiver in found.items() if receiver is not None}
