"""The page of one table tells the truth about the world that it is tested on."""

from __future__ import annotations

import pytest

from boards import Board, Data
from clicking import filled, form
from fix_dashboards import OpenBoard
from world_parts import DEAD_SESSIONS, LIVE_SESSIONS
from world_past import SHOP_LAST_WEEK, SHOP_YESTERDAY

pytestmark = pytest.mark.long

BANNER = "Alerts about this table, its database and its server"
RANK, SINCE, NOW, GROWTH, SILENCED = "ABCDE"
PARTS = "Size, by what takes it"
HEAP, TOAST, INDEXES = "ABC"
PARTITIONS = "Partitions of the same table"
SIZE, GROWN, LIVE, DEAD, TREND = "ABCDE"
ABOUT = ("alertname", "datname", "relname")
OF_DATABASE = {("DatabaseGrowthHigh", "shop", ""), ("DatabaseSizeCritical", "shop", "")}


@pytest.fixture
def shop(open_board: OpenBoard) -> Board:
    return open_board("table").pick(server="main", datname="shop", schemaname="public")


@pytest.fixture
def orders(shop: Board) -> Board:
    return shop.pick(relname="orders")


def measured(world: Data, metric: str, table: str) -> float:
    labels = f'datname="shop",schemaname="public",relname="{table}"'
    return world.prometheus.instant(f"pg_stat_user_tables_{metric}{{{labels}}}").value()


def test_variables_lead_to_one_table(shop: Board) -> None:
    assert shop.options["schemaname"] == ["archive", "public"]
    assert "orders" in shop.options["relname"]
    assert shop.pick(schemaname="archive").options["relname"] == ["orders"]


def test_size_and_growth(orders: Board, world: Data) -> None:
    size = measured(world, "size_bytes", "orders")
    assert orders.value("Size") == orders.value("Total size over 90 days") == size
    for span, before in (("24 hours", SHOP_YESTERDAY), ("7 days", SHOP_LAST_WEEK)):
        assert orders.value(f"Growth in {span}") == pytest.approx((1 - before) * size, rel=0.02)
    assert orders.value("Growth within 24 hours") == orders.value("Growth in 24 hours")
    database = world.prometheus.instant('pg_database_size_bytes{datname="shop"}').value()
    assert orders.value("Share of its database") == pytest.approx(100 * size / database)


def test_another_schema_has_a_table_of_its_own(shop: Board, orders: Board) -> None:
    archived = shop.pick(schemaname="archive", relname="orders")
    assert 0 < archived.value("Size") < orders.value("Size")


@pytest.mark.parametrize("table", ["orders", "notes", "sessions"])
def test_parts_make_up_the_size(table: str, shop: Board, world: Data) -> None:
    board = shop.pick(relname=table)
    parts = {ref: answer.value() for ref, answer in board.answers(PARTS).items()}
    assert sum(parts.values()) == board.value("Size")
    assert parts[TOAST] == measured(world, "toast_size_bytes", table)
    assert parts[INDEXES] == measured(world, "index_size_bytes", table) > 0


def test_what_is_long_is_in_toast(shop: Board) -> None:
    notes = {ref: answer.value() for ref, answer in shop.pick(relname="notes").answers(PARTS).items()}
    assert notes[TOAST] > 10 * notes[HEAP]


def test_dead_rows(shop: Board) -> None:
    sessions = shop.pick(relname="sessions")
    rows = sessions.answers("Rows over time")
    assert (rows["A"].value(), rows["B"].value()) == (LIVE_SESSIONS, DEAD_SESSIONS)
    assert sessions.value("Rows") == LIVE_SESSIONS
    share = 100 * DEAD_SESSIONS / (LIVE_SESSIONS + DEAD_SESSIONS)
    assert sessions.value("Dead rows") == sessions.value("Dead rows over time, of all") == share
    assert sessions.value("Bytes for each row") == sessions.value("Size") / LIVE_SESSIONS


def test_alerts_of_the_table_and_of_what_it_is_in(orders: Board, shop: Board, world: Data) -> None:
    alerts = orders.answer(BANNER, RANK).by(*ABOUT)
    own = ("TableGrowthHigh", "shop", "orders")
    assert alerts.keys() == {own, *OF_DATABASE}
    assert shop.pick(relname="customers").answer(BANNER, RANK).by(*ABOUT).keys() == OF_DATABASE
    since, now, growth, silenced = (
        orders.answer(BANNER, ref).by(*ABOUT) for ref in (SINCE, NOW, GROWTH, SILENCED)
    )
    assert since.keys() == now.keys() == growth.keys() == silenced.keys() == alerts.keys()
    assert now[own] == orders.value("Size")
    assert now["DatabaseGrowthHigh", "shop", ""] > now[own]
    assert growth[own] == pytest.approx(100 / SHOP_YESTERDAY - 100, rel=0.02)
    assert silenced[own] == 0
    assert silenced["DatabaseGrowthHigh", "shop", ""] == 1
    assert {series.labels["alertname"] for series in orders.ask(orders.dashboard.annotations[0]).series} == {
        alert for alert, *_ in alerts
    }


@pytest.mark.parametrize("table", ["orders", "customers"])
def test_dismiss_silences_one_alert(table: str, shop: Board) -> None:
    """Even where no alert is about a table, and so no column has its name."""
    board = shop.pick(relname=table)
    (link,) = [each for each in board.dashboard.panel(BANNER).links if "silences/new" in each.url]
    alerts = [sample.labels for sample in board.answer(BANNER, RANK).samples]
    for alert in alerts:
        asked = form(filled(link.url, board, {}, alert["dismiss"]))
        assert asked.comment == "ACK! "
        assert [other for other in alerts if asked.holds_for(other)] == [alert]
        assert asked.holds_for({**alert, "relname": table}) is ("relname" in alert)


def test_growth_stands_beside_its_threshold(orders: Board) -> None:
    answers = orders.answers("Growth within 24 hours in percent, and the thresholds of TableGrowthHigh")
    assert answers["A"].value() == pytest.approx(100 / SHOP_YESTERDAY - 100, rel=0.02)
    assert answers["B"].by("override") == {("",): 20}


def test_partitions_are_known_by_their_names(shop: Board, world: Data) -> None:
    names = {(f"events_2026_{month}",) for month in ("09", "10", "11")}
    board = shop.pick(relname="events_2026_10")
    assert board.options["family"] == ["events"]
    found = {ref: answer.by("relname") for ref, answer in board.answers(PARTITIONS).items()}
    assert {frozenset(each) for each in found.values()} == {frozenset(names)}
    assert sum(found[LIVE].values()) == 9000
    assert found[SIZE] == found[TREND]
    assert found[SIZE]["events_2026_10",] == measured(world, "size_bytes", "events_2026_10")
    together = board.answers("All partitions together")
    assert together["A"].by("relname") == found[SIZE]
    assert together["B"].value() == sum(found[SIZE].values())
    growth = board.answers("Growth within 24 hours in percent, and the thresholds of TableGrowthHigh")
    assert growth["C"].value() == pytest.approx(100 / SHOP_YESTERDAY - 100, rel=0.05)
    assert growth["D"].by("override") == {("",): 20}


def test_a_partitioned_table_is_what_its_partitions_are(shop: Board, world: Data) -> None:
    assert "events" in shop.options["relname"]
    board = shop.pick(relname="events")
    sizes = board.answer(PARTITIONS, SIZE).by("relname")
    assert sizes.keys() == {(f"events_2026_{month}",) for month in ("09", "10", "11")}
    assert board.value("Size") == board.value("Total size over 90 days") == sum(sizes.values())
    assert board.value("Growth in 24 hours") == pytest.approx(
        (1 - SHOP_YESTERDAY) * board.value("Size"), rel=0.05
    )
    own = ("PartitionedTableGrowthHigh", "shop", "events")
    assert board.answer(BANNER, NOW).by(*ABOUT)[own] == board.value("Size")
    assert board.answer(PARTS, HEAP).is_empty


def test_what_is_no_partition_has_none(orders: Board) -> None:
    assert orders.options["family"] == []
    assert orders.answer(PARTITIONS, SIZE).is_empty


def test_what_could_not_be_measured(orders: Board, shop: Board) -> None:
    unmeasured = "Tables of its database that could not be measured"
    assert orders.answer(unmeasured).by("reason") == {("locked",): 1}
    assert shop.pick(datname="billing").answer(unmeasured).is_empty
    assert orders.value("Does its server answer?") == 1
    assert 0 <= orders.value("How old the oldest size of its database is", "A") < 60
