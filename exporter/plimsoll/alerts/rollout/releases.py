"""Rendered files in a directory: each set whole, and one link to the set in force.

    DIR/versions/<version>/{rules,alertmanager}/   a set; nothing in it changes
    DIR/current  -> versions/<version>             the set in force: the one link that is swapped
    DIR/accepted -> versions/<version>             the last set that the programs were seen to run
    DIR/rules -> current/rules                     paths that stay, for `rule_files` and `--config.file`,
    DIR/alertmanager -> current/alertmanager       also in a container that mounts DIR

Links are relative, so that they lead to the same in such a container.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from plimsoll.alerts.rollout.disk import ReleaseError, locked, make_folder, sync, telling, write

__all__ = ["KEPT", "ReleaseError", "Releases", "content_hash", "opened", "publish"]

KEPT = 5
"""Sets that stay for going back, beside the one in force and the accepted one."""

_VERSION = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{12}")
_FOLDERS = ("rules", "alertmanager")
_LINKS = {  # and where they may lead
    "current": rf"versions/{_VERSION.pattern}",
    "accepted": rf"versions/{_VERSION.pattern}",
    "rules": "current/rules",
    "alertmanager": "current/alertmanager",
}


class Releases:
    """The sets of a directory, while nobody else changes them; `opened` gives it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._versions = directory / "versions"

    @property
    def current(self) -> str | None:
        """The version in force; None when there is none."""
        return self._version_behind("current")

    @property
    def accepted(self) -> str | None:
        """The last version that the programs were seen to run; None when there is none."""
        return self._version_behind("accepted")

    def files(self, version: str) -> dict[str, str]:
        """Read a set: text by relative path. What is not UTF-8 equals nothing that we render."""
        folder = self._versions / version
        with telling(folder, "read"):
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            return {
                path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8", "surrogateescape")
                for path in paths
            }

    def publish(self, files: Mapping[str, str]) -> str:
        """Put a set in force and give its version: the one that is in force already if it is the same.

        Args:
            files: text by relative path, such as `rules/alerts.yml`.

        Raises:
            ReleaseError: it cannot be written, and the former one stays in force.
        """
        _check_paths(files)
        version = self.current
        if version is None or self.files(version) != dict(files):
            version = f"{datetime.now(tz=UTC):%Y%m%dT%H%M%S.%fZ}-{content_hash(files)}"
            self._add(version, files)
        with telling(self.directory):
            for name in _FOLDERS:
                self._point(name, f"current/{name}")
        self.link(version)
        return version

    def link(self, version: str) -> None:
        """Put a set in force that is there, such as a former one."""
        self._point_at_set("current", version)

    def accept(self, version: str) -> None:
        """Remember that the programs were seen to run this set."""
        self._point_at_set("accepted", version)

    def prune(self) -> None:
        """Remove old sets; the newest few, the one in force and the accepted one stay."""
        with telling(self._versions, "remove sets from"):
            names = (path.name for path in self._versions.iterdir())
            versions = sorted(name for name in names if _VERSION.fullmatch(name))
            for version in {*versions[:-KEPT]} - {self.current, self.accepted}:
                former = self._versions / version
                doomed = self._versions / f".old-{version}"
                former.rename(doomed)  # a set that is not whole must not bear a version's name
                shutil.rmtree(doomed)

    def remove_leftovers(self) -> None:
        """Remove what a run left behind that was killed."""
        with telling(self.directory):
            for name in _LINKS:
                (self.directory / f".{name}.new").unlink(missing_ok=True)
            for folder in (*self._versions.glob(".new-*"), *self._versions.glob(".old-*")):
                shutil.rmtree(folder)

    def _version_behind(self, link: str) -> str | None:
        with telling(self.directory / link):
            version = _target(self.directory / link).removeprefix("versions/")
            return version if version and (self._versions / version).is_dir() else None

    def _add(self, version: str, files: Mapping[str, str]) -> None:
        """Write a set under another name, and rename it when all of it is on the disk."""
        draft = self._versions / f".new-{version}"
        try:
            with telling(draft):
                make_folder(draft)
                for name, text in files.items():
                    write(draft / name, text)
                for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
                    sync(folder)
                draft.rename(self._versions / version)
                sync(self._versions)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)  # on a full disk it would be in the way
            raise

    def _point_at_set(self, link: str, version: str) -> None:
        with telling(self.directory / link):
            if not (self._versions / version).is_dir():
                raise ReleaseError(f"{self._versions / version} is not there")
            self._point(link, f"versions/{version}")

    def _point(self, name: str, target: str) -> None:
        """Make or swap a link in one step."""
        link, draft = self.directory / name, self.directory / f".{name}.new"
        if _target(link) == target:
            return
        draft.unlink(missing_ok=True)
        draft.symlink_to(target)
        draft.replace(link)
        sync(self.directory)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Releases]:
    """Give the sets of a directory, which is made if need be, and let nobody else change them meanwhile.

    Raises:
        ReleaseError: somebody else changes them, there are other people's files where ours would be (and
            nothing has been changed), or it cannot be written to.
    """
    with telling(directory):
        _check_layout(directory)
        make_folder(directory)
    with locked(directory):
        with telling(directory):
            make_folder(directory / "versions")
        releases = Releases(directory)
        releases.remove_leftovers()
        yield releases


def publish(directory: Path, files: Mapping[str, str]) -> str:
    """Put a set in force, remove old ones, and give the version in force.

    Raises:
        ReleaseError: see `opened` and `Releases.publish`.
    """
    with opened(directory) as releases:
        version = releases.publish(files)
        releases.prune()
        return version


def content_hash(files: Mapping[str, str]) -> str:
    """Give 12 digits that tell sets apart."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        for part in (name.encode(), text.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def _check_layout(directory: Path) -> None:
    """Refuse a directory where something else bears one of our names."""
    for name, pattern in _LINKS.items():
        path = directory / name
        if os.path.lexists(path) and not re.fullmatch(pattern, _target(path)):
            raise ReleaseError(f"{path} is there already and not made by plimsoll: {_ADVICE}")
    versions = directory / "versions"
    if os.path.lexists(versions) and (versions.is_symlink() or not versions.is_dir()):
        raise ReleaseError(f"{versions} is there already and not made by plimsoll: {_ADVICE}")


_ADVICE = "move it away, or choose another directory for the output; nothing was changed"


def _check_paths(files: Mapping[str, str]) -> None:
    for name in files:
        parts = PurePosixPath(name).parts
        if len(parts) < 2 or parts[0] not in _FOLDERS or any(part.startswith(".") for part in parts):
            raise ValueError(f"{name!r} is no path below {' or '.join(_FOLDERS)}")


def _target(link: Path) -> str:
    """Give where a link leads; nothing when it is none."""
    return str(link.readlink()) if link.is_symlink() else ""
