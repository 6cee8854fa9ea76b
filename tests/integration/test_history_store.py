"""The history's store: what becomes of lives that are told, by one relay or two, and what it survives."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import dict_row

from fix_postgres import Database, OwnPostgres, fresh_database
from plimsoll.demo.postgres import PostgresServer
from plimsoll.relay.alert import Alert
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.history import HistoryError, transaction
from plimsoll.relay.history import store as history_store
from plimsoll.relay.history.link import Link
from plimsoll.relay.history.statements import Remembered, Session, write_lives
from plimsoll.relay.history.store import Store
from plimsoll.relay.lives.life import Acknowledgement, End, Life
from plimsoll.relay.settings import HistorySettings
from proxy import proxy_to

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE = 300.0
LABELS = {"alertname": "A", "severity": "high", "category": "storage", "server": "main"}
TEXTS = {
    "summary": "Full",
    "description": "It is full.",
    "threshold": "80",
    "value": "81",
    "current": "81 GB",
}


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def mine(seconds: float = 30, comment: str = "ACK! mine", silence: str = "s1") -> Acknowledgement:
    return Acknowledgement(at(seconds), "me", comment, silence, at(3600))


def life(
    start: float = 0,
    seen: float | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = TEXTS,
    by: Acknowledgement | None = None,
    ended: float | None = None,
    told: bool = True,
    fingerprint: str | None = "am",
) -> Life:
    """Give a life that began, was seen and ended so many seconds after noon."""
    alert = Alert({**LABELS, **(labels or {})}, texts, at(start), fingerprint)
    end = None if ended is None else End(at(ended), told)
    last = ended if seen is None and ended is not None else seen
    return Life(alert, at(start if last is None else last), by, end)


@asynccontextmanager
async def store_of(database: Database, dsn: str | None = None, **settings: Any) -> AsyncIterator[Store]:
    given = {"dsn": dsn or database.server.dsn(database.name), **settings}
    store = Store(HistorySettings.model_validate(given), GRACE)
    try:
        yield store
    finally:
        await store.close()


async def tell(store: Store, *lives: Life, now: float = 0) -> tuple[Life, ...]:
    return (await store.exchange(lives, (), None, at(now))).unresolved


def rows(database: Database, columns: str = "*") -> list[dict[str, Any]]:
    query = f"SELECT {columns} FROM plimsoll.alert ORDER BY created_at, id"
    with database.connect() as session:
        session.execute("SET timezone = 'UTC'")
        return session.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def row(database: Database, columns: str = "*") -> dict[str, Any]:
    (only,) = rows(database, columns)
    return only


def spans(database: Database) -> list[tuple[float, float | None]]:
    """Give when each life began and ended, in seconds after noon."""
    return [
        (
            (each["created_at"] - T0).total_seconds(),
            each["resolved_at"] and (each["resolved_at"] - T0).total_seconds(),
        )
        for each in rows(database)
    ]


@pytest.fixture
async def store(newest_database: Database) -> AsyncIterator[Store]:
    async with store_of(newest_database) as store:
        yield store


@pytest.fixture
async def other(newest_database: Database) -> AsyncIterator[Store]:
    """Give what another relay writes the same history with."""
    async with store_of(newest_database) as store:
        yield store


# --- one life ---------------------------------------------------------------------------------------------


async def test_a_life_is_one_row_from_open_over_acknowledged_to_resolved(database: Database) -> None:
    async with store_of(database) as store:
        assert await tell(store, life(), now=1) == (life(),)
        told = {"acknowledged_by": None, "resolved_at": None, "auto_resolved": None, "updated_at": at(1)}
        assert row(database) == row(database) | {
            "status": "open",
            "title": "Full",
            "message": "It is full.",
            "threshold": "80",
            "actual_value": "81",
            "annotations": {"current": "81 GB"},
            "labels": LABELS,
            "category": "storage",
            "alertname": "A",
            "severity": "high",
            "organization": None,
            "alertmanager_fingerprint": "am",
            "fingerprint": life().alert.identity,
            "created_at": T0,
            "last_seen_at": T0,
            **told,
        }

        taken = life(seen=40, by=mine())
        assert await tell(store, taken, now=40) == (taken,)
        assert row(database) == row(database) | {
            "status": "acknowledged",
            "acknowledged_at": at(30),
            "acknowledged_by": "me",
            "acknowledged_comment": "ACK! mine",
            "silence_id": "s1",
            "acknowledged_until": at(3600),
            "updated_at": at(40),
        }

        assert await tell(store, life(ended=90, told=False), now=400) == ()
        assert row(database) == row(database) | {
            "status": "resolved",
            "resolved_at": at(90),
            "auto_resolved": True,
            "updated_at": at(400),
            "acknowledged_at": at(30),
            "acknowledged_by": "me",
            "acknowledged_comment": "ACK! mine",
        }


async def test_it_is_about_its_subject(newest_database: Database, store: Store) -> None:
    await tell(
        store, life(), life(labels={"datname": "x"}), life(labels={"server": "", "instance": "web:80"})
    )
    await tell(store, life(labels={"server": "", "team": "x"}))

    with newest_database.connect() as session:
        found = session.execute(
            "SELECT kind, name, count(*) FROM plimsoll.subject s JOIN plimsoll.alert a ON a.subject_id = s.id"
            " GROUP BY s.id, kind, name ORDER BY s.id"
        ).fetchall()
        subjects = session.execute("SELECT max(id) FROM plimsoll.subject").fetchone()

    assert found == [("host", "web", 1), ("server", "main", 2), ("plimsoll", "plimsoll", 1)]
    assert subjects == (3,), "numbers are used up"


async def test_undoing_an_acknowledgement_opens_it(newest_database: Database, store: Store) -> None:
    await tell(store, life(by=mine()))

    assert await tell(store, life(seen=60)) == (life(seen=60),)
    assert row(newest_database, "status, acknowledged_by, silence_id") == {
        "status": "open",
        "acknowledged_by": None,
        "silence_id": None,
    }


@pytest.mark.parametrize(
    ("row_by", "life_by"), [(mine(), None), (None, mine()), (mine(), mine(40, "ACK! x"))]
)
async def test_who_took_it_is_known_when_it_has_resolved(
    newest_database: Database, store: Store, row_by: Acknowledgement | None, life_by: Acknowledgement | None
) -> None:
    await tell(store, life(by=row_by))
    await tell(store, life(by=life_by, ended=90))

    expected = life_by or row_by
    assert expected
    assert row(newest_database, "status, acknowledged_at, acknowledged_comment") == {
        "status": "resolved",
        "acknowledged_at": expected.at,
        "acknowledged_comment": expected.comment,
    }


async def test_texts_and_severity_follow(newest_database: Database, store: Store) -> None:
    await tell(store, life())
    changed = life(
        seen=15,
        labels={"severity": "critical", "override": "x"},
        texts={"summary": "Fuller"},
        fingerprint="am2",
    )
    await tell(store, changed)

    assert row(newest_database) == row(newest_database) | {
        "severity": "critical",
        "labels": dict(changed.alert.labels),
        "alertmanager_fingerprint": "am2",
        "title": "Fuller",
        "message": None,
        "threshold": None,
        "actual_value": None,
        "annotations": {},
    }


async def test_who_knows_no_texts_leaves_those_that_are_known(
    newest_database: Database, store: Store
) -> None:
    await tell(store, life())
    await tell(store, life(seen=100, texts=None, fingerprint=None, labels={"severity": "low"}))

    assert row(newest_database) == row(newest_database) | {
        "title": "Full",
        "message": "It is full.",
        "annotations": {"current": "81 GB"},
        "alertmanager_fingerprint": "am",
        "severity": "low",
    }


async def test_texts_that_become_known_are_written(newest_database: Database, store: Store) -> None:
    bare = life(texts=None, fingerprint=None)
    assert await tell(store, bare) == (bare,)
    assert row(newest_database, "title, message, annotations") == {
        "title": "A",
        "message": None,
        "annotations": None,
    }

    assert await tell(store, life()) == (life(),)


async def test_the_earliest_start_counts(newest_database: Database, store: Store) -> None:
    for start in (10, -20, 5):
        await tell(store, life(start, seen=20))

    assert spans(newest_database) == [(-20, None)]


async def test_what_began_and_ended_between_two_looks_is_there(
    newest_database: Database, store: Store
) -> None:
    assert await tell(store, life(0, ended=5, by=mine(3))) == ()
    assert await tell(store, life(20), life(10, ended=15)) == (life(20),)

    assert spans(newest_database) == [(0, 5), (10, 15), (20, None)]
    assert rows(newest_database, "acknowledged_by")[0] == {"acknowledged_by": "me"}


async def test_an_earlier_life_that_is_told_late_is_a_row_of_its_own(
    newest_database: Database, store: Store, other: Store
) -> None:
    """Prometheus may have been away when the later one was seen."""
    await tell(store, life(100, ended=150))
    for teller in (other, store):
        assert await tell(teller, life(0, ended=50, told=False)) == ()
    assert await tell(other, life(90, ended=120)) == (), "that is the later one"

    assert spans(newest_database) == [(0, 50), (100, 150)]


async def test_nothing_ends_before_it_began(newest_database: Database, store: Store) -> None:
    for _ in range(2):
        await tell(store, life(0, ended=-5))

    assert spans(newest_database) == [(0, 0)]


async def test_an_end_before_the_row_began_is_that_of_another_life(
    newest_database: Database, store: Store
) -> None:
    await tell(store, life(100))

    assert await tell(store, life(0, ended=50)) == (life(100),)
    assert spans(newest_database) == [(0, 50), (100, None)]


# --- the same again ---------------------------------------------------------------------------------------


async def test_the_same_again_writes_nothing(database: Database) -> None:
    """Not even a dead row: what fires for weeks is told of every few seconds."""
    told = (life(by=mine()), life(labels={"datname": "x"}), life(labels={"datname": "y"}, ended=9))
    delivery = Delivery("ops", "msg_1", ("a", "b"), "delivered", 200, T0, 0.5)
    async with store_of(database) as store, store_of(database) as other:
        await other.exchange(told, [delivery], T0, at(0))
        before = written(database)
        for teller, now in ((store, 15), (store, 30), (other, 59)):
            again = [each if each.ended else dataclasses.replace(each, last_seen=at(now)) for each in told]
            await teller.exchange(again, [delivery], at(-now), at(now))

        assert written(database) == before
        await tell(store, life(seen=60, by=mine()), now=60)

    assert rows(database, "last_seen_at, updated_at") == [
        {"last_seen_at": at(60), "updated_at": at(0)},
        {"last_seen_at": at(0), "updated_at": at(0)},
        {"last_seen_at": at(9), "updated_at": at(0)},
    ]


def written(database: Database) -> list[Any]:
    """Give where each version of a row stands, and by whom it was written."""
    tables = ("subject", "alert", "delivery", "progress")
    query = " UNION ALL ".join(
        f"SELECT '{each}', ctid::text, xmin::text FROM plimsoll.{each}" for each in tables
    )
    with database.connect() as session:
        return session.execute(query.encode()).fetchall()


async def test_texts_that_change_with_each_look_leave_the_indexes_alone(database: Database) -> None:
    """What fires for weeks, with another value each time, would make them grow without end."""

    def lives(look: int) -> list[Life]:
        texts = {**TEXTS, "value": str(look), "description": f"It is {look} % full. " * 10}
        return [life(0, look, texts=texts, labels={"datname": str(number)}) for number in range(100)]

    async with store_of(database) as store:
        for look in range(6):
            await tell(store, *lives(look), now=look)

        async with store._link.transaction() as session:
            before = await rewritten(session)
            await write_lives(session, lives(6), store._limits, at(6))
            after = await rewritten(session)

    assert after == (before[0] + 100, before[1] + 100)


async def rewritten(session: Session) -> tuple[int, int]:
    """Give how many alerts this session has updated, and how many of them without telling an index."""
    cursor = await session.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'alert'"
    )
    updates, in_place = await cursor.fetchone() or (0, 0)
    return updates, in_place


async def test_what_is_remembered_can_be_told_again(
    newest_database: Database, store: Store, other: Store
) -> None:
    known = await tell(
        store, life(by=mine()), life(texts=None, labels={"a": "b"}), life(texts={}, labels={"a": "c"})
    )
    before = written(newest_database)

    assert await tell(other, *known) == known
    assert written(newest_database) == before


async def test_lives_in_any_number(newest_database: Database, store: Store) -> None:
    lives = [life(labels={"datname": str(number)}) for number in range(2100)]

    assert set(map(identity, await tell(store, *lives))) == set(map(identity, lives))
    assert await tell(store, *(dataclasses.replace(each, ended=End(at(5), True)) for each in lives)) == ()
    assert {each["status"] for each in rows(newest_database)} == {"resolved"}


async def test_a_backlog_is_written_in_portions(
    newest_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one transaction has not the time for must not be tried for ever."""
    monkeypatch.setattr(history_store, "_MOST", 2)
    await tell(store)
    lives = [life(number, ended=number + 5) for number in range(0, 50, 10)]

    assert await tell(store, life(50), *reversed(lives)) == (life(50),)
    assert spans(newest_database) == [*((start, start + 5) for start in range(0, 50, 10)), (50, None)]
    with newest_database.connect() as session:
        transactions = session.execute("SELECT count(DISTINCT xmin::text) FROM plimsoll.alert").fetchone()
    assert transactions == (3,)


async def test_what_another_resolved_is_told_again_with_the_next_look(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life())
    await tell(other, life(ended=10, told=False))

    for now in (GRACE + 11, GRACE + 26):
        await tell(store, life(seen=now))

    assert spans(newest_database) == [(0, None)]


def identity(life: Life) -> str:
    return life.alert.identity


# --- two relays -------------------------------------------------------------------------------------------


async def test_two_that_start_at_once_on_nothing_make_one_row(
    newest_database: Database, store: Store, other: Store
) -> None:
    await asyncio.gather(
        *(tell(each, life(start)) for each, start in ((store, 0), (other, -1)) for _ in "ab")
    )

    assert spans(newest_database) == [(-1, None)]


async def test_one_that_is_late_does_not_open_what_is_over(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life(0))
    assert await tell(store, life(0, ended=100)) == ()

    assert await tell(other, life(-5, seen=100 + GRACE)) == ()
    assert spans(newest_database) == [(0, 100)]


async def test_what_was_resolved_wrongly_is_opened_again(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life(0, by=mine()))
    await tell(store, life(0, ended=100, told=False))

    still = life(-5, seen=101 + GRACE, by=mine())
    assert await tell(other, still, now=500) == (still,)
    assert row(newest_database, "status, auto_resolved, updated_at, acknowledged_by") == {
        "status": "acknowledged",
        "auto_resolved": None,
        "updated_at": at(500),
        "acknowledged_by": "me",
    }
    assert spans(newest_database) == [(-5, None)]


async def test_a_new_life_is_a_row_of_its_own(newest_database: Database, store: Store, other: Store) -> None:
    await tell(store, life(0, ended=100))

    assert await tell(other, life(101)) == (life(101),)
    assert spans(newest_database) == [(0, 100), (101, None)]


async def test_one_that_missed_a_gap_does_not_close_it(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life(0, ended=100))
    await tell(store, life(200))

    await tell(other, life(0, seen=150, labels={"severity": "low"}))
    assert rows(newest_database, "severity")[1] == {"severity": "high"}, "that was of the life before"
    await tell(other, life(0, seen=1000, labels={"severity": "critical"}))
    assert rows(newest_database, "severity")[1] == {"severity": "critical"}
    assert spans(newest_database) == [(0, 100), (200, None)]
    await tell(other, life(0, ended=1100))
    assert spans(newest_database) == [(0, 100), (200, 1100)]


async def test_both_tell_the_same_end(newest_database: Database, store: Store, other: Store) -> None:
    await asyncio.gather(*(tell(each, life(0, ended=100)) for each in (store, other)))
    await tell(other, life(0, ended=130, told=False))

    assert spans(newest_database) == [(0, 100)]


async def test_a_notice_knows_better_than_a_conclusion(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life(0, ended=100, told=False))
    await tell(other, life(0, ended=90, told=True))

    assert spans(newest_database) == [(0, 90)]
    assert row(newest_database, "auto_resolved") == {"auto_resolved": False}


async def test_an_end_that_was_concluded_far_too_early_is_moved(
    newest_database: Database, store: Store, other: Store
) -> None:
    await tell(store, life(0, ended=100, told=False))
    await tell(other, life(0, ended=1000, told=False))

    assert spans(newest_database) == [(0, 1000)]


async def test_what_was_seen_earlier_does_not_undo_what_was_seen_later(
    newest_database: Database, store: Store, other: Store
) -> None:
    newest = life(0, seen=100, by=mine(), labels={"severity": "critical"}, texts={"summary": "New"})
    await tell(store, newest)

    assert await tell(other, life(-10, seen=99, fingerprint="old")) == (
        dataclasses.replace(newest, alert=dataclasses.replace(newest.alert, starts_at=at(-10))),
    )


# --- deliveries and progress ------------------------------------------------------------------------------


async def test_deliveries_are_written_once(newest_database: Database, store: Store) -> None:
    first = Delivery("ops", "msg_1", ("a", "b"), "failed", 500, T0, 0.25)
    retry = first._replace(result="unreachable", http_status=None, attempted_at=at(1), identities=())

    await store.exchange((), [first], None, T0)
    await store.exchange((), [first, retry], None, T0)

    with newest_database.connect() as session:
        found = session.execute(
            "SELECT receiver, webhook_id, fingerprints, result, http_status, duration_seconds, attempted_at"
            " FROM plimsoll.delivery ORDER BY id"
        ).fetchall()
    assert found == [
        ("ops", "msg_1", ["a", "b"], "failed", 500, 0.25, T0),
        ("ops", "msg_1", [], "unreachable", None, 0.25, at(1)),
    ]


async def test_progress_never_goes_back(store: Store, other: Store) -> None:
    assert (await store.exchange((), (), None, T0)).covered_until is None
    for each, told, expected in ((store, 10, 10), (other, 5, 10), (other, 20, 20), (store, None, 20)):
        moment = None if told is None else at(told)
        assert await each.exchange((), (), moment, T0) == Remembered((), at(expected), {})


async def test_what_a_clock_wrote_that_was_ahead_is_mended(store: Store, newest_database: Database) -> None:
    year = 365 * 86400
    await store.exchange([life(seen=year)], (), at(year), at(year))

    known = await store.exchange([life(seen=60, texts={"summary": "newer"})], (), at(60), at(60))

    assert known.covered_until == at(60)
    assert row(newest_database, "title, last_seen_at") == {"title": "newer", "last_seen_at": at(60)}


async def test_the_ends_of_the_last_quarter_of_an_hour_are_remembered(store: Store, other: Store) -> None:
    lives = [life(ended=10), life(20, ended=30), life(ended=2000, labels={"datname": "later"})]
    await store.exchange(lives, (), at(100), T0)
    keys = [each.alert.identity for each in lives]

    assert (await other.exchange((), (), None, T0)).ended == {keys[0]: at(30), keys[2]: at(2000)}
    assert (await other.exchange((), (), at(1000), T0)).ended == {keys[2]: at(2000)}


# --- pruning ----------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes(database: Database) -> None:
    day = 86400
    async with store_of(database, retention="1d") as store:
        lives = [life(number, ended=number, labels={"datname": str(number)}) for number in range(-1500, 500)]
        open_one = life(-90 * day)
        taken = life(-90 * day, by=mine(), labels={"datname": "taken"})
        deliveries = [Delivery("ops", f"m{s}", (), "delivered", 200, at(s), 0) for s in (-1, 0)]
        await store.exchange([*lives, open_one, taken], deliveries, None, T0)

        assert await store.prune(at(day)) == 1500 + 1
        assert await store.prune(at(day)) == 0
        assert len(await tell(store)) == 2

    assert min(each["resolved_at"] for each in rows(database) if each["resolved_at"]) == at(0)


async def test_of_too_many_the_newest_stay(newest_database: Database) -> None:
    async with store_of(newest_database, keep=3) as store:
        lives = [life(labels={"datname": str(number)}, ended=number) for number in range(10)]
        still = [life(-number, labels={"datname": f"open {number}"}) for number in range(5)]
        deliveries = [
            Delivery("ops", f"m{number}", (), "delivered", 200, at(number), 0) for number in range(5)
        ]
        await store.exchange([*lives, *still], deliveries, None, T0)

        assert await store.prune(at(GRACE + 100)) == 7 + 2
        assert len(await tell(store)) == 5

    ended = [end for _, end in spans(newest_database) if end is not None]
    assert sorted(ended) == [7, 8, 9]


async def test_what_resolved_within_the_grace_stays_so_that_nobody_brings_it_back(
    newest_database: Database,
) -> None:
    async with store_of(newest_database, keep=1) as store:
        await tell(store, *(life(labels={"datname": str(end)}, ended=end) for end in (10, 20, 30)))

        assert await store.prune(at(GRACE + 10)) == 0
        assert await store.prune(at(GRACE + 21)) == 2
    assert spans(newest_database) == [(0, 30)]


async def test_retention_longer_than_time_keeps_all(newest_database: Database) -> None:
    async with store_of(newest_database, retention="9999y") as store:
        await tell(store, life(ended=5))
        assert await store.prune(at(10_000)) == 0


# --- hostile texts ----------------------------------------------------------------------------------------

HOSTILE = [
    "'; DROP TABLE plimsoll.alert; --",
    "%s %(now)s {}",
    "a\0b",
    "\ud800",
    "😀",
    "\\u0000",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_any_text_is_kept_or_made_harmless(database: Database, text: str) -> None:
    odd = Acknowledgement(T0, text, text, text, None)
    hostile = Life(
        Alert(
            {**LABELS, "server": text, text: text},
            {"summary": text, "description": text, text: text},
            T0,
            text,
        ),
        T0,
        odd,
    )
    kept = text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")
    async with store_of(database) as store:
        (known,) = await tell(store, hostile)
        assert (known.alert.identity, known.alert.labels[kept]) == (hostile.alert.identity, kept)
        assert known.alert.annotations == {"summary": kept, "description": kept, kept: kept}
        before = written(database)
        for again in (hostile, known):
            async with store_of(database) as other:
                await tell(other, again)
        assert written(database) == before
        await store.exchange((), [Delivery(text, text, (text,), text, None, T0, 0)], None, T0)
        assert await tell(store, dataclasses.replace(hostile, ended=End(at(5), True))) == ()

    assert len(row(database)["title"]) <= 255


async def test_an_alert_without_a_name_or_severity_harms_nobody(
    newest_database: Database, store: Store
) -> None:
    foreign = Life(Alert({"team": "x", "severity": "page"}, {}, T0), T0)

    assert await tell(store, foreign) == (foreign,)
    assert row(newest_database, "alertname, severity, category, labels") == {
        "alertname": "(no name)",
        "severity": "unknown",
        "category": None,
        "labels": {"team": "x", "severity": "page"},
    }


# --- trouble ----------------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_is_found_again(own_postgres: OwnPostgres) -> None:
    server = own_postgres()
    async with store_of(Database(server, "postgres")) as store:
        await tell(store, life())
        server.stop()
        for _ in range(2):
            with pytest.raises(HistoryError):
                await tell(store, life(labels={"severity": "low"}))
        server.start()

        assert await tell(store, life(seen=60)) == (life(seen=60),)
        server.stop()
        server.start()
        assert await tell(store, life(seen=120)) == (life(seen=120),), "a connection that died is not missed"


async def test_a_table_that_is_held_is_given_up_and_nothing_is_written(
    newest_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_LOCK_TIMEOUT", 0.3)
    await tell(store, life())
    with newest_database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE plimsoll.alert")
        began = time.monotonic()
        with pytest.raises(HistoryError, match="canceling statement due to lock timeout"):
            await store.exchange([life(labels={"datname": "x"})], (), at(5), T0)
        assert time.monotonic() - began < Link.patience

    assert await store.exchange((), (), None, T0) == Remembered((life(),), None, {})


async def test_a_server_that_says_nothing_is_given_up_in_time(
    newest_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Link.patience == 10
    server = newest_database.server
    with proxy_to(server.port) as proxy:
        dsn = newest_database.dsn().replace(f":{server.port}/", f":{proxy.port}/")
        with newest_database.connect() as session:
            session.execute("CREATE SCHEMA plimsoll AUTHORIZATION plimsoll")
        async with store_of(newest_database, dsn) as store:
            await tell(store, life())
            monkeypatch.setattr(Link, "patience", 1)
            proxy.hold()
            began = time.monotonic()
            with pytest.raises(HistoryError, match="the database did not answer within 1 s"):
                await tell(store, life(labels={"datname": "x"}))
            assert time.monotonic() - began < 5
            proxy.cut()
            monkeypatch.undo()

            assert await tell(store, life()) == (life(),)


async def test_pruning_lets_others_write_in_between(newest_database: Database) -> None:
    async with store_of(newest_database, retention="1h") as store:
        lives = [life(labels={"datname": str(number)}, ended=1) for number in range(2500)]
        await tell(store, *lives)

        deleted, unresolved = await asyncio.gather(store.prune(at(10_000)), tell(store, life()))

    assert (deleted, unresolved) == (2500, (life(),))


async def test_an_error_says_what_is_wrong_and_no_secret(newest_database: Database) -> None:
    dsn = newest_database.dsn()
    with newest_database.connect() as session:
        session.execute("CREATE SCHEMA plimsoll AUTHORIZATION plimsoll")
        session.execute("CREATE TABLE plimsoll.alert ()")
    async with store_of(newest_database, dsn) as store:
        with pytest.raises(HistoryError) as raised:
            await tell(store)
    assert str(raised.value) == 'relation "alert" already exists'

    wrong = dsn.replace("plimsoll:", "plimsoll:not-")
    async with store_of(newest_database, wrong) as store:
        with pytest.raises(HistoryError, match="password authentication failed") as raised:
            await tell(store)
    assert "not-" not in str(raised.value)


async def test_going_back_says_what_keeps_it(newest_database: Database, store: Store) -> None:
    await tell(store)
    with newest_database.connect() as session:
        session.execute("CREATE VIEW public.mine AS SELECT * FROM plimsoll.alert")

    with pytest.raises(HistoryError, match=r"other objects depend on it: view \S*mine depends on table"):
        await store.migrate(0)
    assert await store.migrate(1) == (2, 1)


async def test_nothing_stays_on_the_session(newest_database: Database, store: Store) -> None:
    """A pooler would hand it to the next client."""
    await tell(store, life())

    async with store._link.transaction() as session:
        await session.execute("COMMIT")
        cursor = await session.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('jit'), current_setting('application_name'),"
            " (SELECT count(*) FROM pg_prepared_statements)"
        )
        assert await cursor.fetchone() == ("0", "0", "on", "plimsoll relay", 0)
        await session.execute("BEGIN")


@pytest.fixture
def berlin(newest_postgres: PostgresServer) -> Iterator[Database]:
    for database in fresh_database(newest_postgres):
        with database.connect() as session:
            session.execute(f"ALTER DATABASE {database.name} SET TimeZone = 'Europe/Berlin'".encode())
            session.execute(f"ALTER DATABASE {database.name} SET DateStyle = 'German'".encode())
        yield database


async def test_times_are_utc_wherever_the_server_stands(berlin: Database) -> None:
    async with store_of(berlin) as store:
        (known,) = await tell(store, life(by=mine()))

    assert known == life(by=mine())
    assert known.acknowledgement
    assert {known.last_seen.tzinfo, known.alert.starts_at.tzinfo, known.acknowledgement.at.tzinfo} == {UTC}
