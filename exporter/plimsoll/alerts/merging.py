"""Lays the user's file over the catalogue, and finds what is wrong with the result.

Every value keeps the place that it comes from, so that `plimsoll explain` can tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.alerts.catalogue import Catalogue
from plimsoll.alerts.effective import Branch, Effective, Origin, Sourced
from plimsoll.alerts.matchers import Matchers
from plimsoll.alerts.mistakes import Mistake, mistakes_of_alert, mistakes_of_overrides
from plimsoll.alerts.settings import UserFile
from plimsoll.alerts.shape import Alert, Change
from plimsoll.alerts.units import UNITS, Unit
from plimsoll.config import Section
from plimsoll.config.problem import Place

OWN_GROUP = "custom"
"""The group, and the category, of alerts that have no preset."""

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
    "dashboard_url": None,
}  # fmt: skip
_TEXTS = ("threshold_as", "category", "description", "value", "runbook_url", "dashboard_url")
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
        self._damaged = user.damaged.get(self._place, frozenset())
        self._overrides = alert.overrides if alert else ()

    def merged(self) -> Effective | None:
        """Give the alert, or None if too much is wrong with it."""
        layers = list(self._layers())
        if self._alert:
            self._blame_all(mistakes_of_alert(self._name, self._alert, self._catalogue, self._damaged))
        missing = [name for name in _REQUIRED if not any(layer.get(name) for layer in layers)]
        if self._is_good and missing and not self._damaged:
            self._blame(f"an alert that starts from nothing needs {', '.join(missing)}")
        if not self._is_good or missing:
            return None
        unit = UNITS[self._get(layers, "unit").value]
        base = self._branch(layers, unit, None, -1, self._place)
        overrides = [self._override(index, layers, unit) for index in range(len(self._overrides))]
        metric = self._get(layers, "metric")
        if self._alert:
            self._blame_all(mistakes_of_overrides(self._alert, metric.value, self._catalogue, self._user))
        return (
            None if self._damaged or not self._is_good else self._effective(layers, metric, base, overrides)
        )

    def _effective(
        self, layers: Sequence[Layer], metric: Sourced[str], base: Branch, overrides: Sequence[Branch]
    ) -> Effective:
        text = {name: self._get(layers, name).value for name in _TEXTS}
        preset = self._preset
        file = self._catalogue.presets[preset][0] if preset else None
        signal = self._catalogue.signals.get(metric.value)
        return Effective(
            name=self._name,
            group=file.name if file and preset == self._name else OWN_GROUP,
            metric=metric,
            operator=self._get(layers, "operator"),
            summary=self._get(layers, "summary"),
            unit=UNITS[self._get(layers, "unit").value],
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
            yield self._layer_of(self._alert, self._place)
        if preset := self._preset:
            file, section = self._catalogue.presets[preset]
            yield Layer(section, file.path, file.line, ("alerts", preset))

    def _layer_of(self, section: Change, place: Place) -> Layer:
        return Layer(section, str(self._user.document.path), self._user.document.line, place)

    @staticmethod
    def _get(layers: Sequence[Layer], name: str) -> Sourced[Any]:
        found = (layer.get(name) for layer in layers)
        return next((value for value in found if value), Sourced(_DEFAULTS.get(name), Origin("built in")))

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
            floor=self._number(self._of_floor(layers), "floor", UNITS["bytes"], place),
            for_=self._get(layers, "for"),
            severity=self._get(layers, "severity"),
            webhook=self._webhook(layers, place),
            enabled=self._get(layers, "enabled"),
        )

    def _of_floor(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Leave the floor to the alert whose signal has it, of those that judge this signal."""
        return layers if self._catalogue.has_floor(self._name) else ()

    def _number(self, layers: Sequence[Layer], name: str, unit: Unit, place: Place) -> Sourced[Any]:
        found = self._get(layers, name)
        if found.value is None:
            return found
        try:
            return Sourced(unit.parse(found.value), found.origin)
        except ValueError as error:
            self._blame_number(layers, name, place, str(error))
            return Sourced(0.0, found.origin)

    def _blame_number(self, layers: Sequence[Layer], name: str, place: Place, message: str) -> None:
        """Blame where a number stands, and the unit if it was another's."""
        inner = place[len(self._place) :]
        if layers[0].get(name):
            self._blame(message, *inner, name)
        elif not inner:
            self._blame(f"needs a {name} in this unit too: that of the preset {message}", "unit")
        else:
            self._is_good = False  # it was told of the alert itself

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

    def _blame_all(self, mistakes: Iterable[Mistake]) -> None:
        for inner, message in mistakes:
            self._blame(message, *inner)
