"""How a program is reached that wants TLS or a password, in the words of Prometheus' own configuration.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#tls_config
"""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from plimsoll.alerts.shape import Given
from plimsoll.config import PlacedError
from plimsoll.config.client_tls import client_context
from plimsoll.config.fields import FilePath, Name, SecretFile


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("must hold no colon: it ends the name where a client sends it")
    return value


def check_tls(tls_config: TlsConfig | None, *urls: str) -> None:
    """See that there is TLS where certificates are named for it.

    Raises:
        PlacedError: there is none.
    """
    if tls_config is not None and all(url.startswith("http://") for url in urls):
        raise PlacedError("is for https:// only", "tls_config")


class TlsConfig(Given):
    """Which authority a server is trusted by, and the client's own certificate. The files are not read."""

    ca_file: Name | None = None
    """Without it, the authorities of the system."""
    cert_file: Name | None = None
    key_file: Name | None = None
    server_name: Name | None = None
    """The name in the server's certificate, where that is not the one in the URL."""

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must stand together, or neither")
        return self


class BasicAuth(Given):
    """A user and its password, whose file is not read."""

    username: Annotated[Name, AfterValidator(_user)]
    password_file: Name


class Access(Given):
    """What a program wants of whoever asks it; whoever asks nothing reads no files."""

    basic_auth: BasicAuth | None = None
    tls_config: TlsConfig | None = None

    def check_fits(self, *urls: str) -> None:
        """See that the URLs want that, and say nothing else.

        Raises:
            PlacedError: they do.
        """
        check_tls(self.tls_config, *urls)
        if self.basic_auth is not None and any("@" in urlsplit(url).netloc for url in urls):
            raise PlacedError("names a user, and so does the URL: one is allowed", "basic_auth")


class OpenedTls(TlsConfig):
    """`TlsConfig`, with its files read."""

    ca_file: FilePath | None = None  # type: ignore[assignment]  # a text to who does not read it
    cert_file: FilePath | None = None  # type: ignore[assignment]
    key_file: FilePath | None = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        _ = self.context
        return self

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What the files held when they were read.

        Raises:
            ValueError: one of them cannot be used.
        """
        return client_context(self.ca_file, self.cert_file, self.key_file)


class OpenedBasicAuth(BasicAuth):
    """`BasicAuth`, with its password."""

    password_file: SecretFile  # type: ignore[assignment]  # a path to who does not read it


class OpenedAccess(Access):
    """`Access`, with its files read."""

    basic_auth: OpenedBasicAuth | None = None
    tls_config: OpenedTls | None = None

    @property
    def user(self) -> str | None:
        """`user:password`, or None."""
        if self.basic_auth is None:
            return None
        return f"{self.basic_auth.username}:{self.basic_auth.password_file.get_secret_value()}"
