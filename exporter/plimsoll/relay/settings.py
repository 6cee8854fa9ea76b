"""What the relay reads of the file: receivers and their secrets, whom to ask, and where history is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from plimsoll.alerts.settings import OpenedAlertmanager, OpenedPrometheus, RelaySettings
from plimsoll.alerts.shape import Given, Webhook
from plimsoll.config import Document, PlacedError, Section
from plimsoll.config.document import Review
from plimsoll.config.dsn import Dsn, DsnFile
from plimsoll.config.fields import WholeNumber
from plimsoll.relay.fields import HeaderName, HeaderValue, Retention, Secrets, SecretsInFiles, Token


class Receiver(Webhook):
    """A webhook, with its secrets read."""

    secret: Secrets | None = None
    secret_file: SecretsInFiles | None = None
    headers: Mapping[HeaderName, HeaderValue] | None = None

    @model_validator(mode="after")
    def _has_one_authorization(self) -> Receiver:
        names = {name.lower() for name in self.headers or ()}
        if "authorization" in names and "@" in urlsplit(self.url).netloc:
            raise PlacedError(
                "hold Authorization, and so does the URL with its user: one is allowed", "headers"
            )
        return self

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What its posts are signed with: all of them, so that they can be exchanged one after another."""
        return tuple(each.get_secret_value() for each in (*(self.secret or ()), *(self.secret_file or ())))


class OwnSettings(RelaySettings):
    """The section of the relay, with its token read."""

    token_file: Token  # type: ignore[assignment]  # a path to everybody else


class HistorySettings(Given):
    """Where history is kept, and for how long."""

    dsn: Dsn | None = None
    dsn_file: DsnFile = Field(default=None, validate_default=True)
    retention: Retention = 400 * 86400.0
    keep: WholeNumber = Field(default=10_000, ge=1)
    """Alerts that have resolved; and deliveries."""

    @property
    def conninfo(self) -> str:
        """The connection string."""
        dsn = self.dsn if self.dsn is not None else self.dsn_file
        assert dsn is not None  # noqa: S101 - the section was refused without
        return dsn.get_secret_value()


class _Sections(Given):
    relay: OwnSettings
    history: HistorySettings | None = None
    alertmanager: OpenedAlertmanager = OpenedAlertmanager()
    prometheus: OpenedPrometheus = OpenedPrometheus()


class Settings(Section):
    """Everything that the relay needs to know."""

    receivers: Mapping[str, Receiver]
    relay: OwnSettings
    history: HistorySettings | None
    alertmanager: OpenedAlertmanager
    prometheus: OpenedPrometheus


def load_settings(path: Path) -> Settings:
    """Read what the relay needs; everything else in the file is left alone.

    Raises:
        ConfigError: it cannot be read, or something in the relay's sections is wrong: all of it.
    """
    document = Document.read(path)
    review = Review(document)
    sections = review.validate(_Sections, review.resolved(_Sections.model_fields), ())
    receivers = _receivers(review)
    review.conclude()
    assert sections is not None  # noqa: S101 - or there was something wrong
    return Settings(
        receivers=receivers,
        relay=sections.relay,
        history=sections.history,
        alertmanager=sections.alertmanager,
        prometheus=sections.prometheus,
    )


def _receivers(review: Review) -> dict[str, Receiver]:
    webhooks = review.resolved(["webhooks"]).get("webhooks") or {}
    if not isinstance(webhooks, dict):
        review.blame(("webhooks",), "must be a mapping of names to their settings")
        return {}
    found = {name: review.validate(Receiver, each, ("webhooks", name)) for name, each in webhooks.items()}
    return {name: receiver for name, receiver in found.items() if receiver is not None}
