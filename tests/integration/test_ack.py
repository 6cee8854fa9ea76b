"""`plimsoll ack` on the real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plimsoll.cli import main
from plimsoll.demo.processes import free_port
from plimsoll.relay.alert import identity
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


def left(silence: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(silence["endsAt"]) - datetime.now(UTC)


def facts(ack: Ack, *selection: str) -> dict[str, dict[str, Any]]:
    said = ack("--list", "--format=json", *selection)
    assert (said.status, said.err) == (0, "")
    return {each["labels"].get("datname", each["alert"]): each for each in json.loads(said.out)}


def test_by_name_and_label(ack: Ack, alerts: Inbox) -> None:
    said = ack("Full", "datname=billing", "--by=ann", "--comment=on it")

    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(
        'Full{datname="billing",override="big"}: acknowledged by ann\nThe relay prolongs'
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

    said = ack("Slow", "--by=bob")

    assert said.status == 0
    assert re.search(r"already acknowledged by ann until \S+Z; left as it is\n$", said.out)
    assert only(alerts) == silence


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
    amtool, url = require_program("amtool"), f"--alertmanager.url={alerts.url}"
    said_by(amtool, url, "silence", "add", "-a", "bob", "-c", "ACK! both", "-d", "10m", 'datname=~".+"')
    said_by(amtool, url, "silence", "add", "-a", "cid", "-c", "planned", "-d", "10m", "alertname=Slow")

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
    alerts.clear()
    assert ack("Slow").err == "plimsoll: no active alert fits Slow: no alert is active\n"
    assert ack("--list").out == ack("--all").out == "no alert is active\n"


def test_one_alertmanager_that_does_not_answer_is_told_of(ack: Ack, alerts: Inbox) -> None:
    silent = f"http://me:hunter2@127.0.0.1:{free_port('127.0.0.1')}"

    said = ack("Slow", "--by=ann", urls=(silent,))

    assert said.status == 0
    assert "acknowledged by ann" in said.out
    assert silent.replace("me:hunter2@", "") in said.err
    assert "hunter2" not in said.err
    assert states(alerts)["Slow"] == "suppressed"


def test_none_that_answers_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [f"http://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(2)]
    file = tmp_path / "plimsoll.yml"
    file.write_text(f"alertmanager: {{urls: {json.dumps(urls)}}}\n")

    assert main(["ack", f"--config.file={file}", "--list"]) == 1

    error = capsys.readouterr().err
    assert all(url in error for url in urls)
    assert error.endswith("plimsoll: no Alertmanager answers\n")


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
            r"plimsoll: Open\{\}: not acknowledged: .* was not answered as Alertmanager would: .*\n",
            capsys.readouterr().err,
        )
        assert await asyncio.to_thread(main, ["ack", "--undo", *run]) == 1
        said = capsys.readouterr()

    assert said.out == ""
    assert said.err.startswith("plimsoll: Taken{}: acknowledgement by ann not undone: ")
    assert said.err.endswith("was answered with 403: not\\x1byou\n")


async def test_another_takes_what_one_refuses(ack: Ack, alerts: Inbox) -> None:
    async with answering(REFUSING) as url:
        said = await asyncio.to_thread(lambda: ack("Slow", "--by=ann", urls=(url,)))

    assert (said.status, said.err) == (0, "")
    assert states(alerts)["Slow"] == "suppressed"
