"""Matchers that must all fit, and what two such lists have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from plimsoll.alerts.matchers.matcher import INVERSES, Matcher
from plimsoll.alerts.matchers.reading import read_matchers

_ATOM = r"(?:[^\\.+*?()|\[\]{}^$]|\\[\\.+*?()|\[\]{}^$\-/])"
_WORD = rf"\^?{_ATOM}*\$?"
_WORDS = re.compile(rf"{_WORD}(?:\|{_WORD})*")
_GROUPED_WORDS = re.compile(rf"\^?\((?:\?:)?({_WORDS.pattern})\)\$?")
_BEGINNING = re.compile(rf"\^?((?:{_ATOM}(?![?*+{{]))*)")


@dataclass(frozen=True)
class Matchers:
    """Conditions that must all hold. None at all fit everything."""

    matchers: tuple[Matcher, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Matchers:
        """Read matchers as they stand behind a metric in PromQL; the braces may be left out.

        Raises:
            ValueError: the text is no list of matchers; the message says where, counting from 1.
        """
        return cls(tuple(read_matchers(text)))

    def __iter__(self) -> Iterator[Matcher]:
        return iter(self.matchers)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether labels fit."""
        return all(matcher.matches(labels.get(matcher.label, "")) for matcher in self.matchers)

    def __str__(self) -> str:
        return f"{{{','.join(map(str, self.matchers))}}}" if self.matchers else ""

    def for_alertmanager(self) -> list[str]:
        """Give the matchers of a route of Alertmanager. There, as in Prometheus 2, `.` is no newline."""
        return [matcher.for_alertmanager() for matcher in self.matchers]

    @cached_property
    def is_impossible(self) -> bool:
        """Whether certainly nothing fits. False means that something may."""
        return any(values.empty for values in self._values.values())

    def excludes(self, other: Matchers) -> bool:
        """Say whether certainly nothing fits both. False means that something may."""
        theirs = other._values
        return (
            any(label in theirs and mine.excludes(theirs[label]) for label, mine in self._values.items())
            or self.is_impossible
            or other.is_impossible
        )

    def covers(self, other: Matchers) -> bool:
        """Say whether certainly whatever fits `other` fits this, too. False means that something may not."""
        return all(other.excludes(opposite) for opposite in self._opposites)

    @cached_property
    def _values(self) -> dict[str, _Values]:
        """What is known of the values that fit, by label."""
        labels = dict.fromkeys(matcher.label for matcher in self.matchers)
        return {name: _Values(tuple(m for m in self.matchers if m.label == name)) for name in labels}

    @cached_property
    def _opposites(self) -> tuple[Matchers, ...]:
        """Together, they fit exactly what this does not."""
        return tuple(Matchers((matcher.inverse,)) for matcher in self.matchers)


class _Values:
    """What is known of the values of one label that fit all of some matchers."""

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        self.matchers = matchers
        self.beginnings = _beginnings(matchers)
        self.finite = self._finite()
        """Values of which no other can fit, where the matchers name them; not each must fit."""
        self.empty = not self.finite if self.finite is not None else self._contradicts(self)

    def _finite(self) -> frozenset[str] | None:
        named = [values for matcher in self.matchers if (values := _named_by(matcher)) is not None]
        if not named:
            return None
        return frozenset(v for v in frozenset.intersection(*named) if not self._refuses(v))

    def _refuses(self, value: str) -> bool:
        return any(matcher.surely(value) is False for matcher in self.matchers)

    def _contradicts(self, other: _Values) -> bool:
        """Say whether two endless sets certainly share nothing."""
        if any(not _compatible(*pair) for pair in product(self.beginnings, other.beginnings)):
            return True
        return any(INVERSES[a.operator] == b.operator and a.value == b.value
                   for a, b in product(self.matchers, other.matchers))  # fmt: skip

    def excludes(self, other: _Values) -> bool:
        """Say whether certainly no value fits both."""
        if self.finite is not None and other.finite is not None:
            return self.finite.isdisjoint(other.finite)
        if self.finite is not None:
            return all(map(other._refuses, self.finite))
        if other.finite is not None:
            return all(map(self._refuses, other.finite))
        return self._contradicts(other)


def _named_by(matcher: Matcher) -> frozenset[str] | None:
    """Give the only values that fit, where a matcher names them: `="a"`, `=~"a|b"`, `=~"(a|b)"`."""
    match matcher.operator:
        case "=":
            return frozenset([matcher.value])
        case "=~":
            return _words(matcher.value)
    return None


@lru_cache(maxsize=4096)
def _words(expression: str) -> frozenset[str] | None:
    grouped = _GROUPED_WORDS.fullmatch(expression)
    text = grouped[1] if grouped else expression
    if not _WORDS.fullmatch(text):
        return None
    words = re.findall(rf"(?:^|\|)\^?({_ATOM}*)\$?(?=\||\Z)", text)
    return frozenset(map(_plain, words))


def _beginnings(matchers: Iterable[Matcher]) -> list[str]:
    """Give texts with which every value that fits begins, as far as that is easily seen."""
    expressions = (m.value for m in matchers if m.operator == "=~" and "|" not in m.value)
    found = (_BEGINNING.match(expression) for expression in expressions)
    return [text for match in found if match and (text := _plain(match[1]))]


def _plain(atoms: str) -> str:
    return re.sub(r"\\(.)", r"\1", atoms)


def _compatible(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
