"""What the user's file says about alerts, whom to tell, and which programs run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from plimsoll.alerts.access import Access, OpenedAccess, TlsConfig, check_tls
from plimsoll.alerts.labels import OwnLabel, declared_labels
from plimsoll.alerts.shape import Alert, Link, Url, Webhook
from plimsoll.config import Document, PlacedError, Section
from plimsoll.config.document import Review
from plimsoll.config.fields import Duration, Timeout, WholeNumber
from plimsoll.config.problem import Place
from plimsoll.config.reading import Source

_SECRETS = frozenset({"secret", "secret_file", "headers", "token_file"})
_ADDRESSES = frozenset({"url", "urls", "tls_config"})
_ACCESS = frozenset({"basic_auth", "tls_config"})
"""What only those need who ask Prometheus and Alertmanager."""
DEMO_WEBHOOK = "http://127.0.0.1:9747/"
"""Where the demo's receiver listens, which stands in what is shipped."""


class AcknowledgementSettings(Section):
    """How long silences that acknowledge last, in seconds: each `period` at a time, `limit` in all."""

    period: Timeout = 900.0
    limit: Duration = 3 * 86400.0

    @model_validator(mode="after")
    def _are_in_order(self) -> AcknowledgementSettings:
        if self.limit < self.period:
            raise PlacedError("must not be shorter than the period", "limit")
        return self


class RelaySettings(Section):
    """Where Alertmanager finds the relay, and how the relay works; durations are in seconds."""

    url: Url
    token_file: str
    """Not read here: Alertmanager reads it."""
    tls_config: TlsConfig | None = None
    """How Alertmanager reaches the relay, with files that it reads."""
    max_in_flight: WholeNumber = Field(default=4, ge=1, le=100)
    """Posts under way to one receiver."""
    connect_timeout: Timeout = 3.0
    timeout: Timeout = 10.0
    """For one delivery as a whole."""
    interval: Timeout = 15.0
    """How often Alertmanager and Prometheus are asked."""
    grace: Duration = 300.0
    """How long an alert must be gone, and a program must have run, before that counts."""
    acknowledgement: AcknowledgementSettings = AcknowledgementSettings()

    @model_validator(mode="after")
    def _has_tls_for_its_certificates(self) -> Self:
        check_tls(self.tls_config, self.url)
        return self


class AlertmanagerSettings(Access):
    """Every peer; there is no load balancer between."""

    urls: tuple[Url, ...] = Field(default=("http://127.0.0.1:9093",), min_length=1)

    @model_validator(mode="after")
    def _is_reached_in_one_way(self) -> Self:
        self.check_fits(*self.urls)
        return self


class PrometheusSettings(Access):
    """Prometheus, and the labels that its scrape configuration sets on targets."""

    url: Url = "http://127.0.0.1:9090"
    labels: tuple[OwnLabel, ...] = ()

    @model_validator(mode="after")
    def _is_reached_in_one_way(self) -> Self:
        self.check_fits(self.url)
        return self


class OpenedAlertmanager(OpenedAccess, AlertmanagerSettings):
    """Every peer, and what is needed to ask it."""


class OpenedPrometheus(OpenedAccess, PrometheusSettings):
    """Prometheus, and what is needed to ask it."""


class Programs(Section):
    """The sections about programs that are asked, with their files read."""

    alertmanager: OpenedAlertmanager = OpenedAlertmanager()
    prometheus: OpenedPrometheus = OpenedPrometheus()

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read a file, or take the defaults.

        Raises:
            ConfigError: something in these sections is wrong, or a file that they name: all of it.
        """
        return Document.read(path).sections(cls) if path else cls()


class LinkSettings(Section):
    """Where the links in notifications and on dashboards lead."""

    runbooks: Link | None = None
    """The page made of docs/alerts.md; without it, that file is named."""
    dashboards: Link = "http://127.0.0.1:3000"
    alertmanager: Link | None = None
    """Alertmanager as browsers reach it; without it, the first of `alertmanager.urls`."""


class _Sections(Section):
    relay: RelaySettings | None = None
    alertmanager: AlertmanagerSettings = AlertmanagerSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    links: LinkSettings = LinkSettings()


class UserFile:
    """The file as far as alerts are concerned. What is wrong is noted in `review`, and told all at once."""

    def __init__(self, document: Document, *, addressed: bool) -> None:
        self.document = document
        self.review = Review(document)
        self._unread = _SECRETS if addressed else _SECRETS | _ADDRESSES
        values = self.review.resolved(("relay", "links"), self._unread)
        values |= self.review.resolved(("alertmanager", "prometheus"), self._unread | _ACCESS)
        sections = self.review.validate(_Sections, values, ()) or _Sections()
        self.relay = sections.relay
        self.alertmanager = sections.alertmanager
        self.prometheus = sections.prometheus
        self.links = sections.links
        self.declared = declared_labels(document)
        self.damaged: dict[Place, frozenset[str | int]] = {}
        """The keys that are bad, by where an alert or webhook stands."""
        self.alerts = self._each("alerts", Alert)
        self.webhooks = self._each("webhooks", Webhook) if "webhooks" in document else _default_webhook()

    @classmethod
    def read(cls, path: Path | None, *, addressed: bool = True) -> UserFile:
        """Read a file, or take an empty one.

        Args:
            path: the file, or None.
            addressed: whether URLs matter: else the environment variables in them need not be set.

        Raises:
            ConfigError: it cannot be read at all.
        """
        document = Document.read(path) if path else Document(Path("plimsoll.yml"), Source({}, {}, []))
        return cls(document, addressed=addressed)

    def names(self, section: str) -> tuple[str, ...]:
        """Give the names in a section, also of entries that are bad."""
        value = self.document.unresolved(section)
        return tuple(value) if isinstance(value, Mapping) else ()

    def _each(self, section: str, model: type[Any]) -> dict[str, Any]:
        """Validate the entries of a section one by one, so that one mistake does not hide another."""
        value = self.review.resolved([section], self._unread).get(section)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.review.blame((section,), "must be a mapping of names to their settings")
            return {}
        found = {}
        for name, entry in value.items():
            known, bad = self.review.salvage(model, entry, (section, name))
            if bad:
                self.damaged[section, name] = bad
            if known is not None:
                found[name] = known
        return found


def _default_webhook() -> dict[str, Webhook]:
    return {"default": Webhook(url=DEMO_WEBHOOK)}
