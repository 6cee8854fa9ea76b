"""What the exporter says about itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from plimsoll import __version__
from plimsoll.serve.jobs import Report
from plimsoll.serve.metrics import Family, LabelTemplate, Page, present

_JOB = ("collector", "target")
SUCCESS = Family("plimsoll_collector_success", "gauge", "Whether the last collection succeeded.", _JOB)
DURATION = Family("plimsoll_collector_duration_seconds", "gauge", "How long the last collection took.", _JOB)
LAST_SUCCESS = Family(
    "plimsoll_collector_last_success_timestamp_seconds",
    "gauge",
    "When a collection last succeeded, in seconds since the epoch.",
    _JOB,
)
INTERVAL = Family(
    "plimsoll_collector_interval_seconds",
    "gauge",
    "After how many seconds a collection is repeated at present; longer than configured while many databases "
    "take turns.",
    _JOB,
)
RELOADED = Family(
    "plimsoll_config_last_reload_successful",
    "gauge",
    "Whether the last reload of the configuration succeeded.",
)
RELOADED_AT = Family(
    "plimsoll_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration was last loaded, in seconds since the epoch.",
)
BUILD = Family("plimsoll_build_info", "gauge", "Always 1; the version is a label.", ("version",))
FAMILIES = (SUCCESS, DURATION, LAST_SUCCESS, INTERVAL, RELOADED, RELOADED_AT, BUILD)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """How the last reload ended, and when the configuration that is in force was loaded."""

    successful: bool
    loaded_at: float


def emit(page: Page, reports: Iterable[Report], reload: ReloadResult) -> None:
    """Add the exporter's own samples."""
    listed = list(reports)
    page.add(SUCCESS, [(report.labels, int(report.success)) for report in listed])
    page.add(DURATION, [(report.labels, report.duration) for report in listed])
    page.add(LAST_SUCCESS, present((report.labels, report.last_success) for report in listed))
    page.add(RELOADED, [("", int(reload.successful))])
    page.add(RELOADED_AT, [("", reload.loaded_at)])
    page.add(BUILD, [(LabelTemplate({"version": __version__})(), 1)])


class ProcessMetrics:
    """CPU, memory and file descriptors of this process, under their usual names."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def encode(self, *, openmetrics: bool) -> str:
        """Write them in the wanted format, without OpenMetrics' closing `# EOF`."""
        if openmetrics:
            page = openmetrics_exposition.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return str(page.decode()).removesuffix("# EOF\n")
        return exposition.generate_latest(self._registry).decode()
