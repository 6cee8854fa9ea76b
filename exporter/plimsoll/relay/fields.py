"""Kinds of value that only the relay reads: secrets to sign with, headers, its token, how long to keep."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretBytes, SecretStr, ValidationInfo

from plimsoll.config import PlacedError
from plimsoll.config.fields import Duration, SecretFile, secret_in
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
"""A header that the relay does not set itself."""

HeaderValue = Annotated[SecretStr, BeforeValidator(_header_value)]
"""What stands in a header; it may hold a secret."""

Secrets = Annotated[tuple[SecretBytes, ...], BeforeValidator(_secrets)]
"""One secret or several, decoded."""

SecretsInFiles = Annotated[tuple[SecretBytes, ...], BeforeValidator(_secrets_in_files)]
"""The secret in each file, written as one path or several."""

Token = Annotated[SecretFile, AfterValidator(_token)]
"""The bearer token in a file, written as the file's path."""

Retention = Annotated[Duration, AfterValidator(_lasting)]
"""Seconds for which something is kept."""
