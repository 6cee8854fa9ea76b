"""Who has taken which alert, as a table and as JSON; and which alerts somebody means."""

from __future__ import annotations

import getpass
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.cli import main
from plimsoll.cli.ack import parse_limit
from plimsoll.config import ConfigError
from plimsoll.relay.ack.listing import age, as_json, called, few, rows, table
from plimsoll.relay.ack.person import login_name
from plimsoll.relay.ack.selection import Selection
from plimsoll.relay.ack.targets import read_targets
from plimsoll.relay.acknowledging.silences import make
from plimsoll.relay.alert import Alert
from plimsoll.relay.sources.alertmanager import Listed, Silence

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY = 86400.0


def listed(
    name: str, severity: str, *ids: str, inhibited: bool = False, hours: int = 1, **labels: str
) -> Listed:
    alert = Alert(
        {"alertname": name, "severity": severity, **labels},
        {},
        NOW - timedelta(hours=hours),
        fingerprint=f"{name.lower():0<16}",
    )
    return Listed(alert, NOW, frozenset(ids), inhibited)


def silence(name: str, comment: str, by: str = "ann", state: str = "active") -> Silence:
    one = make([], by=by, text="", now=NOW - timedelta(hours=1), period=900, limit=NOW + timedelta(days=2))
    return replace(one, id=name, comment=comment, state=state)  # type: ignore[arg-type]


SILENCES = {
    "ours": silence("ours", "ACK! on it [plimsoll, until 2026-11-23T10:00:00Z]"),
    "theirs": silence("theirs", "ACK! karma", "bob \x1b[31m"),
    "plain": silence("plain", "planned"),
    "old": silence("old", "ACK! was", state="expired"),
}
ALERTS = [
    listed("Odd", "strange", "old", "unknown"),
    listed("Low", "low", hours=50),
    listed("Taken", "critical", "plain", "ours", datname="a"),
    listed("Theirs", "high", "theirs", inhibited=True),
    listed("Planned", "high", "plain"),
    listed("Hidden", "high", inhibited=True),
    listed("New", "critical", job="x\x1b[2J\u202e\n", zone="ü"),
]


def test_the_gravest_come_first_and_what_is_open_before_what_is_taken() -> None:
    found = rows([ALERTS], SILENCES, DAY)

    assert [(row.alert.name, row.state, row.owner) for row in found] == [
        ("New", "open", ""),
        ("Taken", "acknowledged", "ann"),
        ("Theirs", "acknowledged", "bob \x1b[31m"),
        ("Planned", "silenced", "ann"),
        ("Hidden", "inhibited", ""),
        ("Low", "open", ""),
        ("Odd", "open", ""),
    ]


def test_a_table_is_safe_for_a_terminal() -> None:
    lines = table(rows([ALERTS], SILENCES, DAY), NOW)

    assert " ".join(lines[0].split()) == "STATE SEVERITY AGE OWNER UNTIL ALERT FINGERPRINT LABELS"
    assert all(line.isprintable() for line in lines)
    names = ("ALERT", "New", "Taken", "Theirs")
    assert len({line.find(f"  {name} ") for line, name in zip(lines, names, strict=False)}) == 1
    assert lines[1].endswith(r'new0000000000000  {job="x\u001b[2J\u202e\n",zone="ü"}')
    assert "  ann           2026-11-23T10:00:00Z  Taken" in lines[2]
    assert r"  bob \x1b[31m  2026-11-22T09:00:00Z  Theirs" in lines[3]
    assert "  2d2h  -  " in lines[6]


def test_json_says_the_same() -> None:
    facts = {each["alert"]: each for each in json.loads(as_json(rows([ALERTS], SILENCES, DAY), NOW))}

    assert facts["Taken"] == {
        "state": "acknowledged",
        "severity": "critical",
        "starts_at": "2026-11-21T09:00:00Z",
        "age_seconds": 3600,
        "owner": "ann",
        "comment": "on it",
        "until": "2026-11-23T10:00:00Z",
        "alert": "Taken",
        "fingerprint": "taken00000000000",
        "labels": {"alertname": "Taken", "severity": "critical", "datname": "a"},
        "silences": ["ours", "plain"],
    }
    assert [facts["Low"][key] for key in ("state", "owner", "until", "silences")] == ["open", None, None, []]


def test_until_is_the_end_where_nobody_prolongs() -> None:
    ends = {row.alert.name: row.until for row in rows([ALERTS], SILENCES, 0.0)}

    assert ends["Theirs"] == ends["Planned"] == NOW - timedelta(minutes=45)
    assert ends["Taken"] == NOW + timedelta(days=2), "its comment says so"


def test_what_several_tell_of_an_alert_is_put_together() -> None:
    one, other = listed("A", "high", "theirs"), listed("A", "high", "ours", hours=2)

    (row,) = rows([[one], [other]], SILENCES, DAY)

    assert row.silences == (SILENCES["ours"], SILENCES["theirs"])
    assert row.alert.starts_at == NOW - timedelta(hours=2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (12, "12s"), (61, "1m"), (3600, "1h"), (8000, "2h13m"), (93600, "1d2h"), (864059, "10d")],
)
def test_ages(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


# which are meant


def alert(**labels: str) -> Alert:
    return Alert({"alertname": "Full", "severity": "high", **labels}, {}, NOW, "d00df00dd00df00d")


@pytest.mark.parametrize(
    ("texts", "fits"),
    [
        (["Full"], True),
        (["full"], False),
        (["d00df00dd00df00d"], True),
        ([alert(server="a").identity], True),
        (["Full", "server=a"], True),
        (["Full", "server=a", "severity=low"], False),
        (["server=a", '{severity=~"h.*"}'], True),
        (['{alertname="Full",server!="a"}'], False),
        (["job="], True),
        (["Full", "text=a=b"], False),
        (["{}"], True),
        (['Full{server="a"}'], True),
        (['Full{server="b"}'], False),
        (['Other{server="a"}'], False),
        (['d00df00dd00df00d{server="a"}', "severity=high"], True),
        (["alertname=~F.*", "server!=b", "severity!~low|info"], True),
        (["alertname=~Fu"], False),
        (["server!=a"], False),
        (["server!~a|b"], False),
        (['server="a"'], True),
        (["server=~"], False),
    ],
)
def test_a_selection(texts: list[str], fits: bool) -> None:
    assert Selection.parse(texts).fits(alert(server="a")) == fits


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([" "], "the name of an alert must not be empty"),
        (["Full", "Other"], "Other: must be label=value or {matchers}; only the first may be a name or"),
        (["=x"], "=x: '' is no label name"),
        (["{a=b}"], "{a=b}: position 4: the value of a must stand in quotes"),
        (["Full{a=b}"], "{a=b}: position 4: the value of a must stand in quotes"),
        (['{a="}'], "lacks its closing"),
        (["a=~("], "a=~(: '(' is no regular expression"),
        (["a!b=c"], "a!b=c: must be label=value"),
    ],
)
def test_what_is_no_selection(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Selection.parse(texts)


def test_an_alert_is_called_by_all_that_it_is_about() -> None:
    assert called(alert(server="a\x07")) == r'Full{server="a\u0007"}'
    assert called(alert()) == "Full"
    assert called(Alert({"severity": "high"}, None, NOW)) == "{}"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_an_alert_is_called_selects_it(one: str, other: str) -> None:
    meant = alert(server=one)

    selection = Selection.parse([called(meant)])

    assert called(meant).isprintable()
    assert selection.fits(meant)
    assert selection.fits(alert(server=other)) == (one == other)


def test_ten_are_named() -> None:
    names = [str(number) for number in range(12)]

    assert few(names[:10]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert few(names) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


# the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which alerts"),
        (["--undo"], "say which alerts"),
        (["A", "--all"], "--all stands alone"),
        (["--all", "--list"], "--list shows all alerts as it is"),
        (["A", "--undo", "--list"], "--undo and --list do not go together"),
        (["A", "--undo", "--for=1h"], "--for is for acknowledging"),
        (["--list", "--comment="], "--comment is for acknowledging"),
        (["A", "--format=json"], "--format goes with --list only"),
        (["A", "--by= "], "--by must not be empty"),
        (["A", "--for=soon"], "argument --for: must be a duration such as"),
        (["A", "--for=0"], "argument --for: must be 1s to 1y"),
        (["A", "B"], "B: must be label=value or {matchers}; only the first may be a name"),
    ],
)
def test_arguments_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ack", *arguments])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("8h", 28800), ("1y", 31536000), ("1s", 1)])
def test_a_limit(text: str, seconds: float) -> None:
    assert parse_limit(text) == seconds


@pytest.mark.parametrize("text", ["2y", "999ms", "9999999999999y", "-1h"])
def test_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_limit(text)


def test_a_user_without_a_name_is_called_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError

    assert login_name() == getpass.getuser()
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert login_name().startswith("uid ")


# the file


def write(directory: Path, text: str) -> Path:
    path = directory / "plimsoll.yml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    alertmanager, acknowledgement = read_targets(None)

    assert alertmanager.urls == ("http://127.0.0.1:9093",)
    assert acknowledgement is None


def test_secrets_and_sections_of_others_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTMANAGER", "am")
    file = write(
        tmp_path,
        "postgres: {servers: [{name: main, dsn: '${NOT_SET}'}]}\n"
        "webhooks: {ops: {url: '${NOT_SET}', secret: wrong}}\n"
        "relay: {url: '${NOT_SET}', token_file: missing, tls_config: {ca_file: '${NOT_SET}'},\n"
        "  acknowledgement: {period: 5m, limit: 1d}}\n"
        "alertmanager: {urls: ['http://${ALERTMANAGER}:9093', 'http://user:pass@b']}\n",
    )

    alertmanager, acknowledgement = read_targets(file)

    assert alertmanager.urls == ("http://am:9093", "http://user:pass@b")
    assert acknowledgement
    assert (acknowledgement.period, acknowledgement.limit) == (300, DAY)


def test_mistakes_in_the_sections_that_are_read_are_told(tmp_path: Path) -> None:
    file = write(
        tmp_path, "relay: {url: http://r, token_file: t, grce: 5m}\nalertmanager: {urls: ['${NOT_SET}']}\n"
    )

    with pytest.raises(ConfigError) as refused:
        read_targets(file)

    first, second = map(str, refused.value.problems)
    assert f"{file}:1: relay.grce: unknown key" in first
    assert f"{file}:2: alertmanager.urls[0]: the environment variable NOT_SET is not set" in second
