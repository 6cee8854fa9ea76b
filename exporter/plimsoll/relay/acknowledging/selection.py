"""Which alerts somebody means: by name, fingerprint, matchers or labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.alerts.matchers import Matcher, Matchers
from plimsoll.relay.alert import Alert


@dataclass(frozen=True)
class Selection:
    """What alerts have to be: called `name`, or known by that fingerprint, and fitting the matchers."""

    name: str | None
    """None leaves it open."""
    matchers: Matchers

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Selection:
        """Read a name or fingerprint, which comes first if there is one, and label=value or {matchers}.

        Raises:
            ValueError: one of them is something else; the message says what.
        """
        name = texts[0] if texts and not _is_condition(texts[0]) else None
        conditions = texts[1:] if name is not None else texts
        if name is not None and not name.strip():
            raise ValueError("the name of an alert must not be empty")
        return cls(name, Matchers(tuple(matcher for text in conditions for matcher in _read(text))))

    def fits(self, alert: Alert) -> bool:
        """Say whether an alert is meant; a fingerprint is Alertmanager's, or the relay's own."""
        names = {alert.name, alert.identity, alert.fingerprint}
        return (self.name is None or self.name in names) and self.matchers.matches(alert.labels)

    def __str__(self) -> str:
        return f"{self.name or ''}{self.matchers}"


def _is_condition(text: str) -> bool:
    return text.startswith("{") or "=" in text


def _read(text: str) -> Matchers:
    if text.startswith("{"):
        return Matchers.parse(text)
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"must be label=value or {{matchers}}, is {text!r}")
    return Matchers((Matcher(name, "=", value),))
