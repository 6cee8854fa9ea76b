"""What docs/relay.md says is true: its examples run, and its tables are complete."""

from __future__ import annotations

import asyncio
import base64
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from psycopg.rows import dict_row
from standardwebhooks import WebhookVerificationError

from fix_postgres import Database
from plimsoll.alerts.rendering import render
from plimsoll.alerts.settings import AcknowledgementSettings, RelaySettings
from plimsoll.cli import _parser
from plimsoll.config import Section
from plimsoll.demo.postgres import PostgresServer
from plimsoll.relay.alert import CHANGING_LABELS, Alert
from plimsoll.relay.counts import Count
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history.store import Store
from plimsoll.relay.lives.life import Acknowledgement, End, Life
from plimsoll.relay.relay import Relay
from plimsoll.relay.settings import HistorySettings, load_settings
from plimsoll.relay.signing import signed
from relaying import SECRET
from sending import inbox
from support import require_program, said_by

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/relay.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
(EXAMPLE,) = re.findall(r"<!-- example -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
QUERIES = re.findall(r"<!-- query -->\n```sql\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^    (plimsoll .*)$", PAGE, re.MULTILINE) + re.findall(
    r"`(plimsoll \S+ --[^`]*)`", PAGE
)
NOW = datetime.now(UTC).replace(microsecond=0)
BODY = b'{"alerts": []}\n\0\n'


def snippet(title: str) -> str:
    (found,) = re.findall(rf"<!-- {title} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def table(first_cell: str) -> list[list[str]]:
    """Give the rows of the table with a heading."""
    lines = PAGE[PAGE.index(f"| {first_cell} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# Configuration


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Give the example, with its secrets."""
    (tmp_path / "secrets").mkdir()
    for name, secret in {"ops": SECRET, "relay": "t0ken", "history": "postgresql://relay@db/history"}.items():
        (tmp_path / "secrets" / name).write_text(f"{secret}\n")
    file = tmp_path / "plimsoll.yml"
    file.write_text(EXAMPLE)
    return file


def test_the_example_is_valid(example: Path) -> None:
    settings = load_settings(example)

    assert [name for name, each in settings.receivers.items() if each.is_signed] == ["ops"]
    assert settings.history is not None
    configuration = render(example).files["alertmanager/alertmanager.yml"]
    assert "url: http://relay:9746/webhook/ops" in configuration
    assert "url: https://hooks.example.com/all" in configuration


def defaults(section: str) -> dict[str, str]:
    return {key: row[1] for row in table(f"Key of `{section}`") for key in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize(
    ("section", "prefix", "model"),
    [
        ("relay", "", RelaySettings),
        ("relay", "acknowledgement.", AcknowledgementSettings),
        ("history", "", HistorySettings),
    ],
    ids=["relay", "acknowledgement", "history"],
)
def test_every_key_has_a_row_with_its_default(section: str, prefix: str, model: type[Section]) -> None:
    told = defaults(section)
    fields = {name: field for name, field in model.model_fields.items() if name != "acknowledgement"}
    rows = {name.removeprefix(prefix) for name in told if name.startswith(prefix)}
    assert {name for name in rows if "." not in name} == fields.keys()
    required = {"url": "http://relay", "token_file": "t"} if model is RelaySettings else {}
    required |= {"dsn": "host=db"} if model is HistorySettings else {}
    default = model.model_validate(required)
    for name, field in fields.items():
        if field.is_required() or name.startswith("dsn"):
            assert told[prefix + name] == "required", name
        else:
            value = None if told[prefix + name] == "none" else told[prefix + name]
            given = model.model_validate({**required, name: value})
            assert getattr(given, name) == getattr(default, name), name


def test_a_history_needs_a_dsn() -> None:
    with pytest.raises(ValueError, match="dsn"):
        HistorySettings.model_validate({})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    assert _parser().parse_args(shlex.split(command)[1:]).config_file == Path("plimsoll.yml")


def test_where_it_listens() -> None:
    options = _parser().parse_args(["relay", "--config.file=plimsoll.yml"])
    address = options.listen_address
    assert f"`plimsoll relay` listens on {address.host}:{address.port} " in PAGE


# Signatures


def headers(secret: str = SECRET, age: int = 0, body: bytes = BODY) -> dict[str, str]:
    keys = [bytes(range(50, 90)), base64.b64decode(secret.removeprefix("whsec_"))]
    return signed(keys, "msg_1", int(datetime.now(UTC).timestamp()) - age, body)


def test_python_verifies() -> None:
    names: dict[str, Any] = {}
    exec(compile(snippet("verify in Python"), "docs/relay.md", "exec"), names)
    verify = names["notification"]

    assert verify(SECRET, b'{"alerts": []}', headers(body=b'{"alerts": []}')) == {"alerts": []}
    for body, told in ((b"{}", headers()), (BODY, headers(age=400))):
        with pytest.raises(WebhookVerificationError):
            verify(SECRET, body, told)


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Give the script, and who runs it: what /bin/sh is differs."""
    require_program("openssl")
    script = tmp_path / "verify"
    script.write_text(snippet("verify in a shell"))
    return [require_program(request.param), str(script)]


def verifies(shell: list[str], told: Mapping[str, str], body: bytes = BODY, secret: str = SECRET) -> bool:
    line = [*shell, secret, *(told[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))]
    return subprocess.run(line, input=body, capture_output=True, cwd=Path(shell[-1]).parent).returncode == 0


def test_a_shell_verifies(shell: list[str]) -> None:
    assert verifies(shell, headers())
    assert verifies(shell, headers(body=b""), body=b"")
    assert not verifies(shell, headers(), body=BODY + b"\n")
    assert not verifies(shell, headers(), secret=f"whsec_{'A' * 44}")
    assert not verifies(shell, headers() | {"webhook-id": "msg_2"})
    assert not verifies(shell, headers() | {"webhook-signature": ""})
    assert not verifies(shell, headers(age=400))
    assert not verifies(shell, headers(age=-400))
    assert verifies(shell, headers(age=200))


@pytest.mark.parametrize("timestamp", ["", "x", "a[$(touch harm)]", "1 + 1", "$(touch harm)"])
def test_a_shell_runs_nothing_that_a_header_says(shell: list[str], tmp_path: Path, timestamp: str) -> None:
    assert not verifies(shell, headers() | {"webhook-timestamp": timestamp})
    assert not (tmp_path / "harm").exists()


def test_the_test_along_the_real_way(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    (amtool .*)$", PAGE, re.MULTILINE)
    program, *arguments = shlex.split(line)
    with inbox(tmp_path / "alertmanager") as alertmanager:
        here = [each.replace("http://127.0.0.1:9093", alertmanager.url) for each in arguments]
        assert here != arguments
        said_by(require_program(program), *here)
        (alert,) = alertmanager.alerts()
    assert alert["labels"] == {"alertname": "DeliveryTest", "severity": "critical"}
    assert alert["annotations"] == {"summary": "A test"}
    lasts = datetime.fromisoformat(alert["endsAt"]) - datetime.fromisoformat(alert["startsAt"])
    assert lasts == pytest.approx(timedelta(minutes=5), abs=timedelta(seconds=5))


# History


def lives() -> list[Life]:
    labels = {"alertname": "DatabaseGrowthHigh", "server": "main", "category": "storage"}
    texts = {"summary": "It grows"}
    begun = NOW - timedelta(hours=1)
    return [
        Life(
            Alert({**labels, "severity": severity, "datname": severity}, texts, begun),
            NOW,
            Acknowledgement(begun + timedelta(seconds=30), "ann", "", "s1", NOW),
            End(NOW, told=True) if severity == "critical" else None,
        )
        for severity in ("info", "critical")
    ]


def delivery() -> Delivery:
    told = tuple(life.alert.identity for life in lives())
    return Delivery("ops", "msg_1", told, "delivered", 204, NOW, 0.1)


async def written(
    dsn: str, told: Sequence[Life] | None = None, deliveries: Sequence[Delivery] | None = None
) -> list[Life]:
    """Write lives and deliveries, or those above; give what has not ended."""
    store = Store(HistorySettings.model_validate({"dsn": dsn}), 300.0)
    try:
        remembered = await store.exchange(told or lives(), deliveries or [delivery()], NOW, NOW)
        return list(remembered.unresolved)
    finally:
        await store.close()


@pytest.fixture
def history(newest_database: Database) -> Database:
    asyncio.run(written(newest_database.server.dsn(newest_database.name)))
    return newest_database


def answers(history: Database, title: str) -> list[dict[str, Any]]:
    """Give what the query under a title answers."""
    (query,) = [each for each in QUERIES if each.startswith(f"-- {title}")]
    with history.connect() as session:
        return session.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def test_the_gravest_of_last_night_stand_first(history: Database) -> None:
    rows = answers(history, "What happened last night")

    lasted = [(row["severity"], row["lasted"]) for row in rows]
    assert lasted == [("critical", timedelta(hours=1)), ("info", None)]


def test_how_long_it_takes_until_somebody_takes_one(history: Database) -> None:
    rows = answers(history, "How long does it take")

    assert [(row["taken"], row["median_seconds"]) for row in rows] == [(1, 30)] * 2


def test_each_delivery_of_an_alert_is_told_once_however_often_it_fired(history: Database) -> None:
    earlier = [
        replace(each, alert=replace(each.alert, starts_at=NOW - begun), ended=End(NOW - ended, told=True))
        for each in lives()
        for begun, ended in [(timedelta(days=2), timedelta(days=1)), (timedelta(hours=3), timedelta(hours=2))]
    ]
    first = Delivery("ops", "msg_0", (earlier[0].alert.identity,), "failed", 503, NOW - timedelta(days=2), 1)
    other = first._replace(webhook_id="msg_2", identities=("of another alert",))
    asyncio.run(written(history.server.dsn(history.name), earlier, [first, other]))
    with history.connect() as session:
        assert session.execute("SELECT count(*) FROM plimsoll.alert").fetchone() == (6,)

    rows = answers(history, "Was the receiver told")
    told = [(row["attempted_at"], row["receiver"], row["result"], row["http_status"]) for row in rows]
    assert told == [(NOW, "ops", "delivered", 204), (first.attempted_at, "ops", "failed", 503)]


def test_all_is_found() -> None:
    assert (len(QUERIES), len(COMMANDS)) == (PAGE.count("<!-- query -->"), 7)


@pytest.fixture
def role(newest_postgres: PostgresServer) -> Iterator[Database]:
    """Give the database that the page says how to make."""
    (statements,) = re.findall(r"```sql\n(CREATE ROLE .*?)```", PAGE, re.DOTALL)
    with Database(newest_postgres, "postgres").connect() as session:
        try:
            for statement in statements.strip().splitlines():
                session.execute(statement)
            yield Database(newest_postgres, "history")
        finally:
            session.execute("DROP DATABASE IF EXISTS history WITH (FORCE)")
            session.execute("DROP ROLE IF EXISTS relay")


def test_the_role_may_do_what_the_relay_needs(role: Database) -> None:
    dsn = role.server.dsn(role.name, "relay", "change-me")

    assert len(asyncio.run(written(dsn))) == 1
    assert len(asyncio.run(written(dsn))) == 1


def test_a_role_that_owns_the_schema_may_do_so_too(role: Database) -> None:
    with role.connect() as session:
        session.execute("ALTER DATABASE history OWNER TO postgres")
        session.execute("CREATE SCHEMA plimsoll AUTHORIZATION relay")

    assert len(asyncio.run(written(role.server.dsn(role.name, "relay", "change-me")))) == 1


def test_every_table_of_the_history_is_in_the_changelog(history: Database) -> None:
    with history.connect() as session:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'plimsoll'"
        tables = {name for (name,) in session.execute(query)}
    assert {name for name in tables if f"`plimsoll.{name}`" not in CHANGELOG} == set()


# Metrics


@pytest.fixture
async def families(example: Path) -> AsyncIterator[dict[str, set[str]]]:
    """Give the labels of every metric of a relay to which everything has happened."""
    settings = load_settings(example)
    async with aiohttp.ClientSession() as session:
        relay = Relay(lambda: settings, settings, session, session)
        for result in ("delivered", "failed"):
            relay._forwarding._metrics.count("ops", result, 0.1)
        memory = relay._rounds._memory
        memory.is_up, memory.last_success = True, NOW
        first, second = lives()[0], Life(lives()[1].alert, NOW)
        relay._rounds.counts.last = Count(NOW, [first, second], silences={}, answers={("a", "b"): True})
        yield {
            family.name + ("_total" if family.type == "counter" else ""): {
                label for sample in family.samples for label in sample.labels if label != "le"
            }
            for family in relay._registry.collect()
            if not family.name.startswith("process_")
        }


async def test_every_metric_has_a_row_and_every_row_a_metric(families: dict[str, set[str]]) -> None:
    rows = table("Metric")
    named = [name for row in rows for name in re.findall(r"`(plimsoll_\w+)`", row[0])]
    assert sorted(named) == sorted(families)
    for row in rows[:-1]:  # the last has those of the exporter, with theirs
        labels = set() if row[1] == "none" else set(row[1].split(", "))
        if "those of the alert" in labels:
            labels = labels - {"those of the alert"} | lives()[0].alert.labels.keys() - CHANGING_LABELS
        assert [families[name] for name in re.findall(r"`(\w+)`", row[0])] == [labels] * row[0].count(",") + [
            labels
        ]


async def test_the_changelog_names_every_metric(families: dict[str, set[str]]) -> None:
    assert {name for name in families if f"`{name}`" not in CHANGELOG} == set()


@pytest.mark.parametrize("model", [RelaySettings, AcknowledgementSettings, HistorySettings])
def test_the_changelog_names_every_key(model: type[Section]) -> None:
    assert {name for name in model.model_fields if f"`{name}`" not in CHANGELOG} == set()


@pytest.mark.parametrize("command", ["relay", "ack"])
def test_the_changelog_names_every_flag(command: str) -> None:
    (commands,) = [each for each in _parser()._actions if each.choices and command in each.choices]
    parser = dict(commands.choices or {})[command]
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    (entry,) = [each for each in CHANGELOG.split("\n- ") if each.startswith(f"`plimsoll {command}`")]
    assert {flag for flag in flags if f"`{flag}`" not in entry} == set()
