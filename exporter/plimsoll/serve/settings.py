"""The section `postgres` of the configuration file: which servers are watched, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, model_validator

from plimsoll.config import Section
from plimsoll.config.fields import Duration, LabelName, Name, Pattern, SecretFile

RESERVED_LABELS = frozenset(
    {"server", "datname", "schemaname", "relname", "reason", "collector", "target", "job", "instance"}
)
"""Labels that the exporter or Prometheus sets; a second source for one of them is a mistake."""

_ENVIRONMENT = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


def _connection_string(dsn: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(dsn.get_secret_value())
    except psycopg.Error:  # its message may quote a part of the password
        raise ValueError(
            "is no connection string: postgresql://user@host:port/database or host=… user=… is allowed"
        ) from None
    return dsn


def _own_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if taken := sorted(labels.keys() & RESERVED_LABELS):
        raise ValueError(f"{', '.join(taken)} is set by the exporter or by Prometheus; choose another name")
    return labels


Dsn = Annotated[SecretStr, AfterValidator(_connection_string)]
DsnFile = Annotated[SecretFile, AfterValidator(_connection_string)]


class DatabaseSettings(Section):
    """Which databases are watched, and how often their sizes are asked for."""

    include: tuple[Pattern, ...] = Field(default=(".*",), validate_default=True)
    exclude: tuple[Pattern, ...] = ()
    interval: Duration = 60.0

    def wanted(self, datname: str) -> bool:
        """Say whether a database is included and not excluded; patterns match whole names."""
        return any(pattern.fullmatch(datname) for pattern in self.include) and not any(
            pattern.fullmatch(datname) for pattern in self.exclude
        )


class TableSettings(Section):
    """How often the tables of each database are measured."""

    interval: Duration = 60.0


class ServerSettings(Section):
    """One PostgreSQL server. Times are in seconds."""

    name: Name
    dsn: Dsn | None = None
    dsn_file: DsnFile | None = None
    labels: Annotated[dict[LabelName, str], AfterValidator(_own_labels)] = Field(default_factory=dict)
    databases: DatabaseSettings = DatabaseSettings()
    tables: TableSettings = TableSettings()
    max_connections: int = Field(default=2, ge=1, le=100)
    connect_timeout: Duration = 5.0
    statement_timeout: Duration = 10.0
    lock_timeout: Duration = 0.1
    max_age: Duration = 6 * 3600.0

    @model_validator(mode="after")
    def _consistent(self) -> ServerSettings:
        if (self.dsn is None) == (self.dsn_file is None):
            raise ValueError("needs either dsn or dsn_file")
        for key in ("connect_timeout", "statement_timeout", "lock_timeout"):
            if not getattr(self, key):
                raise ValueError(
                    f"{key} must be more than 0: without it a server that hangs would not be left"
                )
        if self.max_age < max(self.databases.interval, self.tables.interval):
            raise ValueError("max_age must not be shorter than an interval, or sizes vanish in between")
        return self

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Connection parameters by libpq's names; the PG* environment variables give what is missing."""
        dsn = self.dsn or self.dsn_file
        assert dsn is not None  # noqa: S101 - _consistent saw to it
        return {key: str(value) for key, value in conninfo_to_dict(dsn.get_secret_value()).items()}

    @property
    def address(self) -> tuple[str, str]:
        """Hosts and ports: entries of the same address share one server's connections."""
        host = self.parameters.get("host") or self.parameters.get("hostaddr") or os.environ.get("PGHOST", "")
        return host, self.parameters.get("port") or os.environ.get("PGPORT", "5432")

    @property
    def target_labels(self) -> dict[str, str]:
        """The labels that every series of this server carries."""
        return {"server": self.name, **self.labels}


def _different_names(servers: Sequence[ServerSettings]) -> Sequence[ServerSettings]:
    first: dict[str, int] = {}
    for index, server in enumerate(servers):
        if first.setdefault(server.name, index) != index:
            raise ValueError(
                f"servers [{first[server.name]}] and [{index}] have the same name {server.name!r}"
            )
    return servers


class PostgresSettings(Section):
    """All servers that are watched."""

    servers: Annotated[tuple[ServerSettings, ...], Field(min_length=1), AfterValidator(_different_names)]


def from_environment() -> PostgresSettings | None:
    """Give the one server that DATA_SOURCE_NAME or libpq's PG* variables name, or None."""
    dsn = os.environ.get("DATA_SOURCE_NAME", "")
    if not dsn and not any(os.environ.get(name) for name in _ENVIRONMENT):
        return None
    _connection_string(SecretStr(dsn))
    return PostgresSettings(servers=(ServerSettings(name="main", dsn=SecretStr(dsn)),))
