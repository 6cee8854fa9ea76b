"""Turns webhooks and alerts into Alertmanager's configuration: receivers, routes and inhibition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.effective import Branch, Effective
from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.alerts.settings import RelaySettings, UserFile
from plimsoll.alerts.shape import Webhook
from plimsoll.alerts.writing import commented, dump

DEFAULT = "default"
_NOBODY = "nobody"
_WEBHOOK_NAME = re.compile(r"[A-Za-z0-9_-]+")

Route = dict[str, Any]


class Routing:
    """Who is told: an alert's own webhook, else every active one whose `match` fits, else `default`."""

    def __init__(self, webhooks: Mapping[str, Webhook]) -> None:
        self._active = {name: webhook for name, webhook in webhooks.items() if webhook.active}
        self._matching = {
            name: webhook.match for name, webhook in self._active.items() if webhook.match is not None
        }
        self.root = DEFAULT if DEFAULT in self._active else _NOBODY

    @property
    def receivers(self) -> Mapping[str, Webhook]:
        """Those that may be told of something."""
        return self._active

    def receivers_of(
        self, alert: Effective, branch: Branch, labels: Mapping[str, str] | None = None
    ) -> Sequence[str]:
        """Name who is told of a branch's alerts; without their labels, whoever may be."""
        own = branch.webhook.value
        if own is not None:
            return [own] if own in self._active else []
        known = _static_labels(alert, branch)
        if labels is None:
            fitting = [name for name, match in self._matching.items() if not _excluded(match, known)]
            is_certain = any(self._is_certain(name, known) for name in fitting)
        else:
            fitting = [name for name, match in self._matching.items() if match.matches({**labels, **known})]
            is_certain = bool(fitting)
        return fitting if is_certain else [*fitting, *self._fallback()]

    def reaches_somebody(self, alert: Effective, branch: Branch) -> bool:
        """Say whether somebody is sure to be told, whatever labels the alert has."""
        own = branch.webhook.value
        if own is not None:
            return own in self._active
        known = _static_labels(alert, branch)
        return bool(self._fallback()) or any(self._is_certain(name, known) for name in self._matching)

    def routes(self, alerts: Sequence[Effective]) -> list[Route]:
        """Give the routes below the root, which has the receiver `default`."""
        return [*self._own_routes(alerts), *self._matching_routes()]

    def _fallback(self) -> list[str]:
        return [self.root] if self.root == DEFAULT else []

    def _is_certain(self, name: str, known: Mapping[str, str]) -> bool:
        match = self._matching[name]
        return {matcher.label for matcher in match.matchers} <= known.keys() and match.matches(known)

    def _matching_routes(self) -> list[Route]:
        return [
            {"receiver": name, "matchers": match.for_alertmanager(), "continue": True}
            for name, match in self._matching.items()
        ]

    def _own_routes(self, alerts: Sequence[Effective]) -> Iterator[Route]:
        """Give a route to alerts whose overrides differ, and one to each webhook for alerts that name it."""
        uniform: dict[str, list[str]] = {}
        for alert in alerts:
            webhooks = {branch.webhook.value for branch in alert.branches}
            if len(webhooks) > 1:
                yield self._divided(alert)
            elif (own := alert.base.webhook.value) is not None and own in self._active:
                uniform.setdefault(own, []).append(alert.name)
        for webhook, names in uniform.items():
            yield {"receiver": webhook, "matchers": _named(names)}

    def _divided(self, alert: Effective) -> Route:
        """Give the route of an alert whose overrides are sent elsewhere: the first that matches decides."""
        inner = [
            self._towards(override.webhook.value, override.match or Matchers(()))
            for override in alert.overrides
        ]
        return {
            **self._towards(alert.base.webhook.value, Matchers((Matcher("alertname", "=", alert.name),))),
            **self._below(inner, alert.base.webhook.value),
        }

    def _towards(self, webhook: str | None, match: Matchers) -> Route:
        """Give a route to an alert's own webhook, or to whoever else matches."""
        route: Route = {
            "receiver": webhook if webhook in self._active else self.root,
            "matchers": match.for_alertmanager(),
        }
        return {**route, **self._below([], webhook)}

    def _below(self, routes: list[Route], webhook: str | None) -> Route:
        every = [*routes, *(self._matching_routes() if webhook is None else [])]
        return {"routes": every} if every else {}


def check_routing(routing: Routing, alerts: Sequence[Effective], user: UserFile) -> None:
    """Note alerts that would reach nobody, and webhooks that cannot be."""
    unheard = []
    for alert in alerts:
        for branch in alert.branches:
            if not branch.enabled.value or routing.reaches_somebody(alert, branch):
                continue
            if branch.webhook.value is not None:
                message = f"would reach nobody: the webhook {branch.webhook.value!r} is not active"
                user.review.blame(branch.place, message)
            else:
                unheard.append(f"{alert.name}{branch.name}")
    if unheard and user.knows_all_webhooks:
        user.review.blame(
            ("webhooks",),
            f"there is no active webhook `{DEFAULT}`, and no other is sure to match {', '.join(unheard)}, "
            "which could reach nobody",
        )
    for name, webhook in user.webhooks.items():
        for complaint in _complaints(name, webhook, has_relay="relay" in user.document):
            user.review.blame(("webhooks", name), complaint)


def _complaints(name: str, webhook: Webhook, *, has_relay: bool) -> Iterator[str]:
    if not _WEBHOOK_NAME.fullmatch(name):
        yield "is no name for a webhook: letters, digits, _ and - are allowed"
    if name == DEFAULT and webhook.match is not None:
        yield "takes what nobody else takes, so it has no `match`"
    if webhook.active and webhook.is_signed and not has_relay:
        yield "has a secret, so it goes through the relay: the section relay, with its url, is required"


def alertmanager_text(
    catalogue: Catalogue, routing: Routing, alerts: Sequence[Effective], user: UserFile, header: str
) -> str:
    """Write alertmanager.yml."""
    route: Route = {
        "receiver": routing.root,
        "group_by": ["alertname", "server", "engine", "instance"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "12h",
    }
    if routes := routing.routes(alerts):
        route["routes"] = routes
    receivers = [
        _receiver(name, webhook, user.relay, user.document.path.parent)
        for name, webhook in routing.receivers.items()
    ]
    if routing.root == _NOBODY:
        receivers.insert(0, {"name": _NOBODY})
    return "\n".join(
        (
            header,
            dump({"route": route}),
            _inhibition_text(catalogue),
            dump({"receivers": receivers}),
        )
    )


def _inhibition_text(catalogue: Catalogue) -> str:
    """Write the rules of inhibition, each with its reason."""
    parts = ["inhibit_rules:\n"]
    for inhibition in catalogue.inhibitions:
        subject = f'{inhibition.subject} != ""'
        rule = {
            "source_matchers": [*_named([inhibition.source]), subject],
            "target_matchers": [*_named(inhibition.hides), subject],
            "equal": [inhibition.subject],
        }
        lines = (commented(inhibition.why) + dump([rule])).splitlines(keepends=True)
        parts += [f"  {line}" for line in lines]
    return "".join(parts)


def _receiver(name: str, webhook: Webhook, relay: RelaySettings | None, directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = {"url": webhook.url, "send_resolved": True}
    if webhook.is_signed and relay is not None:
        config["url"] = f"{relay.url.rstrip('/')}/webhook/{name}"
        if relay.token_file:
            token = str((directory / relay.token_file).absolute())
            config["http_config"] = {"authorization": {"credentials_file": token}}
    return {"name": name, "webhook_configs": [config]}


def _named(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [f'alertname = "{names[0]}"']
    return [f'alertname =~ "{"|".join(names)}"']


def _static_labels(alert: Effective, branch: Branch) -> dict[str, str]:
    return {"alertname": alert.name, "severity": branch.severity.value, "category": alert.category}


def _excluded(match: Matchers, known: Mapping[str, str]) -> bool:
    """Say whether what is known of an alert keeps a webhook from it."""
    return any(
        matcher.label in known and not matcher.matches(known[matcher.label]) for matcher in match.matchers
    )
