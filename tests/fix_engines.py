"""Container engines: one Docker and one Podman per session, and more for those who kill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from engines import PROGRAMS, Docker, Engine, Podman, unmet
from plimsoll.demo.processes import workspace
from support import missing

KINDS: dict[str, type[Engine]] = {"docker": Docker, "podman": Podman}

OwnEngine = Callable[..., Engine]


@contextmanager
def running(kind: type[Engine], *flags: str) -> Iterator[Engine]:
    """Run an engine, or tell what it lacks."""
    if reason := unmet():
        missing(reason)
    with workspace() as folder, kind(folder, *flags) as engine:
        yield engine


@pytest.fixture(scope="session")
def shared_docker() -> Iterator[Engine]:
    """Run Docker for as long as the session (and worker); tests ask for `docker`."""
    with running(Docker) as engine:
        yield engine


@pytest.fixture(scope="session")
def shared_podman() -> Iterator[Engine]:
    """Run Podman for as long as the session (and worker); tests ask for `podman`."""
    with running(Podman) as engine:
        yield engine


@pytest.fixture
def docker(shared_docker: Engine) -> Iterator[Engine]:
    """Give a Docker without containers. Those that the test starts are removed afterwards."""
    yield shared_docker
    shared_docker.remove_all()


@pytest.fixture
def podman(shared_podman: Engine) -> Iterator[Engine]:
    """Give a Podman without containers. Those that the test starts are removed afterwards."""
    yield shared_podman
    shared_podman.remove_all()


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Give a Docker and a Podman in turn, without containers."""
    given: Engine = request.getfixturevalue(request.param)
    return given


@pytest.fixture
def own_docker() -> Iterator[OwnEngine]:
    """Give a function that runs a Docker for this test alone, to be killed at will.

    It takes flags for dockerd: `own_docker("--live-restore")`.
    """
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(running(Docker, *flags))


@pytest.fixture
def own_podman() -> Iterator[OwnEngine]:
    """Give the same for Podman."""
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(running(Podman, *flags))


@pytest.fixture(scope="session")
def docker_client() -> Path:
    """Give Docker's command line; it needs `--host`, and `engine.cli` knows that."""
    if reason := unmet():
        missing(reason)
    return PROGRAMS / "usr" / "bin" / "docker"
