"""Writes Alertmanager's configuration: receivers, routes, and what hides what."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from plimsoll.alerts.access import TlsConfig
from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.effective import Effective
from plimsoll.alerts.mistakes import labels_of
from plimsoll.alerts.routing import NOBODY, Route, Routing, named
from plimsoll.alerts.settings import RelaySettings, UserFile
from plimsoll.alerts.shape import SEVERITIES, Inhibition, Webhook
from plimsoll.alerts.writing import commented, dump


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
    if routing.root == NOBODY:
        receivers.insert(0, {"name": NOBODY})
    inhibitions = [*map(_inhibition, catalogue.inhibitions), *_graver_first(alerts, catalogue, user)]
    return "\n".join(
        (
            header,
            dump({"route": route}),
            "inhibit_rules:\n" + "".join(inhibitions),
            dump({"receivers": receivers}),
        )
    )


def _inhibition(inhibition: Inhibition) -> str:
    subject = [inhibition.subject]
    source, hides = named([inhibition.source]), named(inhibition.hides)
    return _inhibition_text(source, hides, subject, subject, inhibition.why)


def _graver_first(alerts: Sequence[Effective], catalogue: Catalogue, user: UserFile) -> Iterator[str]:
    """Let the graver of two alerts on one signal hide the milder, for the same series: it says more.

    Not where one of them has a webhook of its own: somebody else waits for that one.
    """
    judges = [alert for alert in alerts if alert.labels and not any(b.webhook.value for b in alert.branches)]
    for graver, milder in permutations(judges, 2):
        if graver.metric.value != milder.metric.value:
            continue
        equal = labels_of(graver.metric.value, catalogue, user) or ()
        for severity in _severities(graver):
            below = SEVERITIES[SEVERITIES.index(severity) + 1 :]
            if hidden := [each for each in _severities(milder) if each in below]:
                yield _inhibition_text(
                    [*named([graver.name]), f'severity="{severity}"'],
                    [*named([milder.name]), f'severity=~"{"|".join(hidden)}"'],
                    graver.labels or (),
                    equal,
                    f"{graver.name} says more of the same than {milder.name}.",
                )


def _severities(alert: Effective) -> list[str]:
    """Give the severities that an alert may have, the gravest first."""
    found = {branch.severity.value for branch in alert.branches if branch.enabled.value}
    return sorted(found, key=SEVERITIES.index)


def _inhibition_text(
    source: Sequence[str], hides: Sequence[str], subject: Sequence[str], equal: Sequence[str], why: str
) -> str:
    """Write a rule that demands its subject on both sides: Alertmanager takes absent labels as equal."""
    there = [f'{label}!=""' for label in subject]
    rule = {
        "source_matchers": [*source, *there],
        "target_matchers": [*hides, *there],
        "equal": list(equal),
    }
    lines = (commented(why) + dump([rule])).splitlines(keepends=True)
    return "".join(f"  {line}" for line in lines)


def _receiver(name: str, webhook: Webhook, relay: RelaySettings | None, directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = {"url": webhook.url, "send_resolved": True}
    if webhook.is_signed and relay is not None:
        config["url"] = f"{relay.url.rstrip('/')}/webhook/{name}"
        config["http_config"] = {
            "authorization": {"credentials_file": _absolute(directory, relay.token_file)}
        }
        if relay.tls_config is not None:
            config["http_config"]["tls_config"] = _tls_config(relay.tls_config, directory)
    return {"name": name, "webhook_configs": [config]}


def _tls_config(tls_config: TlsConfig, directory: Path) -> dict[str, str]:
    given = tls_config.model_dump(exclude_none=True)
    return {key: _absolute(directory, text) if key.endswith("_file") else text for key, text in given.items()}


def _absolute(directory: Path, file: str) -> str:
    """Give where a file is that Alertmanager reads, whatever folder it runs in."""
    return os.path.abspath(directory / file)  # noqa: PTH100 - Path leaves .. in
