"""Links between the dashboards, and to the form in which Alertmanager makes silences."""

from __future__ import annotations

from collections.abc import Iterable

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

TAG = "plimsoll"
"""All dashboards have it, and lead to each other by it."""


def to_the_others() -> DashboardLink:
    """List the other dashboards at the top of each, which keep the time and whatever variables they share."""
    return (
        DashboardLink("Plimsoll")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
        .url("")
        .icon("external link")
        .tooltip("")
        .target_blank(False)
    )


def page(uid: str, fields: Iterable[str], *, kept: Iterable[str] = ()) -> str:
    """Give the address of a dashboard about what a row of a table is about.

    Args:
        uid: of the dashboard.
        fields: labels that are columns of the row and variables there.
        kept: variables that stay as they are chosen here.
    """
    chosen = [f"var-{name}=${{__data.fields.{name}:percentencode}}" for name in fields]
    same = [f"${{{name}:queryparam}}" for name in ("datasource", *kept)]
    return f"/d/{uid}?{'&'.join(('${__url_time_range}', *same, *chosen))}"


def at_alertmanager(form: str, matchers: str) -> str:
    """Give the address of a page of Alertmanager about some alerts, with a comment that acknowledges them.

    Args:
        form: the page.
        matchers: of the alerts, as between braces, percent-encoded.
    """
    return f"${{alertmanager}}/#/{form}?filter=%7B{matchers}%7D&comment=ACK!%20"
