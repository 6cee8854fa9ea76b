"""Which `webhook-id` a notification gets by what was delivered before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.relay.forwarding import ids
from plimsoll.relay.forwarding.ids import Ids, Origin, origin
from plimsoll.relay.notification import read

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATE = ids._COPIES
REPEAT = 12 * 3600.0


def told(
    *firing: str,
    resolved: Sequence[str] = (),
    group: str = "{}",
    name: str = "ops",
    after: timedelta = timedelta(),
    by: str = "http://alertmanager-1:9093",
    remote: str = "10.0.0.1",
) -> Origin:
    alerts: list[dict[str, Any]] = [
        {
            "status": "firing" if fingerprint in firing else "resolved",
            "labels": {"datname": fingerprint},
            "startsAt": START.isoformat(),
            "endsAt": (START + LATE).isoformat(),
            "fingerprint": fingerprint,
        }
        for fingerprint in (*firing, *resolved)
    ]
    payload = {"receiver": name, "groupKey": group, "alerts": alerts, "externalURL": by}
    return origin(name, read(json.dumps(payload).encode()), REPEAT, remote, START + after)


def delivered(known: Ids, *origins: Origin) -> list[str]:
    """Deliver one after the other."""
    found = []
    for each in origins:
        found.append(known.choose(each))
        known.delivered(each, found[-1])
    return found


def test_what_fires_again_with_its_former_start_is_news_each_time() -> None:
    fires, resolves = told("a"), told(resolved=["a"])

    found = delivered(Ids(), fires, resolves, fires, resolves, fires)

    assert len(set(found)) == 5
    assert found[:2] == [fires.computed, resolves.computed]


def test_a_group_that_is_what_it_was_is_news() -> None:
    whole = told("a", "b")

    assert len(set(delivered(Ids(), whole, told("b", "c"), told("b", resolved=["c"]), whole))) == 4


def test_what_was_not_delivered_keeps_its_id() -> None:
    known = Ids()
    fires, resolves = told("a"), told(resolved=["a"])
    assert known.choose(fires) == known.choose(fires) == fires.computed
    delivered(known, fires, resolves)

    news = known.choose(fires)

    assert known.choose(fires) == news != fires.computed
    known.delivered(fires, news)
    assert known.choose(fires) == news  # a copy


def test_others_change_nothing() -> None:
    known = Ids()
    fires = told("a")
    delivered(known, fires, told("a", group="other"), told("a", name="dba"), told("b", name="dba"))

    assert known.choose(fires) == fires.computed


def test_another_alertmanagers_copy_may_be_late() -> None:
    known = Ids()
    delivered(known, told("a"), told(resolved=["a"]))

    for copy in (told("a", by="http://alertmanager-2:9093"), told("a", remote="10.0.0.2")):
        assert known.choose(copy._replace(at=START + 0.9 * LATE)) == copy.computed
        assert known.choose(copy._replace(at=START + LATE)) != copy.computed
    assert known.choose(told("a", after=timedelta(seconds=4))) != told("a").computed


def test_a_late_copy_does_not_hide_news() -> None:
    known = Ids()
    copy = told("a", by="http://alertmanager-2:9093", after=0.5 * LATE)
    ids_of_copies = delivered(known, told("a"), told(resolved=["a"]), copy)

    assert known.choose(told("a", after=10 * LATE)) not in ids_of_copies


def test_without_memory_it_is_as_before() -> None:
    fires = told("a")
    delivered(Ids(), fires, told(resolved=["a"]))

    assert Ids().choose(fires) == fires.computed


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), max_size=30))
def test_every_change_has_an_id_of_its_own_and_its_retries_share_it(
    sent: list[tuple[str, int]],
) -> None:
    known = Ids()
    found: list[str] = []
    changes = [next(same) for _, same in itertools.groupby(sent, key=lambda each: each[0])]
    for fingerprint, failures in changes:
        each = told(fingerprint)
        tried = {known.choose(each) for _ in range(failures + 1)}
        known.delivered(each, known.choose(each))
        assert {known.choose(each)} == tried
        found += tried

    assert len(set(found)) == len(changes)


def test_the_oldest_are_forgotten() -> None:
    known = Ids()
    first, *others = (
        Origin(f"msg_{number}", number.to_bytes(32, "big"), 0, START) for number in range(ids._MOST + 1)
    )
    delivered(known, first, *others)

    assert len(known._given) == len(known._last) == ids._MOST
    assert first.computed not in known._given
    assert delivered(known, others[0]) == [others[0].computed]
