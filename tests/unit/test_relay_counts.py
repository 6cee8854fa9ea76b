"""Which alerts nobody is told of: one series each, under their own labels."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from plimsoll.relay.alert import Alert
from plimsoll.relay.counts import Count, Counts
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.memory import Memory
from support import require_program

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TAKEN = Acknowledgement(NOW, "ann", "ACK! mine", "s1", NOW + timedelta(days=3))
NAME = "plimsoll_alert_suppressed"
TABLE = {
    "alertname": "TableGrowthHigh",
    "category": "storage",
    "server": "main",
    "datname": "billing",
    "schemaname": 'a "b"\n\\',
    "relname": "größe",
}
HOST = {"alertname": "HostOffline", "instance": "db1:9100", "job": "node"}

NAMES = [
    *("alertname", "server", "state", "instance", "exported_instance", "job", "severity", "override"),
    *("__a", "a-b", "a_b", "ü"),
]
LABELS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "x", "y"]))


def life(labels: Mapping[str, str], taken: Acknowledgement | None = TAKEN) -> Life:
    return Life(Alert(labels, {}, NOW), NOW, taken)


def page(*lives: Life, suppressed: frozenset[str] = frozenset()) -> bytes:
    """Write what Prometheus is shown."""
    counts = Counts(Memory())
    counts.last = Count(NOW, lives, suppressed)
    registry = CollectorRegistry()
    registry.register(counts)
    return generate_latest(registry)


def shown(*lives: Life, suppressed: frozenset[str] = frozenset()) -> list[dict[str, str]]:
    """Read the labels of each series from the page."""
    families = text_string_to_metric_families(page(*lives, suppressed=suppressed).decode())
    (family,) = [family for family in families if family.name == NAME]
    assert (family.type, {sample.value for sample in family.samples} <= {1.0}) == ("gauge", True)
    return [sample.labels for sample in family.samples]


def test_an_acknowledged_alert_has_its_own_labels() -> None:
    changing = {"severity": "high", "override": '{datname="billing"}'}
    assert shown(life({**TABLE, **changing})) == [{**TABLE, "state": "acknowledged"}]


def test_one_that_is_silenced_otherwise_or_inhibited() -> None:
    silenced = life(TABLE, None)
    hidden = frozenset({silenced.alert.identity})

    assert shown(silenced, suppressed=hidden) == [{**TABLE, "state": "suppressed"}]
    assert shown(life(TABLE), suppressed=hidden) == [{**TABLE, "state": "acknowledged"}]


def test_an_open_one_is_not_there_and_neither_is_any_before_the_first_look() -> None:
    assert shown(life(TABLE, None)) == []
    assert [family.name for family in Counts(Memory()).collect()] == ["plimsoll_history_deliveries_dropped"]


def test_it_ends_with_the_acknowledgement_and_with_the_alert() -> None:
    assert len(shown(life(TABLE), life(HOST))) == 2
    assert shown(life(TABLE, None), life(HOST)) == shown(life(HOST))


def test_what_prometheus_sets_on_every_target_has_the_name_that_it_would_give() -> None:
    own = {"alertname": "HostOffline", "exported_instance": "db1:9100", "exported_job": "node"}
    assert shown(life(HOST)) == [{**own, "state": "acknowledged"}]
    assert shown(life({**HOST, "exported_instance": "of the alert"})) == [{**own, "state": "acknowledged"}]


def test_labels_that_yield_or_that_not_every_prometheus_takes() -> None:
    labels = {"state": "active", "exported_job": "x", "__meta": "y", "a-b": "z", "größe": "1", "empty": ""}
    assert shown(life({**TABLE, **labels})) == [{**TABLE, "state": "acknowledged"}]


def test_two_that_differ_only_in_what_is_not_shown_are_one_series() -> None:
    units = [life({**HOST, "state": state}) for state in ("failed", "activating")]
    assert len({each.alert.identity for each in units}) == 2
    assert len(shown(*units)) == 1
    first, second = (life(each.alert.labels, taken) for each, taken in zip(units, (TAKEN, None), strict=True))
    both = shown(first, second, suppressed=frozenset({second.alert.identity}))
    assert sorted(labels["state"] for labels in both) == ["acknowledged", "suppressed"]
    assert shown(first, second, life(TABLE)) == shown(life(TABLE))  # one is open, and stands for both


@given(st.lists(st.tuples(LABELS, st.booleans())))
def test_no_series_is_there_twice(alerts: list[tuple[dict[str, str], bool]]) -> None:
    lives = [life(labels, TAKEN if is_taken else None) for labels, is_taken in alerts]
    unique = list({each.alert.identity: each for each in lives}.values())

    found = shown(*unique, suppressed=frozenset(each.alert.identity for each in unique))

    assert len({frozenset(labels.items()) for labels in found}) == len(found)
    assert set().union(*found) <= {"alertname", "server", "a_b", "state", "exported_instance", "exported_job"}
    assert bool(found) == bool(alerts)


async def test_promtool_accepts_labels_that_vary() -> None:
    program = await asyncio.create_subprocess_exec(
        *(require_program("promtool"), "check", "metrics"), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    text = page(life(TABLE), life(HOST), life({"alertname": "größe"}))
    assert (*await program.communicate(text), program.returncode) == (b"", b"", 0)
