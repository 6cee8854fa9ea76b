"""Which Alertmanagers are asked, and how long acknowledgements last; nothing else of the file is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from plimsoll.alerts.settings import AcknowledgementSettings, AlertmanagerSettings, RelaySettings
from plimsoll.config import Document, Section
from plimsoll.config.document import Review

_UNREAD = frozenset({"url", "token_file"})
"""Of the relay; whoever acknowledges needs neither."""


class _Sections(Section):
    relay: RelaySettings | None = None
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()


class Targets(NamedTuple):
    """The URLs of all Alertmanagers; `acknowledgement` is None where no relay prolongs."""

    urls: tuple[str, ...]
    acknowledgement: AcknowledgementSettings | None


def read_targets(path: Path | None) -> Targets:
    """Read the sections alertmanager and relay of a file, or take the defaults without one.

    Raises:
        ConfigError: it cannot be read, or something in these sections is wrong.
    """
    sections = _Sections() if path is None else _read(path)
    return Targets(sections.alertmanager.urls, sections.relay.acknowledgement if sections.relay else None)


def _read(path: Path) -> _Sections:
    review = Review(Document.read(path))
    sections = review.validate(_Sections, review.resolved(_Sections.model_fields, _UNREAD), ())
    review.conclude()
    assert sections is not None  # noqa: S101 - or there was something wrong
    return sections
