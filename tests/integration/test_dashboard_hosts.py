"""The dashboard of the hosts tells the truth about the world that it is tested on."""

from __future__ import annotations

import pytest

from boards import Board, Data
from fix_dashboards import OpenBoard
from world_parts import FAILED_UNIT, FILLING, OFFLINE, THIS
from world_past import DISK_FREE, DISK_PER_HOUR

pytestmark = pytest.mark.long

BANNER, HOSTS, FILE_SYSTEMS, PROBES = "Host alerts that fire", "Hosts", "File systems", "Probes"
OUTAGES = "Offline hosts and failing probes"
SEVERITY, SINCE, PERCENT, SILENCED = "ABCD"
CRITICAL, HIGH, WARNING = 0, 1, 2
SRV = {"device": "/dev/sdb1", "mountpoint": "/srv", "instance": FILLING}
HOURS_LEFT = DISK_FREE / DISK_PER_HOUR


@pytest.fixture
def board(open_board: OpenBoard) -> Board:
    return open_board("hosts")


@pytest.fixture
def failing(world: Data) -> str:
    """The service whose probe fails."""
    (found,) = world.prometheus.instant("probe:probe_success:max == 0").samples
    return found.labels["instance"]


def test_the_banner_names_what_is_wrong_with_which_host(board: Board, failing: str) -> None:
    assert board.answer(BANNER, SEVERITY).by("alertname", "instance", "mountpoint", "name", "job") == {
        ("HostOffline", OFFLINE, "", "", ""): CRITICAL,
        ("ProbeFailing", failing, "", "", "http"): CRITICAL,
        ("HostDiskFilling", FILLING, "/srv", "", ""): HIGH,
        ("HostServiceFailed", THIS, "", FAILED_UNIT, ""): WARNING,
    }
    assert board.answer(BANNER, PERCENT).by("alertname") == {("HostDiskFilling",): 80}
    assert board.value("Critical alerts") == 2
    assert board.value("Other alerts") == 2


def test_the_banner_says_since_when_and_that_everybody_is_told(board: Board, world: Data) -> None:
    since, silenced = (board.answer(BANNER, ref).by("alertname") for ref in (SINCE, SILENCED))
    assert since.keys() == silenced.keys()
    assert all(0 < world.now - at / 1000 < 3600 for at in since.values())
    assert set(silenced.values()) == {0}


def test_what_is_bad_is_counted(board: Board) -> None:
    assert board.value("Hosts offline") == 1
    assert board.value("Failed services") == 1
    assert board.value("Failing probes") == 1
    high = board.value("Disk used", "B")
    used = board.answer(FILE_SYSTEMS, "A").by("instance", "device", "mountpoint").values()
    assert board.value("File systems getting full") == len([each for each in used if each > high])


def test_zero_is_said_where_all_is_well_and_nothing_where_nothing_is_known(board: Board) -> None:
    filling = board.pick(instance=FILLING)
    assert filling.value("Hosts offline") == 0
    assert filling.value("File systems getting full") == 0
    assert filling.answer("Failed services").is_empty  # its node_exporter has no --collector.systemd
    assert filling.answer("Failing probes").is_empty


def test_the_table_of_hosts_has_each_with_its_worst(board: Board) -> None:
    up, cpu, memory, disk, hours, failed = (board.answer(HOSTS, ref).by("instance") for ref in "ABCDEF")
    assert up == {(THIS,): 1, (FILLING,): 1, (OFFLINE,): 0}
    assert 0 <= cpu[THIS,] < 100.1
    assert 0 < memory[THIS,] < 100
    assert disk[FILLING,] == 80
    assert hours[FILLING,] == pytest.approx(HOURS_LEFT, rel=0.05)
    assert failed == {(THIS,): 1}


def test_file_systems_have_what_is_left_of_them(board: Board) -> None:
    used, free, hours, inodes, read_only = (board.value(FILE_SYSTEMS, ref, **SRV) for ref in "ABCDE")
    assert (used, free, inodes, read_only) == (80, DISK_FREE, 60, 0)
    assert hours == pytest.approx(HOURS_LEFT, rel=0.05)


def test_graphs_have_the_thresholds_of_the_alerts(board: Board) -> None:
    assert board.value("Disk used", "A", **SRV) == 80
    assert board.value("Disk used", "B") == 85
    assert board.value("Disk used", "C") == 95
    assert board.value("Time until full", "A", **SRV) == pytest.approx(HOURS_LEFT, rel=0.05)
    assert board.value("Time until full", "B") == 24


def test_units_and_probes_are_listed(board: Board, failing: str) -> None:
    assert board.answer("Units that failed").by("instance", "name") == {(THIS, FAILED_UNIT): 1}
    succeeded, took, status = (board.answer(PROBES, ref).by("instance", "job") for ref in "ABC")
    assert succeeded.pop((failing, "http")) == 0
    ((service, success),) = succeeded.items()
    assert success == 1
    assert status == {service: 200}
    assert 0 < took[service] < 10


def test_outages_are_those_of_what_was_down(board: Board, failing: str) -> None:
    assert board.value(OUTAGES, "A") == board.value(OUTAGES, "B") == 0
    assert board.answer(OUTAGES, "C").by("instance") == {(OFFLINE,): 0}
    assert board.answer(OUTAGES, "D").by("instance", "job") == {(failing, "http"): 0}


def test_former_alerts_are_marked(board: Board, world: Data) -> None:
    (alerts,) = board.dashboard.annotations
    (offline,) = [
        series.points
        for series in board.ask(alerts).series
        if series.labels["alertname"] == "HostOffline" and series.points[0][0] < world.now - 3600
    ]
    assert world.now - offline[0][0] == pytest.approx(12 * 3600, abs=120)


def test_one_host_or_service_can_be_chosen(board: Board, failing: str) -> None:
    assert {THIS, FILLING, OFFLINE, failing} < set(board.options["instance"])
    for chosen, alert in ((OFFLINE, "HostOffline"), (failing, "ProbeFailing")):
        only = board.pick(instance=chosen)
        assert only.answer(BANNER, SEVERITY).by("alertname", "instance").keys() == {(alert, chosen)}
    assert board.pick(instance=OFFLINE).answer(HOSTS, "A").by("instance") == {(OFFLINE,): 0}
