"""Acknowledgements, from beginning to end: real Prometheus, Alertmanager, relay and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fix_postgres import fresh_database
from plimsoll.demo.postgres import PostgresServer
from relaying import Rule
from serving import Serving
from support import require_program, said_by
from taking import PERIOD, Scene, moment, scene, wait

RULES = (
    Rule("Silenced", "low"),
    Rule("ByAmtool", "info"),
    Rule("ByPage", "info"),
    Rule("Twice", "critical"),
    Rule("Undone", "high"),
    Rule("Limited", "high"),
)
pytestmark = pytest.mark.long

ACKNOWLEDGED = (
    *("acknowledged_at", "acknowledged_by", "acknowledged_comment"),
    *("acknowledged_until", "silence_id"),
)


@pytest.fixture(scope="module")
def running(newest_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("acknowledgement")
    for database in fresh_database(newest_postgres):
        history = newest_postgres.dsn(database.name)
        rules = (Rule("Taken", "warning"), *RULES)
        with scene(directory, history, *rules, hurried="Undone|Limited") as started:
            yield started


def acknowledgements(running: Scene, alert: str) -> tuple[float | None, float | None]:
    """Give when an acknowledgement began and when it ends, as the relay's page says."""
    page = running.relay.scrape()
    start, limit = (f"plimsoll_acknowledgement_{which}_timestamp_seconds" for which in ("start", "limit"))
    return page.get(start, alert=alert), page.get(limit, alert=alert)


def suppressed(running: Scene, alert: str) -> list[dict[str, str]]:
    """Give the other labels of what the relay's page says of an alert that nobody is told of."""
    found = running.relay.scrape().all("plimsoll_alert_suppressed", alertname=alert)
    return [dict(labels) for labels in found]


def shows_what_is_open(running: Scene) -> bool:
    """Say whether the bell's numbers are those of the history."""
    page = running.relay.scrape()
    count = page.get("plimsoll_alerts_unacknowledged")
    oldest = page.get("plimsoll_alerts_oldest_unacknowledged_timestamp_seconds")
    since = running.open_since()
    return count == len(since) and oldest == (pytest.approx(since[0], abs=0.001) if since else None)


def shows_silences(running: Scene) -> bool:
    """Say whether the silences are counted as Alertmanager lists them."""
    page, kinds = running.relay.scrape(), running.kinds()
    return all(
        page.get("plimsoll_silences", kind=kind) == kinds[kind] for kind in ("acknowledgement", "other")
    )


def test_taken_prolonged_judged_otherwise_and_resolved(running: Scene) -> None:
    running.fire("Taken")
    row = running.becomes("Taken", "open")
    wait(lambda: running.counts("warning") == {"open": 1, "acknowledged": 0, "suppressed": 0})
    assert row["created_at"].timestamp() in running.open_since()
    wait(lambda: shows_what_is_open(running))
    assert suppressed(running, "Taken") == []
    assert [row[column] for column in ACKNOWLEDGED] == [None] * 5

    running.ack("Taken", "--by=ann", "--comment=on it")

    taken = running.becomes("Taken", "acknowledged", acknowledged_by="ann", acknowledged_comment="on it")
    silence = running.silence("Taken")
    assert taken["silence_id"] == silence["id"]
    assert taken["acknowledged_at"] == moment(silence["startsAt"])
    wait(lambda: running.counts("warning") == {"open": 0, "acknowledged": 1, "suppressed": 0})
    wait(lambda: shows_what_is_open(running))
    wait(lambda: shows_silences(running))
    assert running.kinds()["acknowledgement"] == 1
    times = (taken["acknowledged_at"].timestamp(), taken["acknowledged_until"].timestamp())
    assert acknowledgements(running, "Taken") == pytest.approx(times, abs=0.001)
    shown = {"server": "main", "category": "storage", "state": "acknowledged"}
    assert suppressed(running, "Taken") == [shown]

    running.rule(Rule("Taken", "critical"), *RULES)

    running.becomes("Taken", "acknowledged", severity="critical", acknowledged_by="ann")
    wait(
        lambda: (
            running.counts("critical")["acknowledged"] == 1 and not any(running.counts("warning").values())
        )
    )
    assert suppressed(running, "Taken") == [shown], "it is the same alert"
    running.prolonged(silence, 3)
    assert moment(running.silence("Taken")["endsAt"]) - moment(silence["startsAt"]) > 2 * PERIOD

    running.resolve("Taken")

    ended = running.becomes("Taken", "resolved")
    last = running.ends("Taken")
    assert moment(last["endsAt"]) - moment(last["updatedAt"]) < timedelta(seconds=0.5), "it did not lapse"
    assert ended["created_at"] == row["created_at"] < ended["acknowledged_at"] < ended["resolved_at"]
    assert ended["resolved_at"] <= moment(last["endsAt"])
    kept = ("id", "severity", *ACKNOWLEDGED)
    assert [ended[column] for column in kept] == [
        row["id"],
        "critical",
        *(taken[each] for each in ACKNOWLEDGED),
    ]
    assert ended["auto_resolved"] is True
    wait(lambda: not any(running.counts("critical").values()))
    assert acknowledgements(running, "Taken") == (None, None)
    assert suppressed(running, "Taken") == []
    assert len(running.ops.told("Taken", "firing")) == 1
    assert running.ops.told("Taken", "resolved") == []

    running.fire("Taken", override="another")

    wait(lambda: [row["status"] for row in running.rows("Taken")] == ["resolved", "open"])
    assert running.rows("Taken")[0] == ended
    assert running.ops.told("Taken", "resolved") == []
    assert [each["status"]["state"] for each in running.silences("Taken")] == ["expired"]
    running.resolve("Taken")


def test_silences_of_others(running: Scene) -> None:
    running.fire("Silenced", "ByAmtool", "ByPage")
    amtool = require_program("amtool"), f"--alertmanager.url={running.inbox.url}", "silence", "add"
    said_by(*amtool, "-a", "bob", "-c", "planned", "-d", "5m", "alertname=Silenced")
    said_by(*amtool, "-a", "bob", "-c", "ACK! looks into it", "-d", "6s", "alertname=ByAmtool")
    running.post_silence(of_the_page(running.labels("ByPage"), "cid", "ACK! me, too"))
    plain, bobs, cids = map(running.silence, ("Silenced", "ByAmtool", "ByPage"))

    is_taken(running, bobs, "ByAmtool", "looks into it")
    is_taken(running, cids, "ByPage", "me, too")
    wait(lambda: running.counts("low") == {"open": 0, "acknowledged": 0, "suppressed": 1})
    assert [labels["state"] for labels in suppressed(running, "Silenced")] == ["suppressed"]
    wait(lambda: running.counts("info") == {"open": 0, "acknowledged": 2, "suppressed": 0})
    wait(lambda: shows_silences(running))
    assert running.kinds() == {"acknowledgement": 2, "other": 1}
    for made in (bobs, cids):
        running.prolonged(made, 1)
    assert running.becomes("Silenced", "open")["acknowledged_by"] is None

    running.resolve("Silenced", "ByAmtool", "ByPage")

    for name, by in {"Silenced": None, "ByAmtool": "bob", "ByPage": "cid"}.items():
        ended = running.becomes(name, "resolved", acknowledged_by=by)
        assert ended["auto_resolved"] is True
        assert ended["created_at"] <= ended["resolved_at"]
    for name in ("ByAmtool", "ByPage"):
        last = running.ends(name)
        assert moment(last["endsAt"]) - moment(last["updatedAt"]) > PERIOD / 2, "it lapsed by itself"
    wait(lambda: all(running.ops.told(name, "resolved") for name in ("ByAmtool", "ByPage")))
    assert running.silence("Silenced") == plain
    assert running.ops.told("Silenced", "resolved") == []


def is_taken(running: Scene, silence: Mapping[str, Any], alert: str, comment: str) -> None:
    """Wait until the row and the relay's page say by which silence an alert is acknowledged."""
    row = running.becomes(alert, "acknowledged", silence_id=silence["id"])
    assert (row["acknowledged_by"], row["acknowledged_comment"]) == (silence["createdBy"], comment)
    begun = moment(silence["startsAt"])
    assert (row["acknowledged_at"], row["acknowledged_until"]) == (begun, begun + timedelta(hours=1))
    times = (begun.timestamp(), begun.timestamp() + 3600)
    assert acknowledgements(running, alert) == pytest.approx(times, abs=0.001)


def of_the_page(labels: Mapping[str, str], by: str, comment: str) -> dict[str, Any]:
    """Give what Alertmanager's own page posts when somebody clicks on Silence at an alert."""
    now, sort = datetime.now(UTC), {"isRegex": False, "isEqual": True}
    return {
        "matchers": [{"name": name, "value": value, **sort} for name, value in labels.items()],
        "startsAt": now.isoformat(timespec="milliseconds"),
        "endsAt": (now + PERIOD).isoformat(timespec="milliseconds"),
        "createdBy": by,
        "comment": comment,
        "id": None,
    }


COUNTED = (
    *("plimsoll_alerts", "plimsoll_alerts_unacknowledged", "plimsoll_alert_suppressed", "plimsoll_silences"),
    *("plimsoll_alerts_oldest_unacknowledged_timestamp_seconds",),
    *("plimsoll_acknowledgement_start_timestamp_seconds", "plimsoll_acknowledgement_limit_timestamp_seconds"),
)


def test_two_relays_do_it_once(running: Scene) -> None:
    running.fire("Twice")
    with running.another_relay() as another:
        relays = (running.relay, another)
        running.ack("Twice", "--by=ann")
        running.becomes("Twice", "acknowledged", acknowledged_by="ann")
        wait(lambda: all(running.counts("critical", relay)["acknowledged"] == 1 for relay in relays))
        running.prolonged(running.silence("Twice"), 2)
        wait(lambda: counted(running.relay) == counted(another))
        assert counted(another)["plimsoll_acknowledgement_limit_timestamp_seconds"]

        running.resolve("Twice")

        running.becomes("Twice", "resolved", acknowledged_by="ann")
        running.ends("Twice")
        wait(lambda: all(not any(running.counts("critical", relay).values()) for relay in relays))
        wait(lambda: counted(running.relay) == counted(another))
        wait(lambda: running.ops.told("Twice", "resolved"))

        running.fire("Twice")  # waits until that has been told

        assert running.silence("Twice")["status"]["state"] == "expired"
        running.resolve("Twice")


def counted(relay: Serving) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Give everything that two relays have to agree about."""
    page = relay.scrape()
    return {name: page.all(name) for name in COUNTED}


def test_undone(running: Scene) -> None:
    running.fire("Undone")
    running.ack("Undone", "--by=ann")
    taken = running.becomes("Undone", "acknowledged")

    running.ack("Undone", "--undo")

    row = running.becomes("Undone", "open")
    assert row["id"] == taken["id"]
    assert [row[column] for column in ACKNOWLEDGED] == [None] * 5
    wait(lambda: running.counts("high") == {"open": 1, "acknowledged": 0, "suppressed": 0})
    is_paged_again(running, "Undone", moment(running.ends("Undone")["endsAt"]))
    running.resolve("Undone")


def test_the_limit(running: Scene) -> None:
    running.fire("Limited")
    running.ack("Limited", "--by=ann", "--for=5s")
    taken = running.becomes("Limited", "acknowledged")

    row = running.becomes("Limited", "open")

    assert row["id"] == taken["id"]
    assert [row[column] for column in ACKNOWLEDGED] == [None] * 5
    wait(lambda: running.counts("high")["acknowledged"] == 0 < running.counts("high")["open"])
    assert acknowledgements(running, "Limited") == (None, None)
    last = running.ends("Limited")
    assert moment(last["endsAt"]) == taken["acknowledged_until"]
    is_paged_again(running, "Limited", taken["acknowledged_until"])
    assert running.silence("Limited") == last, "it is not made again"
    running.resolve("Limited")


def is_paged_again(running: Scene, alert: str, since: datetime) -> None:
    """Wait until an alert is told after a moment: as a reminder, which the patient one has to wait for."""
    wait(lambda: any(post.at > since.timestamp() for post in running.hasty.told(alert, "firing")))
    assert len(running.ops.told(alert, "firing")) == 1
