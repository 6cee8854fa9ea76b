"""The section `postgres` of the configuration file: which servers are watched, and how."""

from __future__ import annotations

import os
from functools import cached_property, partial
from typing import Annotated, Literal, NamedTuple

from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, StrictBool, ValidationInfo, field_validator

from plimsoll.alerts.labels import OwnLabel
from plimsoll.config import Section
from plimsoll.config.dsn import Dsn, DsnFile, connection_string
from plimsoll.config.fields import Duration, Name, Timeout, WholeNumber
from plimsoll.serve.settings.shared import Selection, named_differently

_ENVIRONMENT = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


class Host(NamedTuple):
    """Where a server listens. Servers of the configuration that share a host share its connections."""

    name: str
    port: str
    left_to_libpq: bool = False
    """Whether the name says too little for us to connect to: libpq finds the server by other means."""


class DatabaseSettings(Selection):
    """Which databases are watched, how often their sizes are asked for, and for how long at a time."""

    interval: Duration = 60.0
    timeout: Timeout = 30.0


class TableSettings(Section):
    """How the tables of each database are measured, and which of them have series of their own."""

    interval: Duration = 60.0
    """How often they are looked at."""
    full_interval: Duration = 3600.0
    """Within which time each is measured again, though nothing seems to have changed."""
    limit: WholeNumber = Field(default=1000, ge=0)
    """For each database; 0 is none."""
    partitions: Literal["roll_up", "roots_only"] = "roll_up"
    statistics: StrictBool = False
    """Whether the other columns of pg_stat_user_tables are published."""


class ServerSettings(Section):
    """One PostgreSQL server. Times are in seconds."""

    name: Name
    dsn: Dsn | None = None
    dsn_file: DsnFile = Field(default=None, validate_default=True)
    labels: dict[OwnLabel, str] = Field(default_factory=dict)
    databases: DatabaseSettings = DatabaseSettings()
    tables: TableSettings = TableSettings()
    max_connections: WholeNumber = Field(default=2, ge=1, le=100)
    connect_timeout: Timeout = 5.0
    statement_timeout: Timeout = 10.0
    lock_timeout: Timeout = 0.1
    max_age: Duration = Field(default="6h", validate_default=True)

    @field_validator("max_age")
    @classmethod
    def _outlives_intervals(cls, max_age: float, info: ValidationInfo) -> float:
        keys = (("databases", "interval"), ("tables", "interval"), ("tables", "full_interval"))
        intervals = [(getattr(info.data[part], key), part, key) for part, key in keys if part in info.data]
        longest, part, key = max(intervals, default=(0.0, "", ""))
        if max_age < longest:
            raise ValueError(
                f"must not be shorter than {part}.{key} ({longest:g} s), or sizes vanish in between; "
                f"is {max_age:g} s"
            )
        return max_age

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Connection parameters by libpq's names; the PG* environment variables give what is missing."""
        dsn = self.dsn if self.dsn is not None else self.dsn_file
        assert dsn is not None  # noqa: S101 - _one_source saw to it
        return {key: str(value) for key, value in conninfo_to_dict(dsn.get_secret_value()).items()}

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts of the connection string, to be tried in this order."""
        port = self.parameters.get("port") or os.environ.get("PGPORT") or "5432"
        if unresolved := self.parameters.get("hostaddr") or self.parameters.get("service"):
            return (Host(unresolved, port, left_to_libpq=True),)
        names = self.parameters.get("host") or os.environ.get("PGHOST", "")
        if not names:
            return (Host("", port, left_to_libpq=True),)
        ports = port.split(",")
        if len(ports) == 1:
            ports *= names.count(",") + 1
        return tuple(Host(name, port) for name, port in zip(names.split(","), ports, strict=False))

    @property
    def target_labels(self) -> dict[str, str]:
        """The labels that every series of this server carries."""
        return {"server": self.name, **self.labels}


class PostgresSettings(Section):
    """All servers that are watched."""

    servers: Annotated[
        tuple[ServerSettings, ...], AfterValidator(partial(named_differently, listed="servers"))
    ]


def from_environment() -> ServerSettings | None:
    """Give the server that DATA_SOURCE_NAME or libpq's PG* variables name, or None.

    Raises:
        ValueError: DATA_SOURCE_NAME is no connection string.
    """
    dsn = os.environ.get("DATA_SOURCE_NAME", "")
    if not dsn and not any(os.environ.get(name) for name in _ENVIRONMENT):
        return None
    return ServerSettings(name="main", dsn=connection_string(SecretStr(dsn or "postgresql://")))
