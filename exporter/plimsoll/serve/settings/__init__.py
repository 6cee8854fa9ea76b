"""What `plimsoll serve` reads of the configuration: its sections of the file, or the environment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ValidationError, model_validator

from plimsoll.config import ConfigError, Document, Problem, Section
from plimsoll.config.section import explain
from plimsoll.serve.settings import containers, postgres
from plimsoll.serve.settings.containers import EngineSettings, TlsSettings
from plimsoll.serve.settings.postgres import PostgresSettings, ServerSettings
from plimsoll.serve.settings.shared import named_differently
from plimsoll.serve.settings.sql import SqlEntry, agreeing, suited


class Settings(Section):
    """Everything that is watched: PostgreSQL servers, container engines, or both, and further queries."""

    postgres: PostgresSettings = PostgresSettings.model_construct(servers=())
    containers: Annotated[
        tuple[EngineSettings, ...], AfterValidator(partial(named_differently, listed="containers"))
    ] = ()
    sql: Annotated[tuple[SqlEntry, ...], AfterValidator(agreeing)] = ()

    @model_validator(mode="after")
    def _suits_its_servers(self) -> Self:
        suited(self.sql, self.servers)
        return self

    @property
    def servers(self) -> tuple[ServerSettings, ...]:
        """The PostgreSQL servers."""
        return self.postgres.servers

    def sql_of(self, server: ServerSettings) -> tuple[SqlEntry, ...]:
        """Give the collector files that run on a server, in their order."""
        return tuple(entry for entry in self.sql if entry.runs_on(server.name))


def load_settings(config_file: Path | None, *, may_watch_nothing: bool = False) -> Settings:
    """Read the file, or the environment where there is no file.

    Raises:
        ConfigError: it is bad, or there is nothing to watch, unless that may be.
    """
    if config_file is not None:
        settings = Document.read(config_file).sections(Settings)
        source, hint = str(config_file), "postgres or containers is required"
    else:
        settings = _from_environment()
        source = "environment"
        hint = "give --config.file, DATA_SOURCE_NAME, PGHOST or DOCKER_HOST, or start Docker or Podman"
    if not (settings.servers or settings.containers or may_watch_nothing):
        raise ConfigError([Problem(source, 0, (), f"nothing to watch: {hint}")])
    return settings


def _from_environment() -> Settings:
    found: dict[str, Any] = {}
    problems = []
    try:
        if server := postgres.from_environment():
            found["postgres"] = PostgresSettings(servers=(server,))
    except ValueError as error:
        problems.append(Problem("DATA_SOURCE_NAME", 0, (), str(error)))
    try:
        if engine := containers.from_environment():
            found["containers"] = (engine,)
    except ValidationError as error:
        told = (explain(details, TlsSettings) for details in error.errors())
        problems += [Problem("DOCKER_CERT_PATH", 0, place, message) for place, message in told]
    except ValueError as error:
        problems.append(Problem("DOCKER_HOST", 0, (), str(error)))
    if problems:
        raise ConfigError(problems)
    return Settings(**found)
