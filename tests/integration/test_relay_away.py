"""What the relay learns of alerts that it did not see: it was away itself, or looked away."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from fix_outages import goes_on, open_and_taken, resolved
from outages import PATIENCE, Site, now
from remembered import delivered
from waiting import eventually

pytestmark = pytest.mark.long


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_relay_away(all_there: Site, how: str) -> None:
    """What fired meanwhile is found in Prometheus' series, though what it said is not."""
    lasting, ending, taken, brief = (f"{how}-{name}" for name in ("lasting", "ending", "taken", "brief"))
    all_there.set_up(acknowledgement={"period": "4s"})
    all_there.fire(lasting, ending, taken)
    all_there.tells("firing", lasting, ending, taken)
    all_there.acknowledge(taken)
    all_there.has("open", lasting, ending)
    all_there.has("acknowledged", taken)
    former = {server: all_there.row(server) for server in (lasting, ending, taken)}

    all_there.relay.kill() if how == "killed" else all_there.relay.stop()
    begun = all_there.fire(brief, name="Brief")
    all_there.records(brief)
    ended = all_there.end(brief, name="Brief")
    all_there.end(ending)
    gone = all_there.forgets(brief, ending)
    eventually(lambda: all_there.silence(taken) is None, PATIENCE)
    all_there.relay.start()

    eventually(lambda: all_there.silence(taken), PATIENCE)
    all_there.has("resolved", ending, brief)
    goes_on(former[lasting], all_there.row(lasting))
    goes_on(former[taken], all_there.row(taken))
    assert all_there.row(ending).id == former[ending].id
    resolved(all_there.row(ending), ended, gone)
    row = all_there.row(brief)
    assert begun <= row.created_at <= gone
    resolved(row, ended, gone)
    assert (row.alertname, row.auto_resolved, row.message) == ("Brief", True, None)
    assert all_there.told(brief, "firing") == []


def test_shorter_than_the_interval(all_there: Site) -> None:
    """Neither Alertmanager's list nor a notification showed it to the relay: it came and went in between."""
    all_there.set_up(interval="5s")
    name, begun, ended, gone = lives_between_two_looks(all_there)

    all_there.has("resolved", name)
    row = all_there.row(name)
    assert begun <= row.created_at <= gone
    resolved(row, ended, gone)
    assert (row.auto_resolved, row.message) == (True, None)
    assert all_there.told(name, "firing") == []


def lives_between_two_looks(all_there: Site) -> tuple[str, datetime, datetime, datetime]:
    """Let an alert fire and resolve between two looks; gives it, and when it began, ended, and was gone."""
    for attempt in range(5):
        name = f"brief-{attempt}"
        all_there.look_on()
        look = all_there.looked()
        begun = all_there.fire(name, name="Brief")
        all_there.records(name)
        ended = all_there.end(name, name="Brief")
        gone = all_there.forgets(name)
        if all_there.looked() == look and time.time() < look + 5:
            return name, begun, ended, gone
    pytest.fail("the machine is too busy")


def test_history_away_at_the_start(all_there: Site) -> None:
    servers = ("known-open", "known-taken")
    opened, taken = open_and_taken(all_there, *servers)
    all_there.fire("known-ending")
    all_there.has("open", "known-ending")
    all_there.relay.stop()
    all_there.history.stop()
    ended = all_there.end("known-ending")
    gone = all_there.forgets("known-ending")

    posts = len(all_there.receiver.posts)
    all_there.relay.start()
    all_there.fire("new-open", "new-ending")
    all_there.tells("firing", "new-open", "new-ending")
    new_ended = all_there.end("new-ending")
    all_there.tells("resolved", "new-ending")
    new_gone = now()
    all_there.look_on()
    assert all_there.relay.now.scrape().get("plimsoll_history_up") == 0
    all_there.history.start()

    all_there.has("resolved", "known-ending", "new-ending")
    all_there.has("open", "new-open")
    resolved(all_there.row("known-ending"), ended, gone)
    resolved(all_there.row("new-ending"), new_ended, new_gone)
    assert all_there.row("new-ending").message == "It happens on new-ending."
    goes_on(opened, all_there.row("known-open"))
    goes_on(taken, all_there.row("known-taken"))
    assert {post.id for post in all_there.receiver.posts[posts:]} <= delivered(all_there.history)


def test_nothing_is_left(all_there: Site) -> None:
    """Whatever the tests before this one did, everything ends when nothing fires any more."""
    all_there.fire("last")
    all_there.tells("firing", "last")
    all_there.acknowledge("last")
    all_there.has("acknowledged", "last")
    all_there.end("last")
    eventually(lambda: all_there.unresolved() == [], PATIENCE)
    eventually(lambda: all_there.inbox.silences() == {}, PATIENCE)
