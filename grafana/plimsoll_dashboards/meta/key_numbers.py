"""The numbers that tell at a glance whether something is amiss, and with which part."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat

from plimsoll_dashboards.colours import BAD, CRITICAL
from plimsoll_dashboards.meta.series import (
    AGES,
    DROPPED,
    GIVEN_UP,
    MONITORS_MISSING,
    REACHABLE,
    SERVERS,
    SUCCESS,
    count_of_zeros,
)
from plimsoll_dashboards.panels import count_of_bad, stat
from plimsoll_dashboards.queries import now


def key_numbers() -> list[Stat]:
    """Build the panels, which fill a row."""
    return [
        _exporter(),
        _servers(),
        _engines(),
        _failing(),
        _oldest(),
        _lost(),
    ]


def _exporter() -> Stat:
    return (
        stat(
            "Exporter",
            "Whether Prometheus can scrape every exporter. If not, nothing is measured through it: look at "
            "the error on Prometheus' page /targets, then whether its process runs.",
            "none",
            now("min(exporter:up:max)"),
        )
        .mappings(REACHABLE)
        .no_value("Prometheus has no job plimsoll")
    )


def _servers() -> Stat:
    up = f"max by (server, organization) (server:pg_up:max{{{SERVERS}}})"
    return count_of_bad(
        "Servers that do not answer",
        "PostgreSQL servers that the exporter cannot ask. Is the server up, and may the exporter's role "
        "connect? `plimsoll check --connect` says what is missing.",
        CRITICAL,
        now(count_of_zeros(up)),
    ).no_value("no server is measured")


def _engines() -> Stat:
    present = 'engine:plimsoll_containers_measured:is_present{engine=~"$engine"}'
    return count_of_bad(
        "Engines that do not answer",
        "Container engines that the exporter cannot ask. Does the engine run, and may the exporter use its "
        "socket? Meanwhile there are no series of its containers.",
        CRITICAL,
        now(count_of_zeros(present)),
    ).no_value("no engine is watched")


def _failing() -> Stat:
    return count_of_bad(
        "Collections that fail",
        "Parts of the exporter's work that fail now: what they measure is missing, or repeated from before. "
        "The list below names them; the exporter's log has the errors.",
        BAD,
        now(count_of_zeros(SUCCESS)),
    ).no_value("nothing is collected")


def _oldest() -> Stat:
    return stat(
        "Oldest size",
        "How long ago the size was measured that is oldest of all databases. The graph below has each "
        "database, and from when on an alert fires.",
        "s",
        now(f"max({AGES})"),
    ).no_value("no size is measured")


def _lost() -> Stat:
    return (
        count_of_bad(
            "Notifications lost in an hour",
            "What Prometheus could hand to no Alertmanager, and what Alertmanager gave up. Above zero, "
            "somebody was not told: the logs of both have the reason, and the graph below says which of "
            "them.",
            CRITICAL,
            now(f"({DROPPED} or 0 * {GIVEN_UP}) + ({GIVEN_UP} or 0 * {DROPPED})"),
        )
        .decimals(0)
        .no_value(MONITORS_MISSING)
    )
