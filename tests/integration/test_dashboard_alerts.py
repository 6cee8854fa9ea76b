"""The dashboard Alerts tells the truth about the world that it is tested on, and its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from asking import Labels
from boards import Board, Data, at
from clicking import Form, filled, form, text_of
from fix_dashboards import OpenBoard
from plimsoll.alerts.catalogue import load_catalogue
from sending import Inbox, inbox
from support import require_program
from waiting import eventually
from world_building import BILLING_CRITICAL, RUNBOOKS, SHOP_CRITICAL
from world_parts import FILLING, HUNGRY, ILL, LOOPING, OFFLINE, THIS

pytestmark = pytest.mark.long

ACTIVE, TIMELINE = "Active alerts", "What fired, and when"
BELL, CRITICAL, HIGH, OTHER = "Nobody has taken", "Critical", "High", "Other"
HOUR = 3600.0
DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("alerts")


@pytest.fixture
def active(board: Board) -> list[Labels]:
    """What the table of active alerts shows in its rows."""
    return [sample.labels for sample in board.answer(ACTIVE).samples]


def without_relay(board: Board, title: str) -> str:
    """Give what a panel asks, with what relays publish named so that nobody has ever published it."""
    (query,) = board.dashboard.panel(title).queries
    return board.fill(query).replace("plimsoll_alert", "nobody_alert")


# --- the bell -----------------------------------------------------------------------------------------------


def test_the_bell_says_what_the_relay_counts(board: Board, world: Data) -> None:
    opened = world.prometheus.instant('plimsoll_alerts{state="open"}').by("severity")
    assert board.value(BELL) == sum(opened.values()) > 0
    assert board.value(CRITICAL) == opened["critical",]
    assert board.value(HIGH) == opened["high",]
    assert board.value(OTHER) == board.value(BELL) - opened["critical",] - opened["high",]
    oldest = world.prometheus.instant("plimsoll_alerts_oldest_unacknowledged_timestamp_seconds")
    assert board.value("The oldest began") == 1000 * oldest.value()


def test_the_bell_counts_what_fires_without_a_relay(board: Board, world: Data) -> None:
    def value(title: str) -> float:
        return world.prometheus.instant(without_relay(board, title)).value()

    firing = world.prometheus.instant('ALERTS{alertstate="firing"}').samples
    severities = [sample.labels["severity"] for sample in firing]
    assert value(BELL) == len(severities)
    assert value(CRITICAL) == severities.count("critical") > 0
    assert value(HIGH) == severities.count("high") > 0
    assert value(OTHER) == len(severities) - value(CRITICAL) - value(HIGH)
    starts = world.prometheus.instant("ALERTS_FOR_STATE").samples
    assert value("The oldest began") == 1000 * min(start.value for start in starts)


def test_the_bell_of_a_former_hour(board: Board, world: Data) -> None:
    """ContainerDown had fired five to four hours ago, when there was no relay.

    Of the rules of then nothing is stored, so whether another alert would have fired is not known.
    """
    then = Board(board.dashboard, at(world, world.now - 4.5 * HOUR))
    assert [then.value(title) for title in (BELL, CRITICAL)] == [1, 1]
    assert then.answer(HIGH).is_empty
    assert then.answer(OTHER).is_empty
    quiet = Board(board.dashboard, at(world, world.now - 6 * HOUR))
    for title in (BELL, CRITICAL, HIGH, OTHER, "The oldest began"):
        assert quiet.answer(title).is_empty


def test_nothing_fires_where_rules_are_judged(board: Board, world: Data) -> None:
    """So the bell says 0; without rules, or when they do not run, it says nothing."""
    for title in (BELL, CRITICAL, HIGH, OTHER):
        expression = without_relay(board, title).replace("ALERTS", "nothing_of_the_kind")
        assert world.prometheus.instant(expression).value() == 0
        assert world.prometheus.instant(expression.replace("plimsoll:alert_info", "no_rules")).is_empty


def test_silences_by_kind(board: Board) -> None:
    assert board.answer("Silences").by("kind") == {("acknowledgement",): 1, ("other",): 1}


# --- what fires ---------------------------------------------------------------------------------------------


def test_every_alert_that_fires_is_a_row(board: Board, world: Data, active: list[Labels]) -> None:
    rows = {(row["alertname"], row["about"]) for row in active}
    assert len(rows) == len(active)
    assert rows >= {
        ("DatabaseGrowthHigh", 'server="main", datname="shop", organization="acme"'),
        (
            "TableGrowthHigh",
            'server="main", datname="shop", schemaname="archive", relname="orders", organization="acme"',
        ),
        ("PostgresUnreachable", 'server="spare", organization="globex"'),
        ("ContainerDown", 'engine="local", name="crashed"'),
        ("ContainerRestartLoop", f'engine="local", name="{LOOPING}"'),
        ("ContainerUnhealthy", f'engine="local", name="{ILL}"'),
        ("ContainerOomKilled", f'engine="local", name="{HUNGRY}"'),
        ("HostOffline", f'instance="{OFFLINE}"'),
        ("HostDiskFilling", f'instance="{FILLING}", device="/dev/sdb1", mountpoint="/srv", fstype="ext4"'),
        ("AgentDown", 'server="main", datname="billing", agent="silent", organization="acme"'),
    }
    firing = world.prometheus.instant('ALERTS{alertstate="firing"}')
    assert len(active) == len(firing.samples)
    starts = world.prometheus.instant('ALERTS_FOR_STATE{alertname="HostOffline"}')
    assert board.pick(alertname="HostOffline").value(ACTIVE) == 1000 * starts.value()


def test_rows_say_how_grave_they_are_and_who_is_told(board: Board, active: list[Labels]) -> None:
    panel = board.dashboard.panel(ACTIVE).json
    ranks = {text_of(panel, "Severity", row["rank"]).split()[1] == row["severity"] for row in active}
    assert ranks == {True}
    told = {row["alertname"]: row["told"] for row in active}
    shown = {name: text_of(panel, "Silenced", value) for name, value in told.items()}
    assert shown["DatabaseGrowthHigh"] == "✓ acknowledged"
    assert shown["ContainerUnhealthy"] == "✓ silenced"
    assert shown["HostOffline"] == shown["DatabaseSizeCritical"] == "no"


def test_without_a_relay_nobody_knows_who_is_told(board: Board, world: Data, active: list[Labels]) -> None:
    rows = world.prometheus.instant(without_relay(board, ACTIVE)).samples
    assert {row.labels["told"] for row in rows} == {"-1"}
    assert len(rows) == len(active)


def test_filters_narrow_the_rows(board: Board) -> None:
    def shown(**chosen: str) -> set[str]:
        return {sample.labels["alertname"] for sample in board.pick(**chosen).answer(ACTIVE).samples}

    assert shown(category="disk") == {"HostDiskFilling"}
    assert shown(alertname="AgentDown") == {"AgentDown"}
    assert {"HostOffline", "ContainerDown"} <= shown(severity="critical")
    assert "HostDiskFilling" not in shown(severity="critical")


def test_acknowledgements(board: Board) -> None:
    by = ("alert", "subject", "by")
    answers = board.answers("Acknowledgements that stand")
    (taken,), (limit,) = (answers[ref].by(*by).values() for ref in "AB")
    assert answers["A"].by(*by).keys() == {("DatabaseGrowthHigh", "main", "ann")}
    assert limit - taken == pytest.approx(1000 * timedelta(days=3).total_seconds(), abs=60_000)


def test_what_is_about_to_fire(board: Board, world: Data) -> None:
    """This host uses some memory, but not for an hour yet."""
    answer = board.answer("About to fire")
    assert {(sample.labels["alertname"], sample.labels["about"]) for sample in answer.samples} == {
        ("HostMemoryHigh", f'instance="{THIS}"')
    }
    assert 0 <= world.now - answer.value() / 1000 < HOUR


def test_the_timeline_shows_a_former_alert(board: Board, world: Data) -> None:
    answer = board.answer(TIMELINE)
    (crashed,) = [
        each
        for each in answer.series
        if each.labels["alertname"] == "ContainerDown"
        and each.labels["about"] == 'engine="local", name="crashed"'
    ]
    states = {moment - world.now: state for moment, state in crashed.points}
    former = {state for moment, state in states.items() if -4.9 * HOUR < moment < -4.1 * HOUR}
    quiet = {state for moment, state in states.items() if -3.8 * HOUR < moment < -1 * HOUR}
    assert (former, quiet) == ({0}, {-1})
    assert crashed.last == 0
    everything = {each.labels["alertname"] for each in answer.series}
    assert everything >= {"HostOffline", "DatabaseGrowthHigh", "AgentDown"}


# --- rules --------------------------------------------------------------------------------------------------


def test_the_rules(board: Board, world: Data) -> None:
    enabled, thresholds = (board.answer("Rules", ref).by("alertname", "override") for ref in "AB")
    presets = load_catalogue().presets
    assert {name for name, override in enabled if not override} == presets.keys()
    assert thresholds["DatabaseGrowthHigh", ""] == 20
    sizes = world.prometheus.instant('pg_database_size_bytes{server="main"}').by("datname")
    for name, part in (("shop", SHOP_CRITICAL), ("billing", BILLING_CRITICAL)):
        critical = thresholds["DatabaseSizeCritical", f'{{datname="{name}"}}']
        assert critical == pytest.approx(part * sizes[name,], rel=0.05)
    off = {rule for rule, is_on in enabled.items() if not is_on}
    assert {name for name, _ in off} >= {"HostDiskHigh", "HostDiskFull"}
    assert thresholds.keys() == enabled.keys() - off
    (rule,) = board.pick(alertname="HostOffline").answer("Rules", "A").samples
    told = {
        name: rule.labels[name]
        for name in ("signal", "operator", "severity", "category", "webhook", "enabled")
    }
    assert told == {
        "signal": "host:up:max",
        "operator": "<",
        "severity": "critical",
        "category": "offline",
        "webhook": "pager",
        "enabled": "true",
    }


def test_each_preset_leads_to_its_runbook(board: Board) -> None:
    headings = re.findall(r"^### (\w+)$", DOCS.read_text("utf-8"), re.MULTILINE)
    for title in (ACTIVE, "Rules"):
        panel = board.dashboard.panel(title)
        (link,) = [link for link in panel.data_links if "runbooks" in link.url]
        for name in load_catalogue().presets:
            shown = text_of(panel.json, "Runbook", name)
            page, _, fragment = filled(link.url, board, {}, name, shown).partition("#")
            assert page == RUNBOOKS
            assert fragment in [heading.lower() for heading in headings]


# --- delivery -----------------------------------------------------------------------------------------------


def test_webhooks(board: Board, world: Data) -> None:
    """The pager refused its first notification; what happened before the first scrape is no increase."""
    answers = board.answers("Webhooks")
    now, delivered, failed, success, failure = (answers[ref].by("receiver") for ref in "ABCDE")
    assert now.keys() == delivered.keys() == failed.keys() == success.keys() == {("default",), ("pager",)}
    assert now["default",] == failed["default",] == 0
    totals = world.prometheus.instant('plimsoll_webhook_deliveries_total{result="delivered"}').by("receiver")
    assert all(0 <= delivered[receiver] <= total + 1 for receiver, total in totals.items())
    assert failure.keys() == {("pager",)}
    assert abs(world.now - failure["pager",] / 1000) < HOUR
    failing = world.prometheus.instant("receiver:plimsoll_webhook_deliveries:is_failing").by("receiver")
    assert now["pager",] == failing["pager",]
    assert board.value("Refused by the relay") == 0


def test_attempts_are_drawn_by_what_became_of_them(board: Board) -> None:
    attempts = board.answer("Attempts by receiver and result").by("receiver", "result")
    assert attempts.keys() == {("default", "delivered"), ("pager", "delivered"), ("pager", "refused")}
    sent = board.answers("Alertmanager's notifications to webhooks")
    assert sent["A"].value() >= sent["B"].value() >= 0


# --- links --------------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Inbox]:
    with inbox(tmp_path / "alertmanager") as found:
        yield found


def dismissals(board: Board, active: list[Labels]) -> list[Form]:
    """Click on Dismiss in each row."""
    (link,) = [link for link in board.dashboard.panel(ACTIVE).data_links if "filter" in link.url]
    urls = [filled(link.url, board, row, row["form"]) for row in active]
    assert all(url.startswith(f"{board.choices['alertmanager'].values[0]}/#/") for url in urls)
    return [form(url) for url in urls]


def test_dismiss_silences_this_alert_and_no_other(
    board: Board, world: Data, active: list[Labels], keeper: Inbox
) -> None:
    fires = world.prometheus.instant('ALERTS{alertstate="firing"}').samples
    alerts = [
        {name: value for name, value in sample.labels.items() if name not in ("__name__", "alertstate")}
        for sample in fires
    ]
    of_server = next(alert for alert in alerts if alert["alertname"] == "CollectorFailing")
    of_database = {**of_server, "datname": "shop"}
    graver = {**alerts[0], "severity": "high" if alerts[0]["severity"] == "critical" else "critical"}
    keeper.send(*alerts, of_database, graver)
    now = datetime.now(UTC)
    for number, asked in enumerate(dismissals(board, active)):
        assert asked.page == "/silences/new"
        assert asked.comment == "ACK! "
        silence = {
            "matchers": asked.matchers,
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ann",
            "comment": str(number),
        }
        keeper._ask("POST", "/api/v2/silences", silence)
    numbers = {id_: int(silence["comment"]) for id_, silence in keeper.silences().items()}
    assert len(numbers) == len(active) == len(alerts)
    found: list[tuple[Labels, list[int]]] = []

    def all_are_silenced() -> bool:
        found[:] = [
            (alert["labels"], [numbers[id_] for id_ in alert["status"]["silencedBy"]])
            for alert in keeper.alerts()
        ]
        return sum(bool(silenced) for _, silenced in found) == len(alerts) + 1

    eventually(all_are_silenced, 15)
    for labels, silenced in found:
        if labels == of_database:
            assert silenced == []
            continue
        (number,) = silenced
        row = active[number]
        assert (
            row.items()
            >= {key: value for key, value in labels.items() if key not in ("severity", "override")}.items()
        )


OWN = r"""
interval: 1m
input_series:
  - {series: 'ALERTS{alertstate="firing",alertname="MailLate",severity="high",queue="a"}', values: 1x5}
  - {series: 'ALERTS_FOR_STATE{alertname="MailLate",severity="high",queue="a"}', values: 60x5}
  - {series: 'ALERTS{alertstate="firing",alertname="MailLate",severity="high",queue="b"}', values: 1x5}
  - {series: 'ALERTS_FOR_STATE{alertname="MailLate",severity="high",queue="b"}', values: 60x5}
  - {series: 'ALERTS{alertstate="firing",alertname="HostOffline",severity="high",instance="h"}', values: 1x5}
  - {series: 'ALERTS_FOR_STATE{alertname="HostOffline",severity="high",instance="h"}', values: 60x5}
  - {series: plimsoll_alerts_unacknowledged, values: 1x5}
  - series: 'alert:plimsoll_alert_suppressed:max{alertname="MailLate",queue="b",state="acknowledged"}'
    values: 1x5
  - series: >-
      alert:plimsoll_alert_suppressed:max{alertname="HostOffline",instance="h",cluster="c",state="suppressed"}
    values: 1x5
promql_expr_test:
  - eval_time: 4m
    exp_samples:
      - labels: '{alertname="MailLate",queue="a",about="alertname=\"MailLate\"",told="0",form="alerts"}'
        value: 1
      - labels: '{alertname="MailLate",queue="b",about="alertname=\"MailLate\"",told="1",form="alerts"}'
        value: 1
      - labels: '{alertname="HostOffline",about="instance=\"h\"",told="2",form="silences/new"}'
        value: 1
"""
"""Two alerts of a rule of one's own, and one from a Prometheus with an external label, which ALERTS lacks."""


def test_an_alert_with_labels_of_its_own_is_to_be_found_in_the_list(board: Board, tmp_path: Path) -> None:
    """Of such labels the page knows nothing, so it leaves it to Alertmanager to name them."""
    world = yaml.safe_load(OWN)
    (query,) = board.dashboard.panel(ACTIVE).queries
    asked = f"count by (alertname, queue, about, told, form) ({board.fill(query)})"
    world["promql_expr_test"][0]["expr"] = asked
    file = tmp_path / "own.yml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [world]}))
    done = subprocess.run(
        [require_program("promtool"), "test", "rules", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    row = {"alertname": "MailLate", "about": 'alertname="MailLate"', "form": "alerts"}
    (found,) = dismissals(board, [row])
    assert found.page == "/alerts"
    assert found.holds_for({"alertname": "MailLate", "queue": "a"})


def test_a_name_with_quotes_makes_a_form_that_stays_empty(board: Board, active: list[Labels]) -> None:
    """Better no silence than one for something else."""
    row = {**active[0], "about": 'relname="a "b""'}
    with pytest.raises(AssertionError, match="no matcher"):
        dismissals(board, [row])


def test_a_name_leads_to_its_history(board: Board) -> None:
    (link,) = [link for link in board.dashboard.panel(ACTIVE).data_links if "history" in link.url]
    address = filled(link.url, board, {"alertname": "HostOffline"}, "HostOffline")
    assert address.endswith("&var-alertname=HostOffline")
    assert address.startswith("/d/plimsoll-alert-history?")
    history = json.loads(
        (Path(__file__).parents[2] / "grafana" / "dashboards" / "history.json").read_text("utf-8")
    )
    assert "alertname" in [variable["name"] for variable in history["templating"]["list"]]
