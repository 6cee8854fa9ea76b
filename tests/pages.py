"""Pages as text, and what the parsers of Prometheus' own client read in them."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from plimsoll.serve.metrics import Page


def written(page: Page, *, openmetrics: bool = False) -> str:
    """Give the whole text of a page."""
    return b"".join(page.encode(openmetrics=openmetrics)).decode()


def parsed(text: str, *, openmetrics: bool = False) -> list[Metric]:
    """Read a page, which in OpenMetrics lacks its end."""
    if openmetrics:
        return list(parse_openmetrics(f"{text}# EOF\n"))  # type: ignore[no-untyped-call]
    return list(parse_text(text))
