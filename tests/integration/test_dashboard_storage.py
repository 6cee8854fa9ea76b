"""The storage dashboard tells the truth about the world that it is tested on."""

from __future__ import annotations

import pytest

from boards import Board, Data
from fix_dashboards import OpenBoard
from world_building import BILLING_CRITICAL, SHOP_CRITICAL
from world_parts import DEAD_SESSIONS, LIVE_SESSIONS, TABLES
from world_past import BILLING_PER_DAY, SHOP_LAST_WEEK, SHOP_YESTERDAY

pytestmark = pytest.mark.long

BANNER = "Storage alerts that fire"
ROWS, SINCE, NOW, BEFORE, GROWTH, SILENCED = "ABCDEF"
SIZE, LIVE, DEAD, GROWN, PERCENT, SHARE, TREND = "ABCDEFG"
PARTITIONS, ROOT_GROWN, ROOT_PERCENT, ROOT_TREND = "BCDE"
"""Of partitioned tables; their size comes first, too."""
CRITICAL, HIGH, WARNING = 0, 1, 2
NOT_SILENCED, ACKNOWLEDGED = 0, 1
NOT_IN_SIGHT = 1e9
TABLE = ("schemaname", "relname")
ABOUT = ("alertname", "datname", *TABLE)


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("storage")


@pytest.fixture
def shop(board: Board) -> Board:
    return board.pick(datname="shop")


def size_of(world: Data, database: str) -> float:
    return world.prometheus.instant(f'pg_database_size_bytes{{datname="{database}"}}').value()


def size_of_events(world: Data) -> float:
    """Sum up the partitions."""
    return world.prometheus.instant('sum(pg_stat_user_tables_size_bytes{relname=~"events_.*"})').value()


def test_the_banner_names_what_grew_with_its_sizes(board: Board, world: Data) -> None:
    severities = board.answer(BANNER, ROWS).by(*ABOUT)
    assert severities["DatabaseSizeCritical", "shop", "", ""] == CRITICAL
    assert severities["PostgresUnreachable", "", "", ""] == CRITICAL
    assert severities["DatabaseGrowthHigh", "shop", "", ""] == WARNING
    assert severities["TableGrowthHigh", "shop", "public", "notes"] == WARNING
    sizes = {ref: board.answer(BANNER, ref).by(*ABOUT) for ref in (NOW, BEFORE, GROWTH)}
    database = ("DatabaseGrowthHigh", "shop", "", "")
    assert sizes[NOW][database] == size_of(world, "shop")
    assert sizes[BEFORE][database] == pytest.approx(SHOP_YESTERDAY * size_of(world, "shop"), rel=0.01)
    table = ("TableGrowthHigh", "shop", "public", "notes")
    now = world.prometheus.instant('pg_stat_user_tables_size_bytes{relname="notes"}').value()
    assert sizes[NOW][table] == now
    partitioned = ("PartitionedTableGrowthHigh", "shop", "public", "events")
    assert sizes[NOW][partitioned] == size_of_events(world)
    for about in (database, table, partitioned):
        assert sizes[GROWTH][about] == pytest.approx(100 / SHOP_YESTERDAY - 100, rel=0.02)


def test_the_banner_says_since_when_and_who_is_told(board: Board, world: Data) -> None:
    alerts = board.answer(BANNER, ROWS).by(*ABOUT).keys()
    since, told = (board.answer(BANNER, ref).by(*ABOUT) for ref in (SINCE, SILENCED))
    assert since.keys() == told.keys() == alerts
    assert all(0 < world.now - at / 1000 < 3600 for at in since.values())
    assert told.pop(("DatabaseGrowthHigh", "shop", "", "")) == ACKNOWLEDGED
    assert set(told.values()) == {NOT_SILENCED}


def test_the_banner_is_the_same_without_a_relay(board: Board) -> None:
    """Only who was told is not known then."""
    query = board.dashboard.panel(BANNER).queries[ord(SILENCED) - ord("A")]
    expression = board.fill(query)
    for metric in ("alert:plimsoll_alert_suppressed:max", "plimsoll_alerts_unacknowledged"):
        assert metric in expression
        expression = expression.replace(metric, "nothing_of_the_kind")
    told = board.data.prometheus.instant(expression).by(*ABOUT)
    assert told.keys() == board.answer(BANNER, ROWS).by(*ABOUT).keys()
    assert set(told.values()) == {-1}


def test_alerts_are_counted(board: Board) -> None:
    severities = list(board.answer(BANNER, ROWS).by(*ABOUT).values())
    assert board.value("Critical alerts") == severities.count(CRITICAL) > 0
    assert board.value("Other alerts") == len(severities) - severities.count(CRITICAL) > 0
    assert board.pick(server="main", datname="billing").value("Critical alerts") == 0


def test_what_is_about_a_server_is_told_whichever_of_its_databases_is_chosen(board: Board) -> None:
    chosen = board.pick(datname="shop")
    assert ("PostgresUnreachable", "", "", "") in chosen.answer(BANNER, ROWS).by(*ABOUT)


def test_where_nothing_is_measured_nothing_is_said_to_be_well(board: Board) -> None:
    """What would be 0 with databases is unknown without any, and so is how long they will do."""
    nowhere = board.pick(server="spare", datname="shop")
    assert nowhere.value("Critical alerts") == 1
    for title in ("Other alerts", "Total size", "Time until critical", "Tables not measured"):
        assert nowhere.answer(title).is_empty


def test_growth_and_what_is_left(board: Board, shop: Board, world: Data) -> None:
    size = size_of(world, "shop")
    assert shop.value("Total size") == size
    assert board.value("Total size") == sum(size_of(world, name) for name in ("shop", "billing", "postgres"))
    assert shop.value("Growth in 24 hours") == pytest.approx((1 - SHOP_YESTERDAY) * size, rel=0.02)
    assert shop.value("Growth in 7 days") == pytest.approx((1 - SHOP_LAST_WEEK) * size, rel=0.02)
    assert shop.value("Time until critical") == 0
    hours = (BILLING_CRITICAL - 1) / BILLING_PER_DAY * 24
    assert board.pick(datname="billing").value("Time until critical") == pytest.approx(hours, rel=0.1)
    assert board.pick(datname="postgres").value("Time until critical") == NOT_IN_SIGHT


def test_tables(shop: Board, world: Data) -> None:
    answers = {ref: shop.answer("Tables", ref).by(*TABLE) for ref in (SIZE, LIVE, DEAD, GROWN, SHARE, TREND)}
    assert answers[SIZE].keys() == TABLES
    # The newest samples of the world are of the last second.
    assert answers[TREND] == answers[SIZE]
    sessions = ("public", "sessions")
    assert (answers[LIVE][sessions], answers[DEAD][sessions]) == (LIVE_SESSIONS, DEAD_SESSIONS)
    for table, size in answers[SIZE].items():
        assert answers[SHARE][table] == pytest.approx(100 * size / size_of(world, "shop"))
    orders = ("public", "orders")
    assert answers[GROWN][orders] == pytest.approx((1 - SHOP_YESTERDAY) * answers[SIZE][orders], rel=0.02)


def test_partitioned_tables(shop: Board, world: Data) -> None:
    answers = {ref: answer.by(*TABLE) for ref, answer in shop.answers("Partitioned tables").items()}
    size = size_of_events(world)
    events = ("public", "events")
    assert {frozenset(each) for each in answers.values()} == {frozenset({events})}
    assert [answers[ref][events] for ref in (SIZE, PARTITIONS, ROOT_TREND)] == [size, 3, size]
    assert answers[ROOT_GROWN][events] == pytest.approx((1 - SHOP_YESTERDAY) * size, rel=0.05)
    assert shop.answer("Partitioned tables over time").by(*TABLE) == {events: size}
    growth = shop.answers(
        "Growth of partitioned tables within 24 hours, and the thresholds of PartitionedTableGrowthHigh"
    )
    assert growth["A"].by(*TABLE) == answers[ROOT_PERCENT]
    assert growth["B"].by("override") == {("",): 20}


def test_tables_and_the_others_make_up_the_databases(board: Board, world: Data) -> None:
    tables, others, rest = (
        world.prometheus.instant(f"sum by (datname) ({metric})").by("datname")
        for metric in (
            *("pg_stat_user_tables_size_bytes", "pg_other_tables_size_bytes"),
            "pg_unattributed_size_bytes",
        )
    )
    sizes = board.answer("Databases", "A").by("datname")
    # In the database shop a table is locked from the beginning, so nobody knows what belongs to none.
    assert sizes["billing",] == sum(each["billing",] for each in (tables, others, rest))


def test_the_largest_tables_and_the_rest_make_up_the_databases(board: Board, world: Data) -> None:
    tables, rest = board.answers("Size over 90 days, by the tables that are largest now").values()
    assert 0 < len(tables.series) <= 10
    total = sum(series.last for series in tables.series) + rest.value()
    assert total == board.value("Total size")
    oldest = min(at for series in tables.series for at, _ in series.points)
    assert world.now - oldest > 7 * 86400


def test_thresholds(board: Board, world: Data) -> None:
    sizes = "Databases, and the critical size of those past half of it"
    critical = board.answer(sizes, "B").by("datname")
    parts = {"shop": SHOP_CRITICAL, "billing": BILLING_CRITICAL}
    assert critical == {
        (name,): pytest.approx(part * size_of(world, name), rel=0.05) for name, part in parts.items()
    }
    growth = "Growth within 24 hours, and the thresholds of DatabaseGrowthHigh"
    assert board.answer(growth, "B").by("override") == {("",): 20}


def test_what_could_not_be_measured(board: Board, shop: Board) -> None:
    assert board.value("Tables not measured") == 1
    assert board.answer("Tables that could not be measured").by("datname", "reason") == {
        ("shop", "locked"): 1
    }
    assert board.pick(datname="billing").value("Tables not measured") == 0
    assert shop.pick(schemaname="archive").answer("Tables", SIZE).by(*TABLE).keys() == {("archive", "orders")}


def test_an_organization_narrows_everything(board: Board) -> None:
    assert board.options["organization"] == ["acme", "globex"]
    globex = board.pick(organization="globex")
    assert globex.options["server"] == ["spare"]
    assert globex.answer(BANNER, ROWS).by("alertname", "server").keys() == {("PostgresUnreachable", "spare")}
    assert globex.answer("Total size").is_empty
