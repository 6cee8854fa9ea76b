"""The section `containers` of the configuration file: which engines are watched, and how."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from plimsoll.alerts.labels import COMPOSE_LABELS, OwnLabel, published_name
from plimsoll.config import PlacedError, Section
from plimsoll.config.client_tls import client_context
from plimsoll.config.engines import SOCKETS, DockerHost, check_docker_host, engine_here
from plimsoll.config.fields import Duration, FilePath, Name, Timeout
from plimsoll.serve.settings.shared import Selection


def _directory(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be an absolute path, such as /host")
    return Path(value)


Directory = Annotated[Path, BeforeValidator(_directory)]


class TlsSettings(Section):
    """How an engine on tcp:// proves who it is, and we to it."""

    ca_file: FilePath
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must stand together, or neither")
        self.context()
        return self

    def context(self) -> ssl.SSLContext:
        """Read the files, as they are now.

        Raises:
            ValueError: one of them cannot be used.
        """
        return client_context(self.ca_file, self.cert_file, self.key_file)


class EngineSettings(Selection):
    """One container engine. Times are in seconds."""

    name: Name
    docker_host: DockerHost = f"unix://{SOCKETS[0]}"
    tls: TlsSettings | None = None
    labels: tuple[Name, ...] = COMPOSE_LABELS
    labels_as: dict[OwnLabel, Name] = Field(default_factory=dict)
    static_labels: dict[OwnLabel, str] = Field(default_factory=dict)
    host_root: Directory = Path("/")
    timeout: Timeout = 5.0
    keep_removed: Duration = 3600.0

    @field_validator("tls", mode="before")
    @classmethod
    def _is_there(cls, tls: Any) -> Any:
        if tls is None:
            raise ValueError("must be a mapping, is empty")
        return tls

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tls and self.docker_host.startswith("unix:"):
            raise PlacedError("is for tcp:// only", "tls")
        first: dict[str, str] = {}
        for key, step, name in self._label_sources():
            if name in first:
                raise PlacedError(f"gives the label {name}, which {first[name]} gives already", key, step)
            first[name] = key
        return self

    def _label_sources(self) -> Iterator[tuple[str, str | int, str]]:
        """Give each key that names labels, where in it one is named, and that label's name."""
        for index, label in enumerate(self.labels):
            yield "labels", index, published_name(label)
        for name in self.labels_as:
            yield "labels_as", name, name
        for name in self.static_labels:
            yield "static_labels", name, name

    @property
    def published_labels(self) -> Mapping[str, str]:
        """Container labels by the name under which each is published."""
        return {published_name(label): label for label in self.labels} | self.labels_as

    @property
    def target_labels(self) -> dict[str, str]:
        """The labels that every series of this engine carries."""
        return {"engine": self.name, **self.static_labels}


def from_environment() -> EngineSettings | None:
    """Give the engine that DOCKER_HOST names, or the one whose socket is in its usual place, or None.

    DOCKER_TLS_VERIFY and DOCKER_CERT_PATH mean what they mean to the docker command.

    Raises:
        ValueError: DOCKER_HOST is no address, or there are no certificates for it.
    """
    if (host := engine_here()) is None:
        return None
    tls = None if check_docker_host(host).startswith("unix:") else _tls_from_environment()
    found: dict[str, Any] = {"name": "local", "docker_host": host} | ({"tls": tls} if tls else {})
    return EngineSettings(**found)


def _tls_from_environment() -> TlsSettings | None:
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    return TlsSettings(ca_file=folder / "ca.pem", cert_file=folder / "cert.pem", key_file=folder / "key.pem")
