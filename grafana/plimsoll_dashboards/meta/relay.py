"""The relay: whether it learns what fires, writes the history, and delivers."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.timeseries import Panel as Graph

from plimsoll_dashboards.colours import BAD, GOOD, NOTICE, words
from plimsoll_dashboards.meta.series import count_of_zeros, in_an_hour
from plimsoll_dashboards.panels import count_of_bad, graph, stat, timeline
from plimsoll_dashboards.queries import now, over_time

_RELAY_MISSING = "no relay is scraped"


def relay() -> list[Stat | Timeline | Graph]:
    """Build the panels, in reading order."""
    return [
        _unanswered(),
        _last_look(),
        _history(),
        _last_written(),
        _unrecorded(),
        _taken(),
        _relay_states().height(7),
        _in_flight(),
        _refused(),
    ]


def _unanswered() -> Stat:
    return count_of_bad(
        "Sources that do not answer",
        "Alertmanagers and Prometheus that a relay asks in vain. Meanwhile nothing is taken for resolved, "
        "and without any Alertmanager acknowledgements lapse. The relay's log has the error.",
        BAD,
        now(count_of_zeros("source:plimsoll_source_up:min")),
    ).no_value(_RELAY_MISSING)


def _last_look() -> Stat:
    return stat(
        "Last look",
        "When a relay last asked what fires; seconds ago is usual (`relay.interval`). Minutes: the relay "
        "hangs, or is gone. Restart it; nothing is lost.",
        "dateTimeFromNow",
        now("1000 * max(plimsoll_source_last_poll_timestamp_seconds)"),
    ).no_value(_RELAY_MISSING)


def _history() -> Stat:
    return (
        stat(
            "History",
            "Whether any relay could write the history the last time. If not: does the database run, has it "
            "room, may the role write? Notifications and acknowledgements go on meanwhile.",
            "none",
            now("max(relay:plimsoll_history_up:max)"),
        )
        .mappings(words({"1": ("✔ written", GOOD), "0": ("✖ not writable", BAD)}))
        .no_value("no history is set up")
    )


def _last_written() -> Stat:
    return stat(
        "History last written",
        "Each look of the relay ends with a write, so seconds ago is usual. Longer: see History beside it.",
        "dateTimeFromNow",
        now("1000 * max(plimsoll_history_last_success_timestamp_seconds)"),
    ).no_value("no history is set up")


def _unrecorded() -> Stat:
    return (
        count_of_bad(
            "Deliveries not recorded in an hour",
            "The history was away for so long that records of deliveries were dropped; they stay missing on "
            "the page Alert history. The deliveries themselves are not concerned.",
            NOTICE,
            now(in_an_hour("plimsoll_history_deliveries_dropped_total")),
        )
        .decimals(0)
        .no_value(_RELAY_MISSING)
    )


def _taken() -> Stat:
    return stat(
        "Silences, as the relay sees them",
        "Those that acknowledge, which it prolongs and ends, and others, which it leaves alone. Nothing "
        "while Alertmanager does not answer.",
        "none",
        now("max by (kind) (plimsoll_silences)", "{{kind}}"),
    ).no_value(_RELAY_MISSING)


def _relay_states() -> Timeline:
    return (
        timeline(
            "The relay, and what it needs",
            "A relay that cannot be scraped may still deliver; if not, signed webhooks get nothing, and "
            "Alertmanager tries again. Sources and the history are told apart by their names.",
            over_time("max by (instance) (relay:up:max)", "relay {{instance}}", at_least="1m"),
            over_time(
                "min by (source, url) (source:plimsoll_source_up:min)", "{{source}} {{url}}", at_least="1m"
            ),
            over_time("max(relay:plimsoll_history_up:max)", "history", at_least="1m"),
        )
        .mappings(words({"1": ("✔ works", GOOD), "0": ("✖ does not", BAD)}))
        .no_value("No relay is scraped as job plimsoll-relay; it is optional, see docs/relay.md.")
    )


def _in_flight() -> Graph:
    panel = graph(
        "Posts under way to each receiver",
        "Mostly 0. Steadily at `relay.max_in_flight` (4 unless set): the receiver is slow, and what finds no "
        "place is busy on the page Alerts, which has all results of deliveries.",
        "none",
        over_time("sum by (receiver) (plimsoll_webhook_in_flight)", "{{receiver}}"),
    )
    return panel.min(0).decimals(0).no_value("No webhook goes through a relay.")


def _refused() -> Graph:
    panel = graph(
        "Posts of Alertmanager that the relay refused, within an hour",
        "token: Alertmanager's file holds another one. unknown, inactive: render and reload both, their "
        "files differ. size, slow, invalid: not a notification of Alertmanager, or a bad network. Nobody is "
        "told of what was refused.",
        "none",
        over_time("sum by (reason) (increase(plimsoll_webhook_requests_refused_total[1h]))", "{{reason}}"),
    )
    return panel.min(0).decimals(0).no_value(_RELAY_MISSING)
