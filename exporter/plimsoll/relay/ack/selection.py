"""Which alerts somebody means: by name, fingerprint, matchers or labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.alerts.matchers.matcher import Operator
from plimsoll.relay.alert import Alert

_LABEL = re.compile(r"([^{=!~]*)(=~|!=|!~|=)(.*)", re.DOTALL)
"""label=value, where the value needs no quotes."""


@dataclass(frozen=True)
class Selection:
    """What alerts have to be: called `name`, or known by that fingerprint, and fitting the matchers."""

    name: str | None
    """None leaves it open."""
    matchers: Matchers

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Selection:
        """Read what has to fit.

        The first text may be a name or fingerprint, or one with {matchers}. All others are {matchers},
        or label=value with any of the operators of matchers.

        Raises:
            ValueError: one of them is something else; the message says what.
        """
        name, conditions = _split(texts)
        if name is not None and not name.strip():
            raise ValueError("the name of an alert must not be empty")
        return cls(name, Matchers(tuple(matcher for text in conditions for matcher in _read(text))))

    def fits(self, alert: Alert) -> bool:
        """Say whether an alert is meant."""
        return self.names(alert) and self.matchers.matches(alert.labels)

    def names(self, alert: Alert) -> bool:
        """Say whether an alert has the name or the fingerprint: Alertmanager's, or the relay's own."""
        return self.name is None or self.name in {alert.name, alert.identity, alert.fingerprint}

    def __str__(self) -> str:
        if self.name is None:
            return str(self.matchers)
        return f"{self.name}{self.matchers if self.matchers.matchers else ''}"


def _split(texts: Sequence[str]) -> tuple[str | None, list[str]]:
    """Tell the name, if there is one, from the conditions."""
    first, *others = texts
    name, brace, matchers = first.partition("{")
    if first.startswith("{") or "=" in name or "!~" in name:
        return None, [first, *others]
    return name, [brace + matchers, *others] if brace else others


def _read(text: str) -> Matchers:
    try:
        if text.startswith("{"):
            return Matchers.parse(text)
        if found := _LABEL.fullmatch(text):
            return _labelled(found)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    raise ValueError(
        f"{text}: must be label=value or {{matchers}}; only the first may be a name or fingerprint, and "
        "'{alertname=~\"A|B\"}' selects alerts of several names"
    )


def _labelled(found: re.Match[str]) -> Matchers:
    """Read label=value; a value in quotes is read as in {matchers}, as amtool does."""
    label, operator, value = found.groups()
    if value.startswith('"'):
        return Matchers.parse(f"{{{found[0]}}}")
    return Matchers((Matcher(label, cast("Operator", operator), value),))
