"""What `plimsoll serve` reads of the configuration: its sections of the file, or the environment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError

from plimsoll.config import ConfigError, Document, Problem, Section
from plimsoll.config.section import explain
from plimsoll.serve.settings import containers, postgres
from plimsoll.serve.settings.containers import EngineSettings, TlsSettings
from plimsoll.serve.settings.postgres import PostgresSettings, ServerSettings
from plimsoll.serve.settings.shared import named_differently


class Settings(Section):
    """Everything that is watched: PostgreSQL servers, container engines, or both."""

    postgres: PostgresSettings = PostgresSettings.model_construct(servers=())
    containers: Annotated[
        tuple[EngineSettings, ...], AfterValidator(partial(named_differently, listed="containers"))
    ] = ()

    @property
    def servers(self) -> tuple[ServerSettings, ...]:
        """The PostgreSQL servers."""
        return self.postgres.servers

    @property
    def engines(self) -> tuple[EngineSettings, ...]:
        """The container engines."""
        return self.containers


def load_settings(config_file: Path | None) -> Settings:
    """Read the file, or the environment where there is no file.

    Raises:
        ConfigError: it is bad, or there is nothing to watch.
    """
    if config_file is not None:
        settings = Document.read(config_file).sections(Settings)
        source, hint = str(config_file), "postgres or containers is required"
    else:
        settings = _from_environment()
        source = "environment"
        hint = "give --config.file, DATA_SOURCE_NAME, PGHOST or DOCKER_HOST, or start Docker or Podman"
    if not settings.servers and not settings.engines:
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
