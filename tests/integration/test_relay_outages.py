"""What becomes of alerts while Alertmanager, Prometheus, the history or a receiver is away."""

from __future__ import annotations

import shutil

import pytest

from fix_outages import SLACK, end_both, goes_on, open_and_taken, resolved
from outages import PATIENCE, Site, now
from remembered import delivered
from waiting import eventually

pytestmark = pytest.mark.long


def test_alertmanager_lost_its_data(all_there: Site) -> None:
    """What was acknowledged is so again before Prometheus sends it, which it does once a minute as a rule.

    Here it would every second, so it sends nothing until then: whoever of the two comes first is luck.
    """
    opened, taken = open_and_taken(all_there, "lost-open", "lost-taken")
    pages = len(all_there.told("lost-taken", "firing"))
    before = all_there.silence("lost-taken")

    all_there.send()
    url = all_there.alertmanager.now.url
    all_there.alertmanager.stop()
    shutil.rmtree(all_there.directory / "alertmanager" / "data")
    all_there.alertmanager.start()
    eventually(lambda: all_there.silence("lost-taken"), PATIENCE)
    assert all_there.inbox.alerts() == []
    goes_on(opened, all_there.row("lost-open"))
    all_there.send(url)

    eventually(lambda: len(all_there.told("lost-open", "firing")) == 2, PATIENCE)
    eventually(lambda: all_there.listed("lost-taken") == "suppressed", PATIENCE)
    all_there.look_on(2)
    first, again = all_there.told("lost-open", "firing")
    assert first.id == again.id  # Alertmanager does not know that it has told; the receiver can know
    assert len(all_there.told("lost-taken", "firing")) == pages
    after = all_there.silence("lost-taken")
    assert before is not None
    assert after is not None
    assert after["id"] != before["id"]
    assert [after[key] for key in ("matchers", "comment")] == [before[key] for key in ("matchers", "comment")]
    goes_on(opened, all_there.row("lost-open"))
    goes_on(taken, all_there.row("lost-taken"))
    end_both(all_there, opened, taken, ("lost-open", "lost-taken"))


def test_prometheus_restarted(all_there: Site) -> None:
    """An alert that waits for its `for` once more is the same one, whatever Alertmanager makes of that."""
    servers = ("restart-open", "restart-taken")
    opened, taken = open_and_taken(all_there, *servers, name="Slow")
    pages = len(all_there.told("restart-taken", "firing"))

    all_there.prometheus.stop()
    all_there.prometheus.start()
    assert not all_there.fires("restart-open")
    eventually(lambda: all(map(all_there.fires, servers)), PATIENCE)
    all_there.look_on(2)
    goes_on(opened, all_there.row("restart-open"))
    goes_on(taken, all_there.row("restart-taken"))
    assert len(all_there.told("restart-taken", "firing")) == pages


def test_prometheus_away_for_long(all_there: Site) -> None:
    """Alertmanager believes that all has resolved, and says so; the history does not."""
    servers = ("away-open", "away-taken")
    opened, taken = open_and_taken(all_there, *servers)
    pages = len(all_there.told("away-taken", "firing"))

    all_there.prometheus.kill()
    eventually(lambda: all_there.inbox.alerts() == [], PATIENCE)
    all_there.tells("resolved", "away-open")
    all_there.look_on(1)
    assert 0.0 in all_there.relay.now.scrape().all("plimsoll_source_up", source="prometheus").values()
    goes_on(opened, all_there.row("away-open"))
    goes_on(taken, all_there.row("away-taken"))
    assert all_there.silence("away-taken")

    all_there.prometheus.start()
    eventually(lambda: len(all_there.told("away-open", "firing")) == 2, PATIENCE)
    eventually(lambda: all_there.listed("away-taken") == "suppressed", PATIENCE)
    all_there.look_on(2)
    goes_on(opened, all_there.row("away-open"))
    goes_on(taken, all_there.row("away-taken"))
    assert len(all_there.told("away-taken", "firing")) == pages
    end_both(all_there, opened, taken, servers)


def test_history_stopped(all_there: Site) -> None:
    all_there.set_up(acknowledgement={"period": "6s"})
    all_there.fire("early")
    all_there.has("open", "early")
    posts = len(all_there.receiver.posts)
    all_there.history.stop()

    begun = all_there.fire("meanwhile")
    all_there.tells("firing", "meanwhile")
    taken_at = all_there.acknowledge("early")
    ended = all_there.end("meanwhile")
    all_there.tells("resolved", "meanwhile")
    gone = now()
    all_there.fire("late")
    all_there.tells("firing", "late")
    silence = all_there.silence("early")
    assert silence
    eventually(lambda: (all_there.silence("early") or silence)["endsAt"] > silence["endsAt"], PATIENCE)
    page = all_there.relay.now.scrape()
    assert page.get("plimsoll_history_up") == 0
    assert page.get("plimsoll_acknowledgement_limit_timestamp_seconds", subject="early", by="ann")

    all_there.history.start()
    all_there.has("resolved", "meanwhile")
    all_there.has("open", "late")
    all_there.has("acknowledged", "early")
    row = all_there.row("meanwhile")
    assert begun <= row.created_at <= ended
    resolved(row, ended, gone)
    assert (row.auto_resolved, row.message) == (False, "It happens on meanwhile.")
    early = all_there.row("early")
    assert early.acknowledged_by == "ann"
    assert early.acknowledged_at is not None
    assert abs(early.acknowledged_at - taken_at) < SLACK
    assert {post.id for post in all_there.receiver.posts[posts:]} <= delivered(all_there.history)
    assert all_there.relay.now.scrape().get("plimsoll_history_up") == 1


def test_receiver_away(all_there: Site) -> None:
    """Alertmanager repeats for a while that an alert fires which has resolved; it never tells that it has."""
    all_there.receiver.answers.extend([500] * 100)
    all_there.fire("refused")
    all_there.tells("firing", "refused")
    ended = all_there.end("refused")
    gone = all_there.forgets("refused")
    all_there.has("resolved", "refused")

    posts = len(all_there.told("refused", "firing"))
    eventually(lambda: len(all_there.told("refused", "firing")) > posts, PATIENCE)
    all_there.look_on()
    assert all_there.row("refused").status == "resolved"
    resolved(all_there.row("refused"), ended, gone)
    all_there.receiver.answers.clear()
