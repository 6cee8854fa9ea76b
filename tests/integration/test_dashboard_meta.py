"""The dashboard about Plimsoll itself tells the truth about the world that it is tested on."""

from __future__ import annotations

import pytest

from boards import Board, Data
from clicking import filled, form
from fix_dashboards import OpenBoard
from plimsoll import __version__
from plimsoll.alerts.catalogue import load_catalogue
from world_building import BROKEN_COLLECTOR, EXPORTER, RELAY
from world_history import RECEIVERS
from world_parts import AGENTS

pytestmark = pytest.mark.long

BANNER = "Alerts about Plimsoll that fire"
COLLECTIONS = "Collections: what fails, and what takes longest"
DATABASES = {"shop", "billing", "postgres"}
FAILING = {("spare", "server", ""), ("main", "sql", "postgres")}
"""Server, collector and database: one server is away; of the other, a query of a collector file is wrong."""
RUNNING = 4
"""Containers that run all the time; one more is restarted again and again."""


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("meta")


def test_the_banner_says_what_an_alert_is_about(board: Board) -> None:
    about = [(each.labels["alertname"], each.labels["about"]) for each in board.answer(BANNER, "A").samples]
    for name, begins in (
        ("CollectorFailing", 'server="spare", collector="server"'),
        ("CollectorFailing", 'server="main", datname="postgres", collector="sql"'),
        ("NotificationsFailing", 'integration="webhook"'),
    ):
        assert [text for alert, text in about if alert == name and text.startswith(begins)], begins
    assert board.value("Critical alerts") == 0
    assert board.value("Other alerts") == len(about)


def test_each_alert_of_the_banner_has_a_start_and_is_silenced_or_not(board: Board, world: Data) -> None:
    identity = ("alertname", "server", "collector")
    alerts = board.answer(BANNER, "A").by(*identity).keys()
    since = board.answer(BANNER, "B").by(*identity)
    told = board.answer(BANNER, "C").by(*identity)
    assert since.keys() == told.keys() == alerts
    assert all(0 < world.now - at / 1000 < 600 for at in since.values())
    assert told["NotificationsFailing", "", ""] == 0


def test_what_fails_is_counted_and_named(board: Board) -> None:
    assert board.value("Servers that do not answer") == 1
    assert board.value("Engines that do not answer") == 0
    assert board.value("Collections that fail") == len(FAILING)
    states = board.answer(COLLECTIONS, "A").by("server", "collector", "datname")
    assert {place for place, state in states.items() if state == 0} == FAILING
    assert {database for _, collector, database in states if collector == "tables"} == DATABASES
    assert {place[1] for place in states if place[0] == ""} == {"containers", "usage"}
    failed = board.answer("Collections that failed at some time")
    assert failed.by("server", "collector", "datname") == dict.fromkeys(FAILING, 0)


def test_what_never_succeeded_has_no_last_success(board: Board, world: Data) -> None:
    took = board.answer(COLLECTIONS, "B").by("server", "collector", "datname")
    last = board.answer(COLLECTIONS, "C").by("server", "collector", "datname")
    assert took.keys() - last.keys() == FAILING
    # A sample bears the time when its scrape began, so a success may seem to be a little later.
    assert all(abs(world.now - at / 1000) < 300 for at in last.values())


def test_a_server_may_be_chosen(board: Board) -> None:
    """The alert about a collector leads here with an empty engine if it is about a server."""
    main, spare = board.pick(server="main", engine=""), board.pick(server="spare", engine="")
    assert (main.value("Servers that do not answer"), spare.value("Servers that do not answer")) == (0, 1)
    assert (main.value("Collections that fail"), spare.value("Collections that fail")) == (1, 1)
    assert {each.labels.get("server", "") for each in spare.answer(BANNER, "A").samples} == {"spare", ""}
    assert spare.answer(COLLECTIONS, "A").by("server", "engine") == {("spare", ""): 0}


def test_an_engine_may_be_chosen(board: Board) -> None:
    """The alert about a collector leads here with an empty server if it is about an engine."""
    states = board.pick(server="", engine="local").answer(COLLECTIONS, "A").by("engine", "collector")
    assert states == {("local", "containers"): 1, ("local", "usage"): 1}


def test_ages_and_their_threshold(board: Board) -> None:
    ages = board.answer("Age of the oldest size", "A").by("datname")
    assert ages.keys() == {(database,) for database in DATABASES}
    assert board.value("Oldest size") == max(ages.values())
    assert 0 <= max(ages.values()) < 120
    assert board.value("Age of the oldest size", "B") == 7200


def test_processes(board: Board) -> None:
    states = board.answer("Processes", "A").by("job", "instance", "version")
    ours = {("plimsoll", EXPORTER, __version__), ("plimsoll-relay", RELAY, __version__)}
    assert ours <= states.keys()
    assert {job for job, *_ in states} == {"plimsoll", "plimsoll-relay", "prometheus", "alertmanager"}
    for ref, title in (
        ("B", "configuration"),
        ("C", "loaded"),
        ("D", "started"),
        ("E", "CPU"),
        ("F", "memory"),
    ):
        described = board.answer("Processes", ref).by("job", "instance")
        assert described.keys() == {(job, instance) for job, instance, _ in states}, title
    assert set(states.values()) == set(board.answer("Processes", "B").by("job", "instance").values()) == {1}
    assert board.value("Exporter") == 1


def test_a_process_may_be_chosen(board: Board) -> None:
    exporter = board.pick(instance=EXPORTER)
    for title in ("Processes", "CPU", "Memory", "Open files", "Series of each process"):
        first = exporter.answers(title)["A"]
        assert first.by("job", "instance").keys() == {("plimsoll", EXPORTER)}, title


def test_queries_of_collector_files(board: Board) -> None:
    states = board.answer("Queries of collector files", "A").by("sql_collector", "reason", "query")
    succeed = {place for place, state in states.items() if state == 1}
    assert succeed == {("agents", "", "agents"), ("agents", "", "runs")}
    ((file, reason, _),) = states.keys() - succeed
    assert (file, reason) == (BROKEN_COLLECTOR["collector_name"], "column")
    rows = board.answer("Queries of collector files", "C").by("sql_collector", "query")
    assert rows["agents", "agents"] == len(AGENTS)


def test_who_measures_containers(board: Board) -> None:
    panel = board.answer("Running containers, by who measures them")
    assert panel.value(source="cgroup") >= RUNNING
    assert {each.labels["source"] for each in panel.series} == {"cgroup", "stats", "none"}


def test_rules_and_notifications(board: Board, world: Data) -> None:
    presets = load_catalogue().presets
    assert board.value("Alerts that are judged") == len(presets)
    (rules,) = world.prometheus.instant("plimsoll:rules_info").samples
    assert board.value("Rules", version=rules.labels["version"]) == 1
    assert board.value("Alertmanagers") == 1
    assert board.value("Rules that failed in an hour") == 0
    assert board.value("Notifications within an hour", "A") >= board.value(
        "Notifications within an hour", "B"
    )
    assert board.value("Notifications lost in an hour") >= 1  # the pager refuses what it gets


def test_scrapes(board: Board) -> None:
    assert board.value("Series of each process", job="plimsoll") > 100
    new = board.answer("New series within an hour").by("job")
    assert new["plimsoll",] >= board.value("Series of each process", job="plimsoll")
    assert board.value("How long a scrape takes", "B") == 1
    assert 0 < board.value("How long a scrape takes", "A", job="plimsoll") < 1
    groups = board.answer("How much of its interval a group of rules takes").by("group")
    assert 0 < len(groups) <= 10
    assert all(part > 0 for part in groups.values())


def test_the_relay(board: Board, world: Data) -> None:
    assert board.value("Sources that do not answer") == 0
    assert abs(world.now - board.value("Last look") / 1000) < 300
    assert board.value("History") == 1
    assert abs(world.now - board.value("History last written") / 1000) < 300
    assert board.value("Deliveries not recorded in an hour") == 0
    silences = board.answer("Silences, as the relay sees them").by("kind")
    assert silences == {("acknowledgement",): 1, ("other",): 1}
    assert board.value("Silences in force") == 2
    states = board.answers("The relay, and what it needs")
    assert states["A"].by("instance") == {(RELAY,): 1}
    assert {source for source, _ in states["B"].by("source", "url")} == {"alertmanager", "prometheus"}
    assert states["C"].value() == 1


def test_webhooks_through_the_relay(board: Board) -> None:
    under_way = board.answer("Posts under way to each receiver").by("receiver")
    assert under_way == {(receiver,): 0 for receiver in RECEIVERS}
    refused = board.answer("Posts of Alertmanager that the relay refused, within an hour").by("reason")
    assert refused[("token",)] == 0


def test_dismiss_silences_this_alert_and_no_other(board: Board) -> None:
    (link,) = board.dashboard.panel(BANNER).data_links
    alerts = [each.labels for each in board.answer(BANNER, "A").samples]
    for alert in alerts:
        dismissed = form(filled(link.url, board, alert, alert["dismiss"]))
        assert (dismissed.page, dismissed.comment) == ("/silences/new", "ACK! ")
        assert [other for other in alerts if dismissed.holds_for(other)] == [alert]
