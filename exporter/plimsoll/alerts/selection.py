"""Divides the series of a signal among the branches of an alert: the first override that matches has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plimsoll.alerts.matchers import Matcher, Matchers

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True)
class Selection:
    """Some of the series of a metric, in PromQL."""

    selector: str
    without: tuple[str, ...]
    """Selectors of what is taken out again, since no matcher in `selector` can say it."""

    @property
    def operand(self) -> str:
        """The series, to be put into a larger expression."""
        return f"({self.selector}{self._exception})" if self.without else self.selector

    def compared(self, operator: str, number: str) -> str:
        """The series whose value compares so with a number."""
        return f"{self.selector} {operator} {number}{self._exception}"

    @property
    def _exception(self) -> str:
        match self.without:
            case ():
                return ""
            case (single,):
                return f"\nunless\n{single}"
            case several:
                return "\nunless (\n" + "\nor\n".join(several) + "\n)"


def base_selection(metric: str, overrides: Sequence[Matchers]) -> Selection:
    """Select what no override takes."""
    return _select(metric, Matchers(()), overrides)


def override_selection(metric: str, overrides: Sequence[Matchers], index: int) -> Selection:
    """Select what one override takes: what it matches, less what the earlier ones match."""
    own = overrides[index]
    return _select(metric, own, [earlier for earlier in overrides[:index] if not own.excludes(earlier)])


def _select(metric: str, own: Matchers, others: Iterable[Matchers]) -> Selection:
    """Whoever has a single matcher is left out by its inverse, the others by `unless`."""
    single = [other.matchers[0] for other in others if len(other.matchers) == 1]
    several = [other for other in others if len(other.matchers) > 1]
    selector = Matchers((*own.matchers, *_inverses(single)))
    return Selection(f"{metric}{selector}", tuple(f"{metric}{other}" for other in several))


def _inverses(matchers: Iterable[Matcher]) -> Iterable[Matcher]:
    """Give matchers of everything else; values of one label are left out together."""
    values: dict[str, list[str]] = {}
    for matcher in matchers:
        if matcher.operator == "=":
            values.setdefault(matcher.label, []).append(matcher.value)
        else:
            yield matcher.inverse
    for label, known in values.items():
        if len(known) == 1:
            yield Matcher(label, "!=", known[0])
        else:
            yield Matcher(label, "!~", "|".join(_SPECIAL.sub(r"\\\g<0>", value) for value in known))
