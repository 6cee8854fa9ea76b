"""Writing what must be whole and on the disk, and telling exactly where that failed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class ReleaseError(RuntimeError):
    """A set of files cannot be published; the text says where and why."""


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, which other users may read whatever our umask: Prometheus is one."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    sync(folder.parent)


def write(path: Path, text: str) -> None:
    """Write a new file to the disk, which other users may read whatever our umask."""
    make_folder(path.parent)
    with telling(path), path.open("xb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """See that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep others out of a directory; the system ends this with us, however we end.

    Raises:
        ReleaseError: somebody else is in it.
    """
    path = directory / ".lock"
    with telling(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with telling(path):
            _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ReleaseError(
            f"{directory}: another plimsoll is changing it; try again when it is done"
        ) from None


@contextlib.contextmanager
def telling(path: Path, doing: str = "write") -> Iterator[None]:
    """Tell what the system refuses, and where: at `path`, unless it says so itself.

    Raises:
        ReleaseError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise ReleaseError(f"cannot {doing} {where}: {error.strerror or error}") from error
