"""The dashboard Alert history counts and lists what the relay has written, on each release of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

import psycopg
import pytest

from asking import History
from boards import Board, Data, at
from clicking import filled
from dashboard_world import READER, admit_reader
from fix_dashboards import OpenBoard
from fix_postgres import Database
from plimsoll_dashboards.colours import SEVERITIES
from world_history import DAY, FORMER, HOUR, RESULTS, Former, migrated

pytestmark = pytest.mark.long

LIVES, FREQUENT, LONGEST = (
    "Alerts, from their beginning to their end",
    "What comes most often",
    "What has been open for longest",
)
FAILED, RETRIED = "Attempts that failed", "Notifications that did not arrive at once"
TO_TAKE, TO_RESOLVE = "Median time to take an alert", "Median time to resolve an alert"
WEEK = 7 * DAY


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    """The page as it opens, when only FORMER has happened: an hour before the world stopped."""
    opened = open_board("history")
    return Board(opened.dashboard, at(opened.data, opened.data.now - 60 * HOUR))


@pytest.fixture
def board_now(open_board: OpenBoard) -> Board:
    return open_board("history")


def number(board: Board, title: str) -> float:
    """Give the only number of a panel."""
    ((value,),) = (row.values() for row in board.rows(title))
    assert isinstance(value, int | float)
    return value


def lately(minutes: float = WEEK) -> list[Former]:
    """Give what was still firing within so many minutes."""
    return [former for former in FORMER if former.ago - former.lasted < minutes]


def minutes_taken(lives: list[Former]) -> list[float]:
    return [former.taken for former in lives if former.taken is not None]


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "days"), [("now-7d", 7), ("now-30d", 30), ("now-1d", 1)])
def test_the_numbers_of_a_time(board: Board, start: str, days: int) -> None:
    seen, lives = board.over(start), lately(days * DAY)
    assert number(seen, "Alerts") == len(lives) > 2
    assert number(seen, "Open now") == 0
    assert number(seen, TO_TAKE) == pytest.approx(60 * median(minutes_taken(lives)))
    assert number(seen, TO_RESOLVE) == pytest.approx(60 * median(former.lasted for former in lives))
    assert number(seen, "Never taken") == len(lives) - len(minutes_taken(lives))


def test_a_time_without_alerts(board: Board) -> None:
    """What is not there has no median; the counts are 0."""
    quiet = Board(board.dashboard, at(board.data, board.data.now - 90 * DAY * 60))
    assert number(quiet, "Alerts") == number(quiet, "Never taken") == number(quiet, "Failed deliveries") == 0
    assert [row["seconds"] for title in (TO_TAKE, TO_RESOLVE) for row in quiet.rows(title)] == [None, None]
    assert quiet.rows(LIVES) == quiet.rows(FREQUENT) == quiet.rows(RETRIED) == []


def test_what_is_open_now(board_now: Board) -> None:
    rows = board_now.rows(LIVES)
    assert number(board_now, "Open now") == [row["Status"] for row in rows].count("open") > 10
    assert number(board_now, "Alerts") == len(rows)
    taken = [row for row in rows if row["Status"] == "acknowledged"]
    assert [(row["Alert"], row["About"], row["By"]) for row in taken] == [
        ("DatabaseGrowthHigh", "datname=shop", "ann")
    ]


@pytest.mark.parametrize(
    ("chosen", "fits"),
    [
        ({"severity": "critical"}, lambda former: former.severity == "critical"),
        ({"category": "storage"}, lambda former: former.category == "storage"),
        ({"alertname": "ContainerDown"}, lambda former: former.alertname == "ContainerDown"),
        ({"subject": "engine:local"}, lambda former: former.subject == "local"),
        ({"subject": "server:main", "severity": "info"}, lambda former: former.severity == "info"),
        ({"status": "resolved"}, lambda former: True),
        ({"status": "open"}, lambda former: False),
    ],
)
def test_filters(board: Board, chosen: dict[str, str], fits: object) -> None:
    assert callable(fits)
    assert number(board.pick(**chosen), "Alerts") == len([former for former in lately() if fits(former)])


# --- lives --------------------------------------------------------------------------------------------------


def test_lives_are_listed_the_gravest_first(board: Board) -> None:
    rows = board.rows(LIVES)
    ranks = [list(SEVERITIES).index(str(row["Severity"])) for row in rows]
    assert ranks == sorted(ranks)
    assert all(
        first["Began"] > second["Began"]  # type: ignore[operator]  # of the database's own type
        for first, second in pairwise(rows)
        if first["Severity"] == second["Severity"]
    )
    (row,) = [row for row in rows if row["Alert"] == "PostgresUnreachable"]
    about = {name: row[name] for name in ("Severity", "Status", "Kind", "Name", "About", "By", "Value")}
    assert about == {
        "Severity": "critical",
        "Status": "resolved",
        "Kind": "server",
        "Name": "main",
        "About": None,
        "By": "ann",
        "Value": "30",
    }
    assert (row["Lasted"], row["Taken after"]) == (12 * 60, 4 * 60)
    assert isinstance(row["Began"], datetime)
    assert row["Began"].tzinfo, "the viewer's time zone is for Grafana to choose"
    (cost,) = [row for row in rows if row["Alert"] == "AgentCostHigh"]
    assert (cost["About"], cost["By"], cost["Taken after"]) == ("agent=full", None, None)


def test_alerts_by_day(board: Board) -> None:
    rows = board.over("now-30d").rows("Alerts that began, by day")
    totals = {name: sum(int(str(row[name])) for row in rows) for name in SEVERITIES}
    assert totals == {name: [former.severity for former in FORMER].count(name) for name in SEVERITIES}
    days = [float(str(row["time"])) for row in rows]
    assert days == sorted(set(days))
    assert {day % 86400 for day in days} == {0}


def test_what_comes_most_often(board: Board) -> None:
    first, *others = board.over("now-30d").rows(FREQUENT)
    assert {name: first[name] for name in ("Alert", "Kind", "Name", "Times", "Taken", "Median")} == {
        "Alert": "DatabaseGrowthHigh",
        "Kind": "server",
        "Name": "main",
        "Times": 3,
        "Taken": 2,
        "Median": 90 * 60,
    }
    assert (others[0]["Alert"], others[0]["Times"]) == ("ContainerDown", 2)
    assert sum(int(str(row["Times"])) for row in (first, *others)) == len(FORMER)


def test_what_is_open_for_long_does_not_depend_on_the_time(board: Board, board_now: Board) -> None:
    rows = board_now.rows(LONGEST)
    assert [row["Began"] for row in rows] == sorted(row["Began"] for row in rows)  # type: ignore[type-var]
    assert [row["Alert"] for row in board.rows(LONGEST)] == [row["Alert"] for row in rows]
    (taken,) = [row for row in rows if row["Status"] == "acknowledged"]
    assert (taken["By"], taken["Comment"]) == ("ann", "the import runs until noon")
    assert taken["Ends"] - taken["Began"] > timedelta(days=2)  # type: ignore[operator]


def test_marks_in_graphs_last_as_long_as_the_alerts(board: Board) -> None:
    (query,) = board.dashboard.annotations
    rows = board.ask(query).rows
    assert len(rows) == len(lately())
    (row,) = [row for row in rows if row["tags"] == "PostgresUnreachable,critical"]
    assert row["timeend"] - row["time"] == timedelta(minutes=12)
    assert row["text"] == "PostgresUnreachable happened: main"


# --- deliveries ---------------------------------------------------------------------------------------------


def test_deliveries_that_failed(board: Board) -> None:
    rows = board.rows(FAILED)
    assert [row["Result"] for row in rows] == list(RESULTS[1:])
    assert {row["Receiver"] for row in rows} == {"pager"}
    assert {row["Result"]: row["Status code"] for row in rows}["refused"] == 403
    assert {row["Result"]: row["Status code"] for row in rows}["timeout"] is None
    assert number(board, "Failed deliveries") == len(rows)
    retried = board.rows(RETRIED)
    assert [(row["Result"], row["Attempts"]) for row in retried] == [(result, 1) for result in RESULTS[1:]]


def test_a_notification_names_its_alerts(board_now: Board) -> None:
    """The pager refused the first that it got in the world; Alertmanager may have told it again since."""
    rows = [row for row in board_now.rows(RETRIED) if row["Alerts"]]
    assert "pager" in [row["Receiver"] for row in rows]
    names = {name for row in rows for name in str(row["Alerts"]).split(", ")}
    assert names <= set(board_now.options["alertname"])


# --- links --------------------------------------------------------------------------------------------------


def test_names_lead_to_what_is_like_them(board: Board) -> None:
    links = {link.place.rsplit(", ", 1)[1]: link.url for link in board.dashboard.panel(LIVES).data_links}
    row = {"Kind": "host", "Name": "db2:9100"}
    assert filled(links["Name"], board, row, "db2:9100").endswith("&var-subject=host%3Adb2%3A9100")
    assert filled(links["Alert"], board, row, "HostDiskFilling").endswith("&var-alertname=HostDiskFilling")
    assert "host:db2:9100" in board.options["subject"]


# --- releases, and what is rare -----------------------------------------------------------------------------


ALERT = """
INSERT INTO plimsoll.alert (
    subject_id, fingerprint, category, alertname, severity, status, title, labels, created_at,
    last_seen_at, updated_at
)
SELECT id, %(name)s, %(category)s, %(name)s, 'unknown', 'open', %(name)s, '{"queue": "it''s"}',
    now() - %(age)s, now(), now()
FROM plimsoll.subject
"""
DELIVERY = """
INSERT INTO plimsoll.delivery (receiver, webhook_id, fingerprints, result, duration_seconds, attempted_at)
VALUES ('ops', 'msg_1', ARRAY['Own', 'Rare'], %s, 1, now() - interval '1 minute' * %s)
"""


@pytest.fixture
def own(database: Database, world: Data, board: Board) -> Iterator[tuple[Board, psycopg.Connection]]:
    """A history of our own on each release, and somebody who may write to it."""
    migrated(database.server.dsn(database.name))
    admit_reader(database.server, database.name)
    history = History(database.server.dsn(database.name, READER, READER))
    now = datetime.now(UTC).timestamp() + 60
    with database.connect() as writer:
        yield Board(board.dashboard, at(Data(world.prometheus, history), now)), writer


def test_every_query_runs_on_an_empty_history(own: tuple[Board, psycopg.Connection]) -> None:
    board, _ = own
    answers = {panel.title: board.answers(panel.title) for panel in board.dashboard.panels}
    assert number(board, "Alerts") == 0
    assert [title for title, found in answers.items() for answer in found.values() if answer.rows] == [
        *("Alerts", "Open now", TO_TAKE, TO_RESOLVE, "Never taken", "Failed deliveries")
    ]


def test_an_alert_without_a_category_is_found(own: tuple[Board, psycopg.Connection]) -> None:
    board, writer = own
    writer.execute("INSERT INTO plimsoll.subject (kind, name) VALUES ('plimsoll', 'it''s \\own')")
    for name, category, days in (("Own", None, 1), ("Rare", "rare", 40)):
        writer.execute(ALERT, {"name": name, "category": category, "age": timedelta(days=days)})
    writer.execute(DELIVERY, ("failed", 3))
    writer.execute(DELIVERY, ("delivered", 1))
    board = Board(board.dashboard, board.data)
    assert board.options["category"] == ["(none)", "rare"]
    assert [row["Alert"] for row in board.rows(LIVES)] == ["Own", "Rare"]
    assert [row["Alert"] for row in board.pick(category="(none)").rows(LIVES)] == ["Own"]
    assert {row["About"] for row in board.pick(subject="plimsoll:it's \\own").rows(LIVES)} == {"queue=it's"}
    assert [row["Alert"] for row in board.rows(LONGEST)] == ["Rare", "Own"]
    (row,) = board.rows(RETRIED)
    expected = {"Result": "delivered", "Attempts": 2, "Alerts": "Own, Rare", "Id": "msg_1"}
    assert {name: row[name] for name in expected} == expected
    assert row["Took"] == pytest.approx(120, abs=30)
