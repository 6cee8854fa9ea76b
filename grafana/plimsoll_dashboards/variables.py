"""Variables, each named as the label that it stands for, so that links between dashboards carry them over."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import CustomVariable, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from plimsoll_dashboards.queries import HISTORY, PROMETHEUS

_ALL = VariableOption(selected=True, text="All", value="$__all")


def datasource() -> DatasourceVariable:
    """Which Prometheus."""
    return DatasourceVariable("datasource").label("Data source").type("prometheus").multi(False)


def label(name: str, shown: str, series: str, description: str) -> QueryVariable:
    """Offer the values of the label `name`, with All, which also fits what lacks the label.

    Args:
        name: the label.
        shown: what the viewer reads.
        series: a selector, which may name the variables before this one.
        description: what it narrows.
    """
    variable = QueryVariable(name).multi(True).include_all(True).all_value(".*").current(_ALL)
    return _asking(variable.label(shown).description(description), f"label_values({series}, {name})")


def only(name: str, shown: str, series: str, description: str) -> QueryVariable:
    """Offer the values of the label `name`, of which one is chosen: the page is about that."""
    variable = QueryVariable(name).label(shown).description(description)
    return _asking(variable, f"label_values({series}, {name})")


def part(name: str, of: str, series: str, pattern: str) -> QueryVariable:
    """Take from the values of the label `of` what the group of a pattern matches, for queries."""
    variable = QueryVariable(name).regex(f"/{pattern}/").hide(VariableHide.HIDE_VARIABLE)
    return _asking(variable, f"label_values({series}, {of})")


def alertmanager() -> QueryVariable:
    """Where silences are made, for links; it comes from the file that the rules were rendered from."""
    return _linked("alertmanager")


def runbooks() -> QueryVariable:
    """The page of runbooks, for links; nothing where the user's file names none."""
    return _linked("runbooks")


def _linked(label: str) -> QueryVariable:
    """Take an address as it is now: the values that a label had meanwhile may be several."""
    variable = QueryVariable(label).regex(f'/{label}="([^"]+)"/').hide(VariableHide.HIDE_VARIABLE)
    return _asking(variable, "query_result(plimsoll:links_info)")


def found(name: str, shown: str, sql: str, description: str) -> QueryVariable:
    """Offer what a statement finds in the history, with All, which stands for each of these.

    It must have no text of its own for All, which Grafana would write into a query as it is, without quotes.
    """
    return (
        QueryVariable(name)
        .label(shown)
        .description(description)
        .multi(True)
        .include_all(True)
        .current(_ALL)
        .datasource(HISTORY)
        .query(sql)
        .definition(sql)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.DISABLED)
    )


def choice(name: str, shown: str, description: str, *values: str) -> CustomVariable:
    """Offer fixed values, of which the first is chosen."""
    options = [VariableOption(selected=value == values[0], text=value, value=value) for value in values]
    return (
        CustomVariable(name)
        .label(shown)
        .description(description)
        .values(",".join(values))
        .options(options)
        .current(options[0])
    )


def _asking(variable: QueryVariable, query: str) -> QueryVariable:
    return (
        variable.datasource(PROMETHEUS)
        .query({"query": query, "refId": "variable"})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
