"""Which Alertmanagers are asked, and how long acknowledgements last; nothing else of the file is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from plimsoll.alerts.settings import AcknowledgementSettings, OpenedAlertmanager, RelaySettings
from plimsoll.config import Document, Section
from plimsoll.config.document import Review

_UNREAD = frozenset({"url", "token_file", "tls_config"})
"""Of the relay; whoever acknowledges needs none of it."""


class _Sections(Section):
    relay: RelaySettings | None = None
    alertmanager: OpenedAlertmanager = OpenedAlertmanager()


class Targets(NamedTuple):
    """All Alertmanagers, and how to ask them; `acknowledgement` is None where no relay prolongs."""

    alertmanager: OpenedAlertmanager
    acknowledgement: AcknowledgementSettings | None


def read_targets(path: Path | None) -> Targets:
    """Read the sections alertmanager and relay of a file, or take the defaults without one.

    Raises:
        ConfigError: it cannot be read, or something in these sections is wrong.
    """
    sections = _Sections() if path is None else _read(path)
    return Targets(sections.alertmanager, sections.relay.acknowledgement if sections.relay else None)


def _read(path: Path) -> _Sections:
    review = Review(Document.read(path))
    values = review.resolved(["relay"], _UNREAD) | review.resolved(["alertmanager"])
    sections = review.validate(_Sections, values, ())
    review.conclude()
    assert sections is not None  # noqa: S101 - or there was something wrong
    return sections
