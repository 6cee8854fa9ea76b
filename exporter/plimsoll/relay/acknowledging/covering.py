"""Finds the silences that fit an alert, among as many as there are alerts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from plimsoll.relay.acknowledging.silences import covers
from plimsoll.relay.sources.alertmanager import Silence

_Texts = tuple[str, ...]


class Covering:
    """Silences by the labels that they name with their values, as most do: few sets of labels occur."""

    def __init__(self, silences: Iterable[Silence]) -> None:
        self._by_labels: dict[_Texts, dict[_Texts, list[Silence]]] = defaultdict(lambda: defaultdict(list))
        for silence in silences:
            named = {
                each.name: each.value for each in silence.matchers if each.is_equal and not each.is_regex
            }
            self._by_labels[tuple(named)][tuple(named.values())].append(silence)

    def of(self, labels: Mapping[str, str]) -> list[Silence]:
        """Give those that certainly fit labels."""
        return [
            silence
            for names, by_values in self._by_labels.items()
            for silence in by_values.get(tuple(labels.get(name, "") for name in names), ())
            if covers(silence, labels)
        ]
