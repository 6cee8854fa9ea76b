"""Lays the user's file over the catalogue, and finds what is wrong with the result.

Every value keeps the place that it comes from, so that `plimsoll explain` can tell it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.effective import Branch, Effective, Origin, Sourced
from plimsoll.alerts.matchers import Matchers
from plimsoll.alerts.settings import UserFile
from plimsoll.alerts.shape import Alert, Change, Override
from plimsoll.alerts.units import UNITS, Unit
from plimsoll.config import Section
from plimsoll.config.problem import Place

OWN_GROUP = "custom"
"""The group, and the category, of alerts that have no preset."""

_ALERT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULTS: dict[str, Any] = {
    "for": 0.0,
    "unit": "count",
    "threshold_as": "#",
    "category": OWN_GROUP,
    "enabled": True,
    "description": "{{ range $name, $text := $labels }}{{ $name }}={{ printf \"%q\" $text }} {{ end -}}: "
    "{{ $value }}, the threshold is {{ $threshold }}.",
    "value": "{{ $value }}",
    "floor": None,
    "webhook": None,
    "runbook_url": None,
}  # fmt: skip
_TEXTS = ("threshold_as", "category", "description", "value", "runbook_url")
_ATTRIBUTES = {"for": "for_"}
_REQUIRED = ("metric", "operator", "threshold", "severity", "summary")


@dataclass(frozen=True)
class Layer:
    """Values by field, and where each of them stands."""

    section: Section
    file: str
    lines: Callable[[Place], int]
    place: Place

    def get(self, name: str) -> Sourced[Any] | None:
        """Give a field, if it was set here."""
        value = getattr(self.section, _ATTRIBUTES.get(name, name), None)
        return None if value is None else Sourced(value, Origin(self.file, self.lines((*self.place, name))))


def merge(catalogue: Catalogue, user: UserFile) -> list[Effective]:
    """Give every alert as it will be, presets first; what is wrong is noted in `user.review`."""
    presets = [
        _Merger(catalogue, user, name, user.alerts.get(name)).merged()
        for name in catalogue.presets
        if name in user.alerts or name not in user.names("alerts")
    ]
    own = [
        _Merger(catalogue, user, name, alert).merged()
        for name, alert in user.alerts.items()
        if name not in catalogue.presets
    ]
    return [alert for alert in (*presets, *own) if alert]


class _Merger:
    """Merges one alert."""

    def __init__(self, catalogue: Catalogue, user: UserFile, name: str, alert: Alert | None) -> None:
        self._catalogue = catalogue
        self._user = user
        self._name = name
        self._place: Place = ("alerts", name)
        self._alert = alert
        self._is_good = True
        self._overrides = alert.overrides if alert else ()

    def merged(self) -> Effective | None:
        """Give the alert, or None if too much is wrong with it."""
        layers = list(self._layers())
        missing = [name for name in _REQUIRED if not any(layer.get(name) for layer in layers)]
        if self._is_good and missing:
            self._blame(f"an alert that starts from nothing needs {', '.join(missing)}")
        if not self._is_good:
            return None
        unit = UNITS[self._get(layers, "unit").value]
        base = self._branch(layers, unit, None, -1, self._place)
        overrides = [self._override(index, layers, unit) for index in range(len(self._overrides))]
        self._check_overrides(self._get(layers, "metric").value)
        if not self._is_good:
            return None
        text = {name: self._get(layers, name).value for name in _TEXTS}
        preset = self._preset
        file = self._catalogue.presets[preset][0] if preset else None
        signal = self._catalogue.signals.get(self._get(layers, "metric").value)
        return Effective(
            name=self._name,
            group=file.name if file and preset == self._name else OWN_GROUP,
            metric=self._get(layers, "metric"),
            operator=self._get(layers, "operator"),
            summary=self._get(layers, "summary"),
            unit=unit,
            preset=preset,
            dashboard=file,
            labels=signal.labels if signal else None,
            annotations=self._annotations(layers),
            base=base,
            overrides=overrides,
            **text,
        )

    # --- what decides ---------------------------------------------------------------------------------------

    @property
    def _preset(self) -> str | None:
        """The preset that this one is, or starts from."""
        if self._name in self._catalogue.presets:
            return self._name
        return self._alert.from_ if self._alert and self._alert.from_ in self._catalogue.presets else None

    def _layers(self) -> Iterator[Layer]:
        """Give the user's values, then those of the preset; the first that has a field decides."""
        if self._alert:
            self._check_name(self._alert)
            yield self._layer_of(self._alert, self._place)
        if preset := self._preset:
            file, section = self._catalogue.presets[preset]
            yield Layer(section, file.path, lambda place: file.lines.get(place, 0), ("alerts", preset))

    def _layer_of(self, section: Change, place: Place) -> Layer:
        return Layer(section, str(self._user.document.path), self._user.document.line, place)

    @staticmethod
    def _get(layers: Sequence[Layer], name: str) -> Sourced[Any]:
        found = (layer.get(name) for layer in layers)
        return next((value for value in found if value), Sourced(_DEFAULTS.get(name), Origin("default")))

    @staticmethod
    def _annotations(layers: Sequence[Layer]) -> dict[str, str]:
        """Take every layer's, since an annotation of the user's should not cost those of the preset."""
        found = [layer.get("annotations") for layer in reversed(layers)]
        return {name: text for layer in found if layer for name, text in layer.value.items()}

    def _override(self, index: int, layers: Sequence[Layer], unit: Unit) -> Branch:
        override = self._overrides[index]
        place = (*self._place, "overrides", index)
        return self._branch([self._layer_of(override, place), *layers], unit, override.match, index, place)

    def _branch(
        self, layers: Sequence[Layer], unit: Unit, match: Matchers | None, index: int, place: Place
    ) -> Branch:
        return Branch(
            match=match,
            index=index,
            place=place,
            threshold=self._number(layers, "threshold", unit, place),
            floor=self._number(layers, "floor", UNITS["bytes"], place),
            for_=self._get(layers, "for"),
            severity=self._get(layers, "severity"),
            webhook=self._webhook(layers, place),
            enabled=self._get(layers, "enabled"),
        )

    def _number(self, layers: Sequence[Layer], name: str, unit: Unit, place: Place) -> Sourced[Any]:
        found = self._get(layers, name)
        if found.value is None:
            return found
        try:
            return Sourced(unit.parse(found.value), found.origin)
        except ValueError as error:
            if layers[0].get(name):  # else it was told where it stands
                self._blame(str(error), *place[len(self._place) :], name)
            self._is_good = False
            return Sourced(0.0, found.origin)

    def _webhook(self, layers: Sequence[Layer], place: Place) -> Sourced[Any]:
        found = self._get(layers, "webhook")
        names = self._user.names("webhooks") or ("default",)
        if found.value is not None and found.value not in names and layers[0].get("webhook"):
            self._blame(
                f"there is no webhook {found.value!r}; there are {', '.join(names)}",
                *place[len(self._place) :],
                "webhook",
            )
        return found

    # --- what is wrong --------------------------------------------------------------------------------------

    def _blame(self, message: str, *inner: str | int) -> None:
        self._is_good = False
        self._user.review.blame((*self._place, *inner), message)

    def _check_name(self, alert: Alert) -> None:
        presets = self._catalogue.presets
        if not _ALERT_NAME.fullmatch(self._name):
            self._blame("is no name for an alert: letters, digits and _ are allowed, no digit first")
        elif alert.from_ is not None and self._name in presets:
            self._blame("is for new alerts; this is the name of a preset, which is changed as it is", "from")
        elif alert.from_ is not None and alert.from_ not in presets:
            self._blame(f"there is no preset {alert.from_!r}{_hint(alert.from_, presets)}", "from")
        elif alert.from_ is None and alert.metric is None and self._name not in presets:
            self._blame(
                f"there is no preset of this name{_hint(self._name, presets)}; a new alert needs metric, "
                "operator, threshold, severity and summary, or from: <preset>"
            )
        self._check_floor(alert)

    def _check_floor(self, alert: Alert) -> None:
        preset = self._catalogue.presets.get(self._name)
        if preset and preset[1].floor is not None:
            return
        for index, change in enumerate((alert, *alert.overrides)):
            if change.floor is not None:
                inner = ("overrides", index - 1) if index else ()
                self._blame("the signal of this alert has no floor", *inner, "floor")

    def _check_overrides(self, metric: str) -> None:
        for index, override in enumerate(self._overrides):
            if complaint := self._complaint(index, override, metric):
                self._blame(complaint, "overrides", index, "match")
            elif not override.model_fields_set - {"match"}:
                self._blame("changes nothing", "overrides", index)

    def _complaint(self, index: int, override: Override, metric: str) -> str | None:
        match = override.match
        if not match.matchers:
            return "matches every series: change the alert itself instead"
        if lacking := self._lacking(match, metric):
            return lacking
        if match.is_impossible:
            return "matches nothing: no label has two values at once"
        for earlier, other in enumerate(self._overrides[:index]):
            if other.match.covers(match):
                return f"is never reached: overrides[{earlier}] takes everything that it matches"
        return None

    def _lacking(self, match: Matchers, metric: str) -> str | None:
        """Say which label the signal lacks; a metric that we do not know may have any."""
        signal = self._catalogue.signals.get(metric)
        if signal is None:
            return None
        known = [*signal.labels, *sorted(self._user.declared[signal.declared_by])]
        lacking = [matcher.label for matcher in match.matchers if matcher.label not in known]
        if not lacking:
            return None
        return (
            f"{metric} has no label {lacking[0]!r}; it has {', '.join(known)} (labels that Prometheus' "
            "scrape configuration adds are named under prometheus.labels)"
        )


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
