"""Who is told of an alert, and whether anybody is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plimsoll.alerts.effective import Branch, Effective
from plimsoll.alerts.labels import ALERT_LABELS
from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.alerts.settings import UserFile
from plimsoll.alerts.shape import Webhook

DEFAULT = "default"
NOBODY = "nobody"
"""The receiver of what no webhook gets, where there is no `default`."""

_WEBHOOK_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TOLD = 5
"""Names that a message tells at most."""

Route = dict[str, Any]


class Routing:
    """Who is told: an alert's own webhook, else every active one whose `match` fits, else `default`."""

    def __init__(self, webhooks: Mapping[str, Webhook]) -> None:
        self.receivers = {name: webhook for name, webhook in webhooks.items() if webhook.active}
        """Those that may be told of something."""
        wanted = {name: webhook.wanted for name, webhook in self.receivers.items()}
        self._matching = {name: match for name, match in wanted.items() if match is not None}
        self.root = DEFAULT if DEFAULT in self.receivers else NOBODY

    @property
    def asked_labels(self) -> set[str]:
        """The labels at which webhooks look, but for those that every alert has."""
        matchers = (matcher for match in self._matching.values() for matcher in match.matchers)
        return {matcher.label for matcher in matchers} - set(ALERT_LABELS)

    def receivers_of(
        self, alert: Effective, branch: Branch, labels: Mapping[str, str] | None = None
    ) -> Sequence[str]:
        """Name who is told of a branch's alerts; without their labels, whoever may be."""
        own = branch.webhook.value
        if own is not None:
            return [own] if own in self.receivers else []
        known = static_labels(alert, branch)
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
            return own in self.receivers
        known = static_labels(alert, branch)
        return bool(self._fallback()) or any(self._is_certain(name, known) for name in self._matching)

    def routes(self, alerts: Sequence[Effective]) -> list[Route]:
        """Give the routes below the root."""
        matching: list[Route] = [
            {"receiver": name, "matchers": match.for_alertmanager(), "continue": True}
            for name, match in self._matching.items()
        ]
        return [*self._own_routes(alerts), *matching]

    def _own_routes(self, alerts: Sequence[Effective]) -> Iterator[Route]:
        """Give a route for what has a webhook of its own: whole alerts together, overrides one by one."""
        whole: dict[str, list[str]] = {}
        for alert in alerts:
            webhooks = {branch.webhook.value for branch in alert.branches}
            for branch in (alert.base,) if len(webhooks) == 1 else alert.branches:
                if (own := branch.webhook.value) not in self.receivers:
                    continue
                if len(webhooks) == 1:
                    whole.setdefault(own, []).append(alert.name)
                else:
                    labels = {"alertname": alert.name, "override": branch.name}
                    match = Matchers(tuple(Matcher(name, "=", value) for name, value in labels.items()))
                    yield {"receiver": own, "matchers": match.for_alertmanager()}
        for webhook, names in whole.items():
            yield {"receiver": webhook, "matchers": named(names)}

    def _fallback(self) -> list[str]:
        return [self.root] if self.root == DEFAULT else []

    def _is_certain(self, name: str, known: Mapping[str, str]) -> bool:
        match = self._matching[name]
        return {matcher.label for matcher in match.matchers} <= known.keys() and match.matches(known)


def check_routing(routing: Routing, alerts: Sequence[Effective], user: UserFile) -> None:
    """Note alerts that would reach nobody, and webhooks that are told nothing or cannot be."""
    is_known = not user.review.problems  # whatever was refused so far might name a webhook, or be one
    branches = [(alert, branch) for alert in alerts for branch in alert.branches if branch.enabled.value]
    unheard = []
    for alert, branch in branches:
        own = branch.webhook.value
        if routing.reaches_somebody(alert, branch):
            continue
        if own is None:
            unheard.append(f"{alert.name}{branch.name}")
        elif own in user.webhooks:
            user.review.blame(branch.place, f"would reach nobody: the webhook {own!r} is not active")
    if unheard and is_known:
        user.review.blame(("webhooks",), _nobody_told(unheard, len(branches)))
    told = {name for alert, branch in branches for name in routing.receivers_of(alert, branch)}
    for name, webhook in user.webhooks.items():
        for complaint in _complaints(name, webhook, user, is_told=name in told or not is_known):
            user.review.blame(("webhooks", name), complaint)


def static_labels(alert: Effective, branch: Branch) -> dict[str, str]:
    """Give the labels that an alert has whatever its series is."""
    return {
        "alertname": alert.name,
        "severity": branch.severity.value,
        "category": alert.category,
        "override": branch.name,
    }


def named(names: Sequence[str]) -> list[str]:
    """Give Alertmanager's matchers for some alerts."""
    if len(names) == 1:
        return [f'alertname="{names[0]}"']
    return [f'alertname=~"{"|".join(names)}"']


def _nobody_told(unheard: Sequence[str], count: int) -> str:
    if len(unheard) == count:
        return f"no alert is sure to reach anybody: an active webhook `{DEFAULT}` is required"
    more = f" and {len(unheard) - _TOLD} more" if len(unheard) > _TOLD else ""
    return (
        f"there is no active webhook `{DEFAULT}`, and no other is sure to match {', '.join(unheard[:_TOLD])}"
        f"{more}, which could reach nobody"
    )


def _complaints(name: str, webhook: Webhook, user: UserFile, *, is_told: bool) -> Iterator[str]:
    if not _WEBHOOK_NAME.fullmatch(name) or name == NOBODY:
        yield f"is no name for a webhook: letters, digits, _ and - are allowed, and {NOBODY} is taken"
    if name == DEFAULT and webhook.wanted is not None:
        yield "takes what nobody else takes, so it has neither `match` nor `min_severity`"
    elif webhook.active and not is_told and name != DEFAULT:
        reason = "it has no `match`" if webhook.wanted is None else "its `match` fits none"
        yield f"would be told of nothing: no alert names it, and {reason}"
    if webhook.active and webhook.is_signed and "relay" not in user.document:
        yield "has a secret, so it goes through the relay: the section relay, with its url, is required"


def _excluded(match: Matchers, known: Mapping[str, str]) -> bool:
    """Say whether what is known of an alert keeps a webhook from it."""
    return any(
        matcher.label in known and not matcher.matches(known[matcher.label]) for matcher in match.matchers
    )
