"""What is wrong with an alert of the user's file beyond its shape: names, labels, and overrides in vain."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from difflib import get_close_matches

from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.labels import ALERT_LABELS
from plimsoll.alerts.matchers import Matchers
from plimsoll.alerts.settings import UserFile
from plimsoll.alerts.shape import Alert
from plimsoll.config.problem import Place

Mistake = tuple[Place, str]
"""Where something is wrong, within the alert, and what."""

_ALERT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def labels_of(metric: str, catalogue: Catalogue, user: UserFile) -> list[str] | None:
    """Give all labels that a signal may have, or None for a metric that we do not know."""
    signal = catalogue.signals.get(metric)
    return [*signal.labels, *sorted(user.declared[signal.declared_by])] if signal else None


def hint(name: str, known: Iterable[str]) -> str:
    """Ask whether something like a name was meant."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def mistakes_of_alert(
    name: str, alert: Alert, catalogue: Catalogue, damaged: Container[str | int]
) -> Iterator[Mistake]:
    """Tell what is wrong with an alert, whatever its values are; what `damaged` keys said is not known."""
    presets = catalogue.presets
    if not _ALERT_NAME.fullmatch(name):
        yield (), "is no name for an alert: letters, digits and _ are allowed, no digit first"
    elif alert.from_ is not None and name in presets:
        yield ("from",), "is for new alerts; this is the name of a preset, which is changed as it is"
    elif alert.from_ is not None and alert.from_ not in presets:
        yield ("from",), f"there is no preset {alert.from_!r}{hint(alert.from_, presets)}"
    elif name not in presets and not (
        alert.from_ or alert.metric or "from" in damaged or "metric" in damaged
    ):
        needs = "a new alert needs metric, operator, threshold, severity and summary, or from: <preset>"
        yield (), f"there is no preset of this name{hint(name, presets)}; {needs}"
    yield from _floors_in_vain(name, alert, catalogue)
    stands = alert.model_fields_set & {"metric", "operator", "unit"}
    if stands and catalogue.is_followed(name):
        yield (
            (min(stands),),
            "cannot be changed, since signals depend on it: switch this alert off, and start another from it",
        )


def mistakes_of_overrides(
    alert: Alert, metric: str, catalogue: Catalogue, user: UserFile
) -> Iterator[Mistake]:
    """Tell which overrides are for nothing."""
    labels = labels_of(metric, catalogue, user)
    for index, override in enumerate(alert.overrides):
        earlier = [other.match for other in alert.overrides[:index]]
        if complaint := _complaint(override.match, earlier, metric, labels):
            yield ("overrides", index, "match"), complaint
        elif not override.model_fields_set - {"match"}:
            yield ("overrides", index), "changes nothing"


def _floors_in_vain(name: str, alert: Alert, catalogue: Catalogue) -> Iterator[Mistake]:
    if catalogue.has_floor(name):
        return
    message = "the signal of this alert has no floor"
    if alert.from_ is not None and catalogue.has_floor(alert.from_):
        message = f"stands in the signal, which {alert.from_} judges too: change it there"
    if alert.floor is not None:
        yield ("floor",), message
    for index, override in enumerate(alert.overrides):
        if override.floor is not None:
            yield ("overrides", index, "floor"), message


def _complaint(
    match: Matchers, earlier: Iterable[Matchers], metric: str, labels: list[str] | None
) -> str | None:
    """Say why matchers would select nothing, or everything."""
    if not match.matchers:
        return "matches every series: change the alert itself instead"
    for matcher in match.matchers:
        if labels is None and matcher.label in ALERT_LABELS:
            return f"the label {matcher.label} is set by the alert itself"
        if labels is not None and matcher.label not in labels:
            return (
                f"{metric} has no label {matcher.label!r}; it has {', '.join(labels)} (labels that "
                "Prometheus' scrape configuration adds are named under prometheus.labels)"
            )
    if match.is_impossible:
        return "matches nothing: no label has two values at once"
    for index, other in enumerate(earlier):
        if other.covers(match):
            return f"is never reached: overrides[{index}] takes everything that it matches"
    return None
