"""Alert history: the lives of alerts as the relay has written them down, and who was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders.dashboard import AnnotationQuery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.text import Panel as Text
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import GraphDrawStyle
from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue

from plimsoll_dashboards.board import Section, board
from plimsoll_dashboards.colours import (
    BAD,
    CRITICAL,
    GOOD,
    SEVERITIES,
    TAKEN,
    severity_names,
    words,
)
from plimsoll_dashboards.columns import Column
from plimsoll_dashboards.panels import WIDTH, asking, count_of_bad, graph, stacked, stat, text
from plimsoll_dashboards.queries import HISTORY, Sql
from plimsoll_dashboards.variables import found

UID = "plimsoll-alert-history"

_CHOSEN = """severity IN (${severity:sqlstring})
  AND status IN (${status:sqlstring})
  AND alertname = ANY (ARRAY[${alertname:sqlstring}]::text[])
  AND coalesce(category, '(none)') = ANY (ARRAY[${category:sqlstring}]::text[])
  AND kind || ':' || name = ANY (ARRAY[${subject:sqlstring}]::text[])"""
"""An alert may have no category, which can be chosen, too. Before the first alert there is nothing to choose,
and All of that is an empty list, which IN does not take."""

_FROM = "FROM plimsoll.alert\nJOIN plimsoll.subject ON subject.id = subject_id"

_LIVES = f"""{_FROM}
WHERE alert.created_at <= $__timeTo()::timestamptz
  AND (resolved_at IS NULL OR resolved_at >= $__timeFrom()::timestamptz)
  AND {_CHOSEN}"""
"""Those whose life overlaps the time chosen above."""

_GRAVEST_FIRST = f"array_position(ARRAY{[*SEVERITIES]}, severity)"

_DETAILS = """(
    SELECT string_agg(key || '=' || value, ' ' ORDER BY key)
    FROM jsonb_each_text(labels) AS label (key, value)
    WHERE key NOT IN ('alertname', 'severity', 'category', 'override', 'organization', 'server', 'engine')
  ) AS "About" """.strip()
"""The labels that say what an alert is about."""

_STATUSES = {
    "open": ("▲ open", CRITICAL),
    "acknowledged": ("✓ acknowledged", TAKEN),
    "resolved": ("resolved", GOOD),
}
_RESULTS = {
    "delivered": ("✓ delivered", GOOD),
    **{
        result: (f"✖ {result}", BAD)
        for result in ("refused", "redirected", "throttled", "failed", "timeout", "unreachable", "busy")
    },
}

_SETUP = """
Everything here comes from the relay's database. If panels are red or stay empty while alerts come and go:

1. The relay has to run with a section `history` in plimsoll.yml, which makes the tables. It says
   `plimsoll_history_up 1` then.
2. The data source *Plimsoll history* (uid `plimsoll-history`) needs that database's address, and a role that
   may read: `GRANT USAGE ON SCHEMA plimsoll TO grafana;`
   `GRANT SELECT ON ALL TABLES IN SCHEMA plimsoll TO grafana;`

docs/relay.md has both, what the columns mean, and what a relay that was away cannot know.
"""


def history() -> Dashboard:
    """Build the page."""
    return board(
        UID,
        "Plimsoll / Alert history",
        "Which alerts there were, how soon they were taken and resolved, and which come most often.",
        since="now-7d",
        variables=[
            found("severity", "Severity", _unnested(*SEVERITIES), "As the alert last had it."),
            found("category", "Category", _categories(), "What kind of thing the alert is about."),
            found("alertname", "Alert", _names(), "Alerts by name."),
            found("subject", "Server, engine or host", _subjects(), "What the alert is about."),
            found("status", "Status", _unnested(*_STATUSES), "Whether it still fires, and somebody took it."),
        ],
        annotations=[_alerts()],
        sections=[
            Section(
                "",
                [
                    _count().span(4),
                    _open_now().span(4),
                    _median("take an alert", "acknowledged_at", _MEDIAN_TO_TAKE).span(4),
                    _median("resolve an alert", "resolved_at", _MEDIAN_TO_RESOLVE).span(4),
                    _never_taken().span(4),
                    _failed_attempts().span(4),
                    _lifecycle().span(WIDTH).height(13),
                ],
            ),
            Section(
                "What comes often, and what stays",
                [
                    _per_day().span(12).height(9),
                    _most_frequent().span(12).height(9),
                    _open_for_long().span(WIDTH).height(8),
                ],
            ),
            Section(
                "Deliveries",
                [_retried().span(12).height(8), _not_delivered().span(12).height(8)],
            ),
            Section("Setting it up", [_hint().height(6)]),
        ],
    )


# --- what can be chosen -------------------------------------------------------------------------------------


def _unnested(*values: str) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"SELECT unnest(ARRAY[{listed}])"


def _categories() -> str:
    return "SELECT DISTINCT coalesce(category, '(none)') AS found FROM plimsoll.alert ORDER BY found"


def _names() -> str:
    return """SELECT DISTINCT alertname
FROM plimsoll.alert
WHERE coalesce(category, '(none)') = ANY (ARRAY[${category:sqlstring}]::text[])
ORDER BY alertname"""


def _subjects() -> str:
    return """SELECT name || ' (' || kind || ')' AS __text, kind || ':' || name AS __value
FROM plimsoll.subject
ORDER BY kind, name"""


# --- numbers ------------------------------------------------------------------------------------------------


def _count() -> Stat:
    return stat(
        "Alerts",
        "Lives of alerts that overlap the time chosen above, of those chosen: one life is from when an alert "
        "began to fire until it resolved.",
        "none",
        Sql(f"SELECT count(*) AS alerts\n{_LIVES}"),
    )


def _open_now() -> Stat:
    return count_of_bad(
        "Open now",
        "Of those, alerts that fire now and that nobody has taken. Above zero: the page Alerts has them with "
        "a link to dismiss each.",
        CRITICAL,
        Sql(f"SELECT count(*) FILTER (WHERE status = 'open') AS open\n{_LIVES}"),
    )


_MEDIAN_TO_TAKE = (
    "From when an alert began until somebody acknowledged it, of those that anybody did: half of them took "
    "longer. If it is hours, nobody is told in time, or the alerts do not matter."
)
_MEDIAN_TO_RESOLVE = (
    "From when an alert began until it resolved, of those that did: half of them took longer. If it is "
    "minutes and nobody took them, a longer `for` would spare everybody a message."
)


def _median(what: str, end: str, description: str) -> Stat:
    seconds = _seconds(f"{end} - alert.created_at")
    return (
        stat(
            f"Median time to {what}",
            description,
            "s",
            Sql(f"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {seconds}) AS seconds\n{_LIVES}"),
        )
        .decimals(1)
        .no_value("none yet")
    )


def _never_taken() -> Stat:
    return stat(
        "Never taken",
        "Of the alerts that have resolved, those that nobody acknowledged while they fired. What nobody has "
        "to take is a candidate for a lower severity.",
        "none",
        Sql(
            "SELECT count(*) FILTER (WHERE status = 'resolved' AND acknowledged_at IS NULL) AS never_taken\n"
            + _LIVES
        ),
    )


def _failed_attempts() -> Stat:
    return count_of_bad(
        "Failed deliveries",
        "Attempts to hand a notification to a receiver that failed, within the time chosen above, whatever "
        "else is chosen. The lists at the end of this page say which.",
        BAD,
        Sql(
            "SELECT count(*) AS failed\nFROM plimsoll.delivery\n"
            "WHERE $__timeFilter(attempted_at) AND result <> 'delivered'"
        ),
    )


# --- lives --------------------------------------------------------------------------------------------------


def _listed(title: str, description: str, sql: str, columns: Sequence[Column], empty: str) -> Table:
    """Show rows of the history; a column is called in the statement as it is on the page."""
    panel = Table().title(title).description(description).no_value(empty).unit("string")
    asking(panel, Sql(sql))
    for column in columns:
        panel.override_by_name(
            column.title,
            [DynamicConfigValue(id_val=name, value=value) for name, value in column.properties.items()],
        )
    return panel


def _word(title: str) -> Column:
    """Show what may be empty in some rows."""
    return Column(title).with_(noValue="")


def _number(title: str, unit: str, **properties: Any) -> Column:
    return Column(title).with_(unit=unit, noValue="", **properties).wide(100)


def _only(variable: str, chosen: str) -> str:
    """Give the address of this page about no more than what a row is about."""
    return f"/d/{UID}?${{__url_time_range}}&${{datasource:queryparam}}&var-{variable}={chosen}"


_VALUE = "${__value.raw:percentencode}"
_SUBJECT = "${__data.fields.Kind:percentencode}%3A${__data.fields.Name:percentencode}"

_SEVERITY = Column("Severity").mapped(severity_names()).wide(110)
_STATUS = Column("Status").mapped(words(_STATUSES)).wide(130)
_ALERT = Column("Alert").linked("Only this alert", _only("alertname", _VALUE)).wide(210)
_KIND = Column("Kind").wide(80)
_NAME = Column("Name").linked("Only what is about this", _only("subject", _SUBJECT)).wide(120)
_RESULT = Column("Result").mapped(words(_RESULTS)).wide(120)

_WHAT = f"""severity AS "Severity", status AS "Status", alertname AS "Alert", kind AS "Kind", name AS "Name",
  {_DETAILS}"""


def _lifecycle() -> Table:
    return _listed(
        "Alerts, from their beginning to their end",
        "Every alert that fired in the time chosen above, the gravest first and then the newest, up to 500. "
        "Who took it, and how soon; what it measured while it last fired. Follow a name to see only that.",
        f"""SELECT {_WHAT},
  alert.created_at AS "Began",
  {_seconds("coalesce(resolved_at, now()) - alert.created_at")} AS "Lasted",
  {_seconds("acknowledged_at - alert.created_at")} AS "Taken after",
  acknowledged_by AS "By",
  resolved_at AS "Resolved",
  actual_value AS "Value"
{_LIVES}
ORDER BY {_GRAVEST_FIRST}, alert.created_at DESC
LIMIT 500""",
        [
            _SEVERITY,
            _STATUS,
            _ALERT,
            _KIND,
            _NAME,
            _word("About"),
            Column("Began").wide(160),
            _number("Lasted", "s", decimals=1),
            _number("Taken after", "s", decimals=1),
            _word("By").wide(90),
            _word("Resolved").wide(160),
            _word("Value").wide(110),
        ],
        "No alert in this time, of those chosen.",
    )


def _seconds(interval: str) -> str:
    return f"extract(epoch FROM {interval})::float8"


def _per_day() -> Graph:
    counts = ",\n  ".join(f"count(*) FILTER (WHERE severity = '{name}') AS \"{name}\"" for name in SEVERITIES)
    panel = graph(
        "Alerts that began, by day",
        "How many lives began on each day (of UTC), by severity. Every day the same: a cause that nobody "
        "mends, or a threshold that is too near.",
        "none",
        Sql(
            f"""SELECT $__timeGroup(alert.created_at, 1d) AS "time",
  {counts}
{_FROM}
WHERE $__timeFilter(alert.created_at)
  AND {_CHOSEN}
GROUP BY 1
ORDER BY 1""",
            "time_series",
        ),
    )
    for name, (shown, colour) in SEVERITIES.items():
        panel.override_by_name(
            name,
            [
                DynamicConfigValue(id_val="displayName", value=shown),
                DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour}),
            ],
        )
    bars = stacked(panel).draw_style(GraphDrawStyle.BARS).min(0).decimals(0)
    return bars.no_value("No alert began in this time, of those chosen.")


def _most_frequent() -> Table:
    return _listed(
        "What comes most often",
        "Alerts of the time chosen above, counted by what they are about. Many short lives that nobody "
        "takes: a longer `for`, another threshold or an override for this one spares everybody the messages.",
        f"""SELECT alertname AS "Alert", kind AS "Kind", name AS "Name",
  count(*) AS "Times",
  count(acknowledged_at) AS "Taken",
  percentile_cont(0.5) WITHIN GROUP (
    ORDER BY {_seconds("coalesce(resolved_at, now()) - alert.created_at")}
  ) AS "Median",
  max(alert.created_at) AS "Last began"
{_LIVES}
GROUP BY alertname, kind, name
ORDER BY count(*) DESC, max(alert.created_at) DESC
LIMIT 20""",
        [
            _ALERT,
            _KIND,
            _NAME,
            _number("Times", "none", custom_cellOptions={"type": "gauge", "mode": "basic"}, min=0),
            _number("Taken", "none"),
            _number("Median", "s", decimals=1),
            Column("Last began").wide(160),
        ],
        "No alert in this time, of those chosen.",
    )


def _open_for_long() -> Table:
    return _listed(
        "What has been open for longest",
        "Alerts that still fire, whenever they began, the oldest first, 50 at most. What fires for weeks is "
        "either work that was forgotten, or no alert: end it, or change its rule.",
        f"""SELECT {_WHAT},
  alert.created_at AS "Began",
  {_seconds("now() - alert.created_at")} AS "For",
  acknowledged_by AS "By",
  acknowledged_comment AS "Comment",
  acknowledged_until AS "Ends",
  last_seen_at AS "Last seen"
{_FROM}
WHERE status <> 'resolved'
  AND {_CHOSEN}
ORDER BY alert.created_at
LIMIT 50""",
        [
            _SEVERITY,
            _STATUS,
            _ALERT,
            _KIND,
            _NAME,
            _word("About"),
            Column("Began").wide(160),
            _number("For", "s", decimals=1),
            _word("By").wide(90),
            _word("Comment"),
            _word("Ends").wide(160),
            Column("Last seen").wide(160),
        ],
        "Nothing fires, of what is chosen.",
    )


# --- deliveries ---------------------------------------------------------------------------------------------


def _retried() -> Table:
    return _listed(
        "Notifications that did not arrive at once",
        "Those that took several attempts, or never arrived, in the time chosen above, the newest first. The "
        "receiver tells duplicates by the id. As far as attempts could be written: not a complete account.",
        """SELECT began AS "First attempt", receiver AS "Receiver", result AS "Result",
  attempts AS "Attempts", seconds AS "Took",
  (
    SELECT string_agg(DISTINCT alertname, ', ')
    FROM plimsoll.alert
    WHERE fingerprint = ANY (fingerprints)
  ) AS "Alerts",
  webhook_id AS "Id"
FROM (
  SELECT webhook_id, receiver, fingerprints, min(attempted_at) AS began, count(*) AS attempts,
    CASE
      WHEN bool_or(result = 'delivered') THEN 'delivered'
      ELSE (array_agg(result ORDER BY attempted_at DESC))[1]
    END AS result,
    extract(epoch FROM max(attempted_at) - min(attempted_at))::float8 AS seconds
  FROM plimsoll.delivery
  WHERE $__timeFilter(attempted_at)
  GROUP BY webhook_id, receiver, fingerprints
  HAVING count(*) > 1 OR NOT bool_or(result = 'delivered')
  ORDER BY min(attempted_at) DESC
  LIMIT 100
) AS notification
ORDER BY began DESC""",
        [
            Column("First attempt").wide(160),
            Column("Receiver").wide(110),
            _RESULT,
            _number("Attempts", "none"),
            _number("Took", "s", decimals=1),
            _word("Alerts"),
            Column("Id").wide(160),
        ],
        "Every notification of this time arrived at once.",
    )


def _not_delivered() -> Table:
    return _listed(
        "Attempts that failed",
        "Each attempt of the time chosen above that did not arrive, the newest first, 100 at most. refused "
        "is the receiver's answer (4xx) and not tried again; the others are, by Alertmanager.",
        """SELECT attempted_at AS "At", receiver AS "Receiver", result AS "Result",
  http_status AS "Status code", duration_seconds AS "Took", webhook_id AS "Id"
FROM plimsoll.delivery
WHERE $__timeFilter(attempted_at) AND result <> 'delivered'
ORDER BY attempted_at DESC
LIMIT 100""",
        [
            Column("At").wide(160),
            Column("Receiver").wide(110),
            _RESULT,
            _number("Status code", "none"),
            _number("Took", "s"),
            Column("Id"),
        ],
        "No attempt of this time failed.",
    )


# --- set-up, and marks --------------------------------------------------------------------------------------


def _hint() -> Text:
    return text(
        "Where this comes from",
        "Read this if the panels of this page are red or empty: it says what has to be set up.",
        _SETUP,
    )


def _alerts() -> AnnotationQuery:
    sql = f"""SELECT alert.created_at AS time, coalesce(resolved_at, now()) AS timeend,
  title || ': ' || name AS text, alertname || ',' || severity AS tags
{_LIVES}
ORDER BY {_GRAVEST_FIRST}, alert.created_at DESC
LIMIT 200"""
    return (
        AnnotationQuery()
        .name("Alerts")
        .datasource(HISTORY)
        .enable(True)
        .hide(False)
        .icon_color("orange")
        .target(Sql(sql).ref_id("Anno"))
    )
