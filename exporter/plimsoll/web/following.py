"""Follows `--web.config.file` and the certificates that it names, while the server runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from plimsoll.config import ConfigError, Problem
from plimsoll.web.settings import WebSettings, load_web_settings

_log = structlog.get_logger(__name__)
_RETRY = 1.0
"""Seconds after which refused files are read again: what was missing may lie where nobody looks yet."""

Stamps = Mapping[Path, tuple[int, ...]]
"""By file, what changes when it does."""


class WebConfig:
    """`--web.config.file` as it is now, or as it was when it was last good.

    Raises:
        ConfigError: the file, or one that it names, is bad at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._refusal = ""
        self._retry_at = float("inf")
        stamps = _stamps({path, *load_web_settings(path).files})
        self._settings = load_web_settings(path)
        self._followed(stamps)

    @property
    def settings(self) -> WebSettings:
        """What is in force, after a look at the files: cheap enough for every connection and request."""
        stamps = _stamps(self._stamps)
        if stamps != self._stamps or time.monotonic() >= self._retry_at:
            self._read(stamps)
        return self._settings

    def _read(self, stamps: Stamps) -> None:
        try:
            settings = load_web_settings(self._path)
            self._compare(settings)
        except ConfigError as error:
            self._refuse(stamps, str(error))
            return
        self._settings = settings
        self._refusal = ""
        self._retry_at = float("inf")
        _log.info("web configuration loaded", file=str(self._path))
        self._followed(stamps)

    def _compare(self, settings: WebSettings) -> None:
        if reasons := list(settings.less_than(self._settings)):
            raise ConfigError([Problem(str(self._path), 0, (place,), why) for place, why in reasons])

    def _refuse(self, stamps: Stamps, refusal: str) -> None:
        self._stamps = stamps
        self._retry_at = time.monotonic() + _RETRY
        if refusal != self._refusal:
            self._refusal = refusal
            _log.error("web configuration refused, the former one stays in force", problems=refusal)

    def _followed(self, stamps: Stamps) -> None:
        """Note what was read. The stamps come from before, so that nothing written meanwhile is missed."""
        files = {self._path, *self._settings.files}
        self._stamps = {file: stamps.get(file, ()) for file in files}


def _stamps(files: Iterable[Path]) -> Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
