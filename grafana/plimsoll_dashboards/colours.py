"""What colours mean. None of them carries a meaning alone: a word or a sign always stands beside it."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DashboardRangeMapOptions,
    DashboardSpecialValueMapOptions,
    FieldColorModeId,
    RangeMap,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

GOOD = "green"
NOTICE = "yellow"
BAD = "orange"
CRITICAL = "red"
QUIET = "text"
TAKEN = "blue"
UNKNOWN = "#7f7f7f"

_ENDLESS = 1e18

SEVERITIES: Mapping[str, tuple[str, str]] = {
    "critical": ("▲▲ critical", CRITICAL),
    "high": ("▲ high", BAD),
    "warning": ("● warning", NOTICE),
    "medium": ("● medium", NOTICE),
    "low": ("○ low", TAKEN),
    "info": ("○ info", TAKEN),
    "unknown": ("? unknown", QUIET),
}
"""The words and colours of severities, the gravest first."""


def severity_names() -> list[ValueMapping]:
    """Show severities that are given by name."""
    return words(SEVERITIES)


def severity_ranks() -> list[ValueMapping]:
    """Show severities that are given by their place in the order, from 0."""
    return words({str(rank): shown for rank, shown in enumerate(SEVERITIES.values())})


def words(options: Mapping[str, tuple[str, str]]) -> list[ValueMapping]:
    """Show values as words: text and colour by value."""
    shown = {
        value: ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(options.items())
    }
    return [ValueMap(options=shown)]


def nothing_known() -> ValueMapping:
    """Colour what has no value, and says so by its `noValue`, as neither good nor bad."""
    result = ValueMappingResult(color=UNKNOWN, index=0)
    return SpecialValueMap(DashboardSpecialValueMapOptions(match=SpecialValueMatch.NULL, result=result))


def from_on(value: float, text: str, colour: str) -> ValueMapping:
    """Show words for a value and all above it; Grafana 10.0 takes no end for 0."""
    result = ValueMappingResult(text=text, color=colour, index=0)
    return RangeMap(DashboardRangeMapOptions(from_val=value, to=_ENDLESS, result=result))


def from_values(base: str, *steps: tuple[float, str]) -> ThresholdsConfig:
    """Colour by value: `base`, and from each step's value upwards the step's colour."""
    thresholds = [
        Threshold(value=None, color=base),
        *(Threshold(value=at, color=colour) for at, colour in steps),
    ]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds)


def by_thresholds() -> FieldColor:
    """Take the colour from the thresholds."""
    return FieldColor().mode(FieldColorModeId.THRESHOLDS)


def always(colour: str) -> FieldColor:
    """Take one colour, where there is nothing to judge."""
    return FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)
