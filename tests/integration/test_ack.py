"""`plimsoll ack` on the real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from plimsoll.alerts.peer import PeerError
from plimsoll.alerts.settings import OpenedAlertmanager
from plimsoll.cli import main
from plimsoll.demo.processes import free_port
from plimsoll.demo.service import fetch
from plimsoll.relay.ack import command
from plimsoll.relay.ack.peers import Peers, View
from plimsoll.relay.ack.scene import Outcome, Request, Scene
from plimsoll.relay.ack.selection import Selection
from plimsoll.relay.ack.targets import Targets
from plimsoll.relay.ack.undo import undo
from plimsoll.relay.acknowledging.silences import make, matchers_for
from plimsoll.relay.alert import Alert, identity
from plimsoll.relay.sources.alertmanager import Alertmanager, Listed
from reloading import answering
from sending import Inbox, inbox
from support import require_program, said_by

RELAY = "relay: {url: 'http://relay', token_file: missing, acknowledgement: {period: 10m, limit: 2d}}\n"
BILLING = {"alertname": "Full", "severity": "high", "override": "big", "datname": "billing"}
SHOP = {"alertname": "Full", "severity": "critical", "datname": "shop"}
SLOW = {"alertname": "Slow", "severity": "low", "engine": "a\x1b[2J"}


class Said(NamedTuple):
    """What came of a run."""

    status: int
    out: str
    err: str


Ack = Callable[..., Said]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    with inbox(tmp_path_factory.mktemp("alertmanager")) as started:
        yield started


@pytest.fixture
def alerts(running: Inbox) -> Iterator[Inbox]:
    """Let three alerts fire."""
    running.send(BILLING, SHOP, age=7500)
    running.send(SLOW)
    yield running
    running.clear()


@pytest.fixture
def ack(alerts: Inbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ack:
    """Run the command on a file that names this Alertmanager, and more if need be."""

    def run(*arguments: str, more: str = RELAY, urls: tuple[str, ...] = ()) -> Said:
        file = tmp_path / "plimsoll.yml"
        file.write_text(f"{more}alertmanager: {{urls: {json.dumps([*urls, alerts.url])}}}\n")
        status = main(["ack", f"--config.file={file}", *arguments])
        return Said(status, *capsys.readouterr())

    return run


def states(alerts: Inbox) -> dict[str, str]:
    """Give what Alertmanager itself says of each alert."""
    return {
        (alert["labels"].get("datname") or alert["labels"]["alertname"]): alert["status"]["state"]
        for alert in alerts.alerts()
    }


def only(alerts: Inbox) -> dict[str, Any]:
    (silence,) = alerts.silences().values()
    return silence


def all_silences(alerts: Inbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fetch(f"{alerts.url}/api/v2/silences"))
    return found


def silenced(alerts: Inbox, comment: str, matcher: str, by: str = "bob") -> None:
    """Let bob silence something for 10 minutes with another tool."""
    url = f"--alertmanager.url={alerts.url}"
    said_by(require_program("amtool"), url, "silence", "add", "-a", by, "-c", comment, "-d", "10m", matcher)


def left(silence: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(silence["endsAt"]) - datetime.now(UTC)


def facts(ack: Ack, *selection: str) -> dict[str, dict[str, Any]]:
    said = ack("--list", "--format=json", *selection)
    assert (said.status, said.err) == (0, "")
    return {each["labels"].get("datname", each["alert"]): each for each in json.loads(said.out)}


def test_by_name_and_label(ack: Ack, alerts: Inbox) -> None:
    said = ack("Full", "datname=billing", "--by=ann", "--comment=on it")

    assert (said.status, said.err) == (0, "")
    assert re.fullmatch(
        r'Full\{datname="billing",override="big"\}: acknowledged by ann\n'
        r"Silenced until \S+Z\. The relay prolongs this while the alert fires, until \S+Z at the latest, "
        r"and ends it when the alert has resolved\.\n",
        said.out,
    )
    assert states(alerts) == {"billing": "suppressed", "shop": "active", "Slow": "active"}
    silence = only(alerts)
    assert silence["createdBy"] == "ann"
    assert re.fullmatch(r"ACK! on it \[plimsoll, until \S+Z\]", silence["comment"])
    assert {(each["name"], each["value"]) for each in silence["matchers"]} == {
        ("alertname", "Full"),
        ("datname", "billing"),
    }
    assert timedelta(minutes=9) < left(silence) <= timedelta(minutes=10)
    alerts.send(BILLING | {"severity": "critical", "override": ""})
    assert states(alerts)["billing"] == "suppressed", "whatever its severity becomes"


def test_by_matchers_each_alert_gets_a_silence_of_its_own(ack: Ack, alerts: Inbox) -> None:
    said = ack('{alertname=~"F.*",severity!="low"}', "--by=ann")

    assert said.status == 0
    assert said.out.count(": acknowledged by ann\n") == 2 == len(alerts.silences())
    assert states(alerts) == {"billing": "suppressed", "shop": "suppressed", "Slow": "active"}


def test_by_fingerprint(ack: Ack, alerts: Inbox) -> None:
    name = facts(ack)["shop"]["fingerprint"]
    assert name in {alert["fingerprint"] for alert in alerts.alerts()}

    assert ack(name).status == 0
    assert ack(identity(BILLING)).status == 0
    assert states(alerts) == {"billing": "suppressed", "shop": "suppressed", "Slow": "active"}


def test_all_that_are_not_acknowledged(ack: Ack, alerts: Inbox) -> None:
    ack("Slow")
    first = alerts.silences().keys()

    said = ack("--all", "--by=bob")

    assert said.status == 0
    assert said.out.count("acknowledged by bob\n") == 2
    assert set(states(alerts).values()) == {"suppressed"}
    assert first < alerts.silences().keys()
    assert ack("--all").out == "every active alert is acknowledged\n"
    assert len(alerts.silences()) == 3


def test_an_alert_of_two_severities_needs_one_silence(ack: Ack, alerts: Inbox) -> None:
    alerts.send(SHOP | {"severity": "high"})

    said = ack("datname=shop", "--by=ann")

    assert said.out.count('Full{datname="shop"}: acknowledged by ann\n') == 2
    assert only(alerts)


def test_what_is_taken_is_left(ack: Ack, alerts: Inbox) -> None:
    ack("Slow", "--by=ann")
    silence = only(alerts)

    said = ack("Slow")

    assert said.status == 0
    assert re.search(r"already acknowledged by ann until \S+Z; left as it is\n$", said.out)
    assert only(alerts) == silence


@pytest.mark.parametrize("more", [RELAY, ""], ids=["relay", "alone"])
def test_what_is_taken_is_replaced_by_what_differs_as_wanted(ack: Ack, alerts: Inbox, more: str) -> None:
    ack("Slow", "--by=ann", "--comment=on it", "--for=8h", more=more)
    first = only(alerts)
    before = facts(ack)["Slow"]

    said = ack("Slow", "--by=bob", more=more)

    assert said.status == 0
    assert f": acknowledged by bob; that of ann until {before['until']} is replaced\n" in said.out
    assert only(alerts)["id"] != first["id"]
    changed = facts(ack)["Slow"]
    assert (changed["owner"], changed["comment"], changed["until"]) == ("bob", "on it", before["until"])
    ended = next(each for each in all_silences(alerts) if each["id"] == first["id"])
    assert only(alerts)["startsAt"] <= ended["endsAt"], "no moment without a silence"

    ack("Slow", "--for=2d", "--comment=still", more=more)

    changed = facts(ack)["Slow"]
    assert (changed["owner"], changed["comment"]) == ("bob", "still")
    assert timedelta(days=1.9) < datetime.fromisoformat(changed["until"]) - datetime.now(UTC)


def test_a_former_one_that_cannot_be_ended_is_told_of(
    ack: Ack, alerts: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise PeerError("no")

    ack("Slow", "--by=ann")
    monkeypatch.setattr(Alertmanager, "expire", refuse)

    said = ack("Slow", "--by=bob")

    assert said.status == 1
    assert "acknowledged by bob" in said.out
    assert said.err == "plimsoll: the former acknowledgement by ann could not be ended: no\n"


def test_what_other_alerts_need_is_not_replaced(ack: Ack, alerts: Inbox) -> None:
    silenced(alerts, "ACK! both [plimsoll]", 'datname=~".+"')

    said = ack("datname=shop", "--by=ann")

    assert re.search(r'Full\{datname="shop"\}: acknowledged by ann; that of bob until \S+ stays\n', said.out)
    assert len(alerts.silences()) == 2
    assert facts(ack)["billing"]["owner"] == "bob"
    assert ack("datname=~.+", "--by=cid").out.count("is replaced") == 3
    assert {each["createdBy"] for each in alerts.silences().values()} == {"cid"}
    assert set(states(alerts).values()) == {"suppressed", "active"}


def test_those_of_others_are_never_replaced(ack: Ack, alerts: Inbox) -> None:
    silenced(alerts, "ACK! karma", "alertname=Slow")

    assert re.search("acknowledged by ann; that of bob until .* stays\n", ack("Slow", "--by=ann").out)
    assert {each["createdBy"] for each in alerts.silences().values()} == {"ann", "bob"}


def test_for_how_long(ack: Ack, alerts: Inbox) -> None:
    said = ack("Slow", "--for=8h", "--by=ann")

    (until,) = re.findall(r"until (\S+Z) at the latest", said.out)
    assert timedelta(hours=7.9) < datetime.fromisoformat(until) - datetime.now(UTC) <= timedelta(hours=8.1)
    assert until in only(alerts)["comment"]
    assert left(only(alerts)) <= timedelta(minutes=10), "the relay prolongs it"
    assert facts(ack)["Slow"]["until"] == until


@pytest.mark.parametrize(("arguments", "hours"), [((), 24), (("--for=2h",), 2)])
def test_without_a_relay_it_lasts_for_the_whole_time(
    ack: Ack, alerts: Inbox, arguments: tuple[str, ...], hours: int
) -> None:
    said = ack("Slow", *arguments, more="")

    assert timedelta(hours=hours - 0.1) < left(only(alerts)) <= timedelta(hours=hours, seconds=1)
    assert "has no section relay, so this lasts until" in said.out
    assert "--undo ends it" in said.out


def test_undo(ack: Ack, alerts: Inbox) -> None:
    ack("--all", "--by=ann")

    said = ack("--undo", "datname=shop")

    assert (said.status, said.out) == (0, 'Full{datname="shop"}: acknowledgement by ann undone\n')
    assert states(alerts) == {"billing": "suppressed", "shop": "active", "Slow": "suppressed"}
    assert 'Full{datname="shop"}: is not acknowledged\n' in ack("--undo", "Full").out
    assert states(alerts) == {"billing": "active", "shop": "active", "Slow": "suppressed"}
    assert ack("--undo", "--all").status == 0
    assert alerts.silences() == {}
    assert ack("--undo", "--all").out == "no alert is acknowledged\n"


def test_undo_after_the_alert_has_resolved(ack: Ack, alerts: Inbox) -> None:
    ack("Slow", "--by=ann", more="")
    alerts.send(SLOW, age=1, left=0)
    assert "Slow" not in states(alerts)

    said = ack("--undo", "Slow", more="")

    assert said.status == 0
    assert said.out.endswith("acknowledgement by ann undone; it silenced no active alert\n")
    assert alerts.silences() == {}


def test_one_of_amtool_counts_as_any_other(ack: Ack, alerts: Inbox) -> None:
    silenced(alerts, "ACK! both", 'datname=~".+"')
    silenced(alerts, "planned", "alertname=Slow", by="cid")

    found = facts(ack)

    assert [found[name]["state"] for name in ("billing", "shop", "Slow")] == [
        "acknowledged",
        "acknowledged",
        "silenced",
    ]
    assert (found["shop"]["owner"], found["shop"]["comment"]) == ("bob", "both")
    assert "already acknowledged by bob" in ack("datname=shop").out
    undone = ack("--undo", "datname=shop")
    assert undone.out == (
        'Full{datname="shop"}: acknowledgement by bob undone; it was also that of '
        'Full{datname="billing",override="big"}\n'
    )
    assert only(alerts)["createdBy"] == "cid", "a plain silence is left alone"
    assert ack("--undo", "Slow").out.endswith(": is not acknowledged\n")
    ack("Slow", "--by=ann")
    undone = ack("--undo", "Slow")
    assert re.search(r"acknowledgement by ann undone; still silenced by cid until \S+Z\n$", undone.out)


def test_list(ack: Ack, alerts: Inbox) -> None:
    ack("datname=billing", "--by=ann")

    said = ack("--list")

    assert (said.status, said.err) == (0, "")
    rows = [re.split(r"  +", line) for line in said.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["open", "acknowledged", "open"], "the gravest first"
    assert rows[0][1:6] == ["critical", "2h5m", "-", "-", "Full"]
    assert rows[1][3] == "ann"
    assert rows[2][-1] == r'{engine="a\u001b[2J"}'
    assert facts(ack, "severity=low").keys() == {"Slow"}
    assert ack("--list", "Fool").out == "no active alert fits Fool\n"


def test_an_alert_that_is_not_active(ack: Ack, alerts: Inbox) -> None:
    for action in ((), ("--undo",)):
        said = ack("Slwo", *action)
        assert (said.status, said.out) == (1, "")
        assert said.err == "plimsoll: no active alert fits Slwo (did you mean Slow?): active are Full, Slow\n"
    assert ack('Full{datname="my"}').err == (
        'plimsoll: no active alert fits Full{datname="my"}: active are '
        'Full{datname="billing",override="big"}, Full{datname="shop"}\n'
    )
    assert ack("datname=my").err == ('plimsoll: no active alert fits {datname="my"}: active are Full, Slow\n')
    alerts.clear()
    assert ack("Slow").err == "plimsoll: no active alert fits Slow: no alert is active\n"
    assert ack("--list").out == ack("--all").out == "no alert is active\n"


def test_one_alertmanager_that_does_not_answer_is_told_of(ack: Ack, alerts: Inbox) -> None:
    silent = f"http://me:hunter2@127.0.0.1:{free_port('127.0.0.1')}"

    said = ack("Slow", "--by=ann", urls=(silent,))

    assert said.status == 0
    assert "acknowledged by ann" in said.out
    assert said.err == f"plimsoll: {silent.replace('me:hunter2@', '')}: connection refused\n"
    assert states(alerts)["Slow"] == "suppressed"


def test_none_that_answers_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [f"http://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(2)]
    file = tmp_path / "plimsoll.yml"
    file.write_text(f"alertmanager: {{urls: {json.dumps(urls)}}}\n")

    assert main(["ack", f"--config.file={file}", "--list"]) == 1

    error = capsys.readouterr().err
    assert all(url in error for url in urls)
    assert error.endswith("plimsoll: no Alertmanager answers\n")


def test_without_a_file_it_says_where_it_has_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    monkeypatch.setattr(command, "read_targets", lambda _: Targets(OpenedAlertmanager(urls=(url,)), None))

    assert main(["ack", "--list"]) == 1

    assert capsys.readouterr().err == (
        f"plimsoll: {url}: connection refused (the default; --config.file names others)\n"
        "plimsoll: no Alertmanager answers\n"
    )


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_an_answer_that_nobody_gets_is_a_failure(alerts: Inbox, tmp_path: Path, redirection: str) -> None:
    file = tmp_path / "plimsoll.yml"
    file.write_text(f"alertmanager: {{urls: ['{alerts.url}']}}\n")
    run = shlex.join([sys.executable, "-m", "plimsoll", "ack", "--list", f"--config.file={file}"])

    done = subprocess.run(["sh", "-c", f"{run} {redirection}"], capture_output=True, text=True)

    assert done.returncode == 1
    assert re.fullmatch(r"plimsoll: the answer could not be written: .+\n", done.stderr)


def test_one_alertmanager_listed_twice_is_one(ack: Ack, alerts: Inbox) -> None:
    said = ack("Full", "--by=ann", urls=(alerts.url,))

    assert said.out.count(": acknowledged by ann\n") == 2 == len(alerts.silences())
    assert ack("--undo", "Full", urls=(alerts.url,)).out.count("undone\n") == 2
    assert alerts.silences() == {}


# Alertmanagers that refuse

REFUSING: dict[str, str | tuple[int, str]] = {
    "/api/v2/alerts": json.dumps(
        [
            {"labels": {"alertname": "Open"}, "startsAt": "2026-11-21T10:00:00Z", "status": {}},
            {
                "labels": {"alertname": "Taken"},
                "startsAt": "2026-11-21T10:00:00Z",
                "status": {"silencedBy": ["1"]},
            },
        ]
    ),
    "/api/v2/silences": json.dumps(
        [
            {
                "id": "1",
                "status": {"state": "active"},
                "matchers": [{"name": "alertname", "value": "Taken"}],
                "startsAt": "2026-11-21T10:00:00Z",
                "endsAt": "2026-11-21T11:00:00Z",
                "createdBy": "ann",
                "comment": "ACK!",
            }
        ]
    ),
    "/api/v2/silence/1": (403, "not\x1byou"),
}


async def test_what_is_refused_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(REFUSING) as url:
        file = tmp_path / "plimsoll.yml"
        file.write_text(f"alertmanager: {{urls: ['{url}']}}\n")
        run = [f"--config.file={file}", "--all"]

        assert await asyncio.to_thread(main, ["ack", *run]) == 1
        assert re.fullmatch(
            r"plimsoll: Open: not acknowledged: .* was not answered as Alertmanager would: .*\n",
            capsys.readouterr().err,
        )
        assert await asyncio.to_thread(main, ["ack", "--undo", *run]) == 1
        said = capsys.readouterr()

    assert said.out == ""
    assert said.err.startswith("plimsoll: Taken: acknowledgement by ann not undone: ")
    assert said.err.endswith("was answered with 403: not\\x1byou\n")


async def test_another_takes_what_one_refuses(ack: Ack, alerts: Inbox) -> None:
    async with answering(REFUSING) as url:
        said = await asyncio.to_thread(lambda: ack("Slow", "--by=ann", urls=(url,)))

    assert (said.status, said.err) == (0, "")
    assert states(alerts)["Slow"] == "suppressed"


async def _ended(*_: object) -> None:
    """Take the place of what asks Alertmanager."""


async def test_thousands_are_undone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alertmanager, "expire", _ended)
    now = datetime.now(UTC)
    labels = [{"alertname": "Full", "table": str(number)} for number in range(3000)]
    silences = [
        replace(make(matchers_for(each), by="ann", text="", now=now, period=900, limit=now), id=each["table"])
        for each in labels
    ]
    listed = [Listed(Alert(each, {}, now), now, frozenset({each["table"]}), False) for each in labels]
    outcome = Outcome()
    async with aiohttp.ClientSession() as session:
        peers = Peers([View(Alertmanager(session, "http://127.0.0.1:1"), listed, silences)], [])
        began = time.process_time()
        await undo(
            Scene(
                Request("undo", Selection.parse(["Full"])),
                Targets(OpenedAlertmanager(), None),
                peers,
                outcome,
            )
        )

    assert time.process_time() - began < 5
    assert sum(line.endswith("by ann undone") for line in outcome.said) == 3000
