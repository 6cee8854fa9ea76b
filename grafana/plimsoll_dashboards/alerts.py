"""Alerts of all kinds: the bell, what fires, who has taken it, what is judged, and whether anybody hears."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
)

from plimsoll.alerts.catalogue import load_catalogue
from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import (
    BAD,
    CRITICAL,
    GOOD,
    NOTICE,
    QUIET,
    SEVERITIES,
    TAKEN,
    severity_ranks,
    words,
)
from plimsoll_dashboards.columns import Column, label, since, table, value
from plimsoll_dashboards.firing import TOLD
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import count_of_bad, graph, stat, timeline
from plimsoll_dashboards.queries import now, numbered, over_time
from plimsoll_dashboards.subjects import OF_PRESETS, SUBJECT, described, known, silence
from plimsoll_dashboards.variables import alertmanager, runbooks
from plimsoll_dashboards.variables import label as variable

_CHOSEN = 'severity=~"$severity",category=~"$category",alertname=~"$alertname"'
_FIRING = f'ALERTS{{alertstate="firing",{_CHOSEN}}}'
_UNKNOWN = len(SEVERITIES) - 1
_NONE = "0 * count(plimsoll:alert_info)"
"""Zero, as long as anything is judged."""
_QUIET = -1
"""The state of an alert that does not fire."""

_SETUP = "Without a relay nobody knows; docs/relay.md says what it adds."


def alerts() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-alerts",
        "Plimsoll / Alerts",
        "What fires, who has taken it, what is judged, and whether anybody is told.",
        variables=[
            variable("severity", "Severity", "plimsoll:alert_info", "Narrows everything but the bell."),
            variable(
                "category",
                "Category",
                'plimsoll:alert_info{severity=~"$severity"}',
                "What kind of thing the alert is about.",
            ),
            variable(
                "alertname",
                "Alert",
                'plimsoll:alert_info{severity=~"$severity",category=~"$category"}',
                "Alerts by name, whether they fire or not.",
            ),
            alertmanager(),
            runbooks(),
        ],
        annotations=[alerts_over_time(_CHOSEN)],
        sections=[
            Section(
                "",
                [
                    _bell().span(5),
                    _open("Critical", "critical", 'severity="critical"', CRITICAL).span(4),
                    _open("High", "high", 'severity="high"', BAD).span(4),
                    _open("Other", "warning and below", 'severity!~"critical|high"', NOTICE).span(4),
                    _oldest().span(4),
                    _silences().span(3),
                    _active().span(24).height(12),
                ],
            ),
            Section(
                "Taken, and about to fire",
                [_acknowledgements().span(14).height(8), _pending().span(10).height(8)],
            ),
            Section("What fired", [_timeline().height(12)]),
            Section("Rules", [_rules().height(12)]),
            Section(
                "Delivery",
                [
                    _webhooks().span(16).height(7),
                    _refused().span(4).height(7),
                    _given_up().span(4).height(7),
                    _deliveries().span(8),
                    _durations().span(8),
                    _alertmanagers().span(8),
                ],
            ),
        ],
    )


# --- the bell -----------------------------------------------------------------------------------------------


def _bell() -> Stat:
    return count_of_bad(
        "Nobody has taken",
        "Alerts that fire and that nobody has acknowledged or silenced, whatever is chosen above. Take them "
        "in the list below, the gravest first. The relay counts them; without one, or while it cannot be "
        "scraped, this is all that fires, taken or not (docs/relay.md).",
        CRITICAL,
        now(f'max(plimsoll_alerts_unacknowledged)\nor count(ALERTS{{alertstate="firing"}})\nor {_NONE}'),
    )


def _open(title: str, severities: str, selector: str, colour: str) -> Stat:
    return count_of_bad(
        title,
        f"Of these, those of severity {severities}, whatever is chosen above. Above zero: read the list "
        "below.",
        colour,
        now(
            f'sum(max by (severity) (plimsoll_alerts{{state="open",{selector}}}))\n'
            f'or count(ALERTS{{alertstate="firing",{selector}}})\n'
            f"or {_NONE}"
        ),
    )


def _oldest() -> Stat:
    return stat(
        "The oldest began",
        "Since when the oldest alert fires that nobody has taken; without a relay, that fires at all. Hours "
        "mean that nobody looks, or that the alert asks for nothing: then change its threshold.",
        "dateTimeFromNow",
        now(
            "1000 * (\n"
            "min(plimsoll_alerts_oldest_unacknowledged_timestamp_seconds)\n"
            "or min(\n"
            'ALERTS_FOR_STATE and ignoring (alertstate) ALERTS{alertstate="firing"}\n'
            "unless on () plimsoll_alerts_unacknowledged\n"
            "))"
        ),
    ).no_value("none")


def _silences() -> Stat:
    return (
        stat(
            "Silences",
            "In force at Alertmanager: acknowledgements, which end with their alerts, and others, which hide "
            f"whatever they match until they end. Look through the others now and then. {_SETUP}",
            "none",
            now("max by (kind) (plimsoll_silences)", "{{kind}}"),
        )
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .no_value("no relay")
    )


# --- what fires ---------------------------------------------------------------------------------------------


def _active() -> Table:
    return table(
        "Active alerts",
        "Everything that fires. Follow the runbook; Dismiss opens Alertmanager's form, filled in for this "
        "alert: the relay prolongs a silence whose comment begins with ACK! until the alert has resolved. "
        "Find it stands where an alert has labels that this page does not know: it leads to Alertmanager's "
        "list, from where a silence can name them all.",
        [
            Column("Severity", "rank")
            .mapped(severity_ranks())
            .with_(custom_cellOptions={"type": "color-background", "mode": "basic"})
            .wide(110),
            label("Alert", "alertname")
            .linked("Its history", page("plimsoll-alert-history", ["alertname"]))
            .wide(210),
            label("About", "about"),
            since("Since", _ranked(described(_active_rows()))),
            Column("Silenced", "told").mapped(words(TOLD)).wide(150),
            label("Category", "category").wide(110),
            _runbook(),
            Column("Dismiss", "form")
            .mapped(words({"silences/new": ("Dismiss", TAKEN), "alerts": ("Find it", TAKEN)}))
            .linked("Silence it in Alertmanager", silence(), elsewhere=True)
            .wide(90),
        ],
        empty="Nothing fires.",
        sorted_by="Severity",
        descending=False,
    )


def _since(state: str) -> str:
    """Give since when alerts are in a state, in seconds since the epoch."""
    return (
        f'(ALERTS_FOR_STATE{{{_CHOSEN}}} and ignoring (alertstate) ALERTS{{alertstate="{state}",{_CHOSEN}}})'
    )


def _active_rows() -> str:
    """Give what fires, with the label `form`: the page of Alertmanager on which it is to be silenced.

    Where an alert has labels that this page does not know, only Alertmanager's own list can name it wholly.
    """
    alerts = _since("firing")
    wholly_named = _told(known(alerts), f"on (alertname, {OF_PRESETS})")
    others = _told(alerts, f"ignoring ({_NOT_SUPPRESSED})")
    return (
        f"(label_replace({wholly_named}, 'form', 'silences/new', '', '')\n"
        f"or ignoring (told, form)\nlabel_replace({others}, 'form', 'alerts', '', ''))"
    )


_NOT_SUPPRESSED = "severity, override, state, pod, container, endpoint, service, namespace, node"
"""Labels that an alert has and alert:plimsoll_alert_suppressed:max has not, or the other way round."""


def _told(alerts: str, matching: str) -> str:
    """Give alerts the label `told`: whether anybody is told of them, as far as there is a relay to say so."""
    suppressed = f"{alerts} and {matching} alert:plimsoll_alert_suppressed:max"
    choices = (
        ("1", f'{suppressed}{{state="acknowledged"}}'),
        ("2", f'{suppressed}{{state="suppressed"}}'),
        ("0", f"{alerts} and on () plimsoll_alerts_unacknowledged"),
        ("-1", alerts),
    )
    either = "\nor ignoring (told)\n".join(
        f"label_replace({those}, 'told', '{number}', '', '')" for number, those in choices
    )
    return f"({either})"


def _ranked(alerts: str) -> str:
    """Give alerts the labels `rank`, for their severity, and `runbook`."""
    expression = f"label_replace({alerts},\n'rank', '{_UNKNOWN}', '', '')"
    for rank, name in enumerate(SEVERITIES):
        expression = f"label_replace({expression},\n'rank', '{rank}', 'severity', '{name}')"
    return f"label_join({expression},\n'runbook', '', 'alertname')"


def _runbook() -> Column:
    """Lead to the part of the runbook about an alert, which is called as the alert, but in small letters."""
    anchors = {name: (name.lower(), TAKEN) for name in load_catalogue().presets}
    column = Column("Runbook", "runbook").mapped(words(anchors)).wide(190)
    return column.linked("What to do", "${runbooks}#${__value.text:percentencode}", elsewhere=True)


# --- taken, and about to fire -------------------------------------------------------------------------------


def _acknowledgements() -> Table:
    def when(name: str) -> str:
        series = f"plimsoll_acknowledgement_{name}_timestamp_seconds"
        return f'max by (alert, subject, by, fingerprint) ({series}{{alert=~"$alertname"}})'

    return table(
        "Acknowledgements that stand",
        "Who has taken what, and when that ends even if the alert still fires; an hour before, its taker is "
        "reminded. Ask them before you do the same work. plimsoll ack FINGERPRINT --undo gives it back.",
        [
            label("Alert", "alert"),
            label("About", "subject"),
            label("By", "by"),
            since("Taken", when("start")),
            since("Ends", when("limit")),
            label("Fingerprint", "fingerprint").wide(160),
        ],
        empty=f"Nobody has taken an alert that still fires. {_SETUP}",
        sorted_by="Ends",
        descending=False,
    )


def _pending() -> Table:
    return table(
        "About to fire",
        "Alerts whose condition holds, but not yet for as long as their rule asks. Nobody is told yet.",
        [
            Column("Severity", "rank").mapped(severity_ranks()).wide(110),
            label("Alert", "alertname"),
            label("About", "about"),
            since("Since", _ranked(described(_since("pending")))),
        ],
        empty="Nothing is about to fire.",
        sorted_by="Severity",
        descending=False,
    )


# --- what fired ---------------------------------------------------------------------------------------------


def _timeline() -> Timeline:
    by = f"alertname, {SUBJECT}"
    longest = f"topk(40, sum by ({by}) (count_over_time({_FIRING}[$__range] @ end())))"
    # Evaluated once, for it is the same at each step: to describe alerts takes long.
    quiet = f"{_QUIET} + 0 * {described(longest)}"
    ranks = "\nor\n".join(
        f"label_replace(vector({rank}), 'severity', '{name}', '', '')" for rank, name in enumerate(SEVERITIES)
    )
    graded = f"0 * {_FIRING} + on (severity) group_left () (\n{ranks}\n)\nor\n0 * {_FIRING} + {_UNKNOWN}"
    states = f"min by ({by}) (\n{graded}\n)\n+ on ({by}) group_left (about) (0 * {described(longest)})"
    expression = f"max by ({by}, about) (\n{states}\nor on ({by})\n{quiet}\n)"
    mappings = {str(rank): shown for rank, shown in enumerate(SEVERITIES.values())}
    return (
        timeline(
            "What fired, and when",
            "The 40 alerts that fired longest in the time chosen above. What comes and goes wants a longer "
            "`for`, or has a cause that does; what always fires is either work or a wrong threshold.",
            over_time(expression, "{{alertname}} {{about}}", at_least="1m"),
        )
        .mappings(words({**mappings, str(_QUIET): ("does not fire", "transparent")}))
        .no_value("Nothing fired.")
    )


# --- rules --------------------------------------------------------------------------------------------------


def _rules() -> Table:
    shown = "alertname, override, signal, operator, for, severity, category, webhook, enabled"
    info = f"max by ({shown}) (plimsoll:alert_info{{{_CHOSEN}}})"
    threshold = "max by (alertname, override) (plimsoll:alert_threshold)"
    judged = f"{info} * on (alertname, override) group_left () {threshold}"
    is_on = f"{info} * on (enabled) group_left () (\n{numbered('enabled', ('false', 'true'))}\n)"

    def rule(title: str, unit: str, expression: str) -> Column:
        return value(title, unit, f"label_join({expression}, 'runbook', '', 'alertname')")

    return table(
        "Rules",
        "What is judged, as compiled: signal, operator, threshold, for how long, and who is told. A row with "
        "an override holds for what its matchers fit, and the one without for the rest. To change one, edit "
        "`alerts` in plimsoll.yml and run plimsoll render --reload; plimsoll explain ALERT says where each "
        "value comes from.",
        [
            label("Alert", "alertname").wide(210),
            label("Override", "override"),
            rule("Enabled", "none", is_on).mapped(words({"1": ("✓ on", GOOD), "0": ("off", QUIET)})).wide(80),
            label("Signal", "signal"),
            label("Operator", "operator").wide(80),
            rule("Threshold", "locale", judged).with_(noValue="off").wide(130),
            label("For", "for").wide(70),
            Column("Severity", "severity").mapped(words(SEVERITIES)).wide(100),
            label("Category", "category").wide(110),
            label("Webhook", "webhook").wide(120),
            _runbook(),
        ],
        empty="Prometheus has no rules of Plimsoll: load rules/recording.yml and rules/alerts.yml.",
        sorted_by="Alert",
        descending=False,
    )


# --- delivery -----------------------------------------------------------------------------------------------


def _webhooks() -> Table:
    attempts = "plimsoll_webhook_deliveries_total"
    failing = "max by (receiver) (receiver:plimsoll_webhook_deliveries:is_failing)"
    within = f"round(sum by (receiver) (increase({attempts}{{%s}}[$__range])))"

    def last(what: str) -> str:
        return f"max by (receiver) (plimsoll_webhook_last_{what}_timestamp_seconds)"

    return table(
        "Webhooks",
        "Whether the relay's last post to each receiver arrived. Where it fails: the runbook of "
        "WebhookDeliveryFailing. Attempts are those within the time chosen above, as far as Prometheus saw "
        "them; receivers without a secret are Alertmanager's own, and count on the right only.",
        [
            label("Receiver", "receiver"),
            value("Now", "none", f"{failing}\nor\n0 * sum by (receiver) ({attempts})").mapped(
                words({"0": ("✓ delivers", GOOD), "1": ("✖ fails", CRITICAL)})
            ),
            value("Delivered", "none", within % 'result="delivered"'),
            value("Failed attempts", "none", within % 'result!="delivered"'),
            since("Last delivered", last("success")),
            since("Last failed", last("failure")).with_(noValue="never"),
        ],
        empty="No relay is scraped, or no webhook has a secret: docs/relay.md says how to set that up.",
        sorted_by="Now",
    )


def _refused() -> Stat:
    return count_of_bad(
        "Refused by the relay",
        "Posts that the relay did not pass on within the time chosen above: a wrong token after an exchange, "
        "an unknown or inactive webhook, or no notification at all. The relay's log has the reason.",
        BAD,
        now("round(sum(increase(plimsoll_webhook_requests_refused_total[$__range])))"),
    ).no_value("no relay")


def _given_up() -> Stat:
    return count_of_bad(
        "Given up by Alertmanager",
        "Notifications to webhooks that Alertmanager gave up within 15 minutes: nobody was told by these. "
        "Its log has the receiver and the error. Prometheus has to scrape Alertmanager for this.",
        CRITICAL,
        now(
            "sum(integration:alertmanager_notifications_failed_total:increase15m)\n"
            "or 0 * count(alertmanager_notifications_total)"
        ),
    ).no_value("Alertmanager is not scraped")


def _deliveries() -> Graph:
    attempts = "plimsoll_webhook_deliveries_total"
    happened = f"sum by (receiver, result) (max_over_time({attempts}[$__range] @ end())) > 0"
    return graph(
        "Attempts by receiver and result",
        "Posts of the relay. What failed is tried again by Alertmanager; what the receiver refused is lost "
        "until the next reminder. Nothing at all while alerts begin: does Alertmanager reach the relay?",
        "cpm",
        over_time(
            f"60 * sum by (receiver, result) (rate({attempts}[$__rate_interval]))\n"
            f"and on (receiver, result) ({happened})",
            "{{receiver}}: {{result}}",
        ),
    ).no_value("Nothing was sent, or no relay is scraped (docs/relay.md).")


def _durations() -> Graph:
    buckets = "plimsoll_webhook_delivery_duration_seconds_bucket[$__rate_interval]"
    return graph(
        "How long posts take",
        "The slowest of twenty posts, by receiver, while any were sent. At relay.timeout (10 s) they are "
        "given up: ask whoever runs the receiver to answer first and work afterwards.",
        "s",
        over_time(
            f"histogram_quantile(0.95, sum by (receiver, le) (rate({buckets})))",
            "{{receiver}}",
        ),
    ).no_value("No relay is scraped (docs/relay.md).")


def _alertmanagers() -> Graph:
    def per_minute(metric: str) -> str:
        return f'60 * sum(rate({metric}{{integration="webhook"}}[$__rate_interval]))'

    return graph(
        "Alertmanager's notifications to webhooks",
        "What Alertmanager sent, and of that what it gave up. Given up without failed attempts beside it: it "
        "cannot reach the relay, or the receiver has no secret and is posted to directly.",
        "cpm",
        over_time(per_minute("alertmanager_notifications_total"), "sent"),
        over_time(per_minute("alertmanager_notifications_failed_total"), "given up"),
    ).no_value("Alertmanager is not scraped.")
