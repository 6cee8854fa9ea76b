"""Reading about many objects costs few statements, and one bad object costs only itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.serve.sources.batches import Budget, Pace, read_in_batches, read_in_time
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import PostgresError, Reason, StatementRefusedError


class Server:
    """Refuses every statement about one of its culprits, and keeps count."""

    def __init__(self, culprits: dict[int, Reason], lost_at: int | None = None) -> None:
        self.culprits = culprits
        self.lost_at = lost_at
        self.batches: list[list[int]] = []

    async def read(self, oids: Sequence[int]) -> list[Row]:
        self.batches.append(list(oids))
        if self.lost_at in oids:
            raise PostgresError("the connection is lost")
        for oid in oids:
            if oid in self.culprits:
                raise StatementRefusedError("refused", self.culprits[oid])
        return [(oid, oid * 8192) for oid in oids]


def rows(oids: Sequence[int]) -> list[Row]:
    return [(oid, oid * 8192) for oid in oids]


async def test_a_batch_is_one_statement() -> None:
    server = Server({})

    got = await read_in_batches(range(1200), 500, server.read)

    assert got == (rows(range(1200)), {})
    assert [len(batch) for batch in server.batches] == [500, 500, 200]


async def test_nothing_to_read_is_no_statement() -> None:
    server = Server({})

    assert await read_in_batches([], 500, server.read) == ([], {})
    assert not server.batches


@pytest.mark.parametrize("culprit", [0, 1, 249, 250, 333, 499])
async def test_one_culprit_among_many_is_alone_in_the_end(culprit: int) -> None:
    server = Server({culprit: "locked"})

    read, refused = await read_in_batches(range(500), 500, server.read)

    assert refused == {culprit: "locked"}
    assert read == rows([oid for oid in range(500) if oid != culprit])
    assert [culprit] in server.batches
    assert len(server.batches) <= 1 + 2 * math.ceil(math.log2(500))


async def test_every_culprit_has_its_own_reason() -> None:
    server = Server({3: "locked", 4: "denied", 400: "timeout"})

    _, refused = await read_in_batches(range(500), 500, server.read)

    assert refused == {3: "locked", 4: "denied", 400: "timeout"}


@settings(deadline=None)
@given(count=st.integers(0, 100), size=st.integers(1, 40), culprits=st.sets(st.integers(0, 99)))
async def test_everything_is_either_read_or_refused(count: int, size: int, culprits: set[int]) -> None:
    server = Server(dict.fromkeys(culprits, "denied"))

    read, refused = await read_in_batches(range(count), size, server.read)

    here = {oid for oid in culprits if oid < count}
    assert refused.keys() == here
    assert read == rows([oid for oid in range(count) if oid not in here])
    assert len(server.batches) <= math.ceil(count / size) + 2 * len(here) * math.ceil(math.log2(size))


async def test_a_lost_connection_ends_it() -> None:
    server = Server({3: "locked"}, lost_at=700)

    with pytest.raises(PostgresError, match="the connection is lost"):
        await read_in_batches(range(1500), 500, server.read)
    assert 1400 not in [oid for batch in server.batches for oid in batch]


class SlowServer(Server):
    """Takes its time for each object, on a clock that the test has set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        super().__init__({})
        self.now = 1000.0
        self.seconds = seconds
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    async def read(self, oids: Sequence[int]) -> list[Row]:
        self.now += self.seconds * len(oids)
        return await super().read(oids)


async def test_where_objects_take_long_a_statement_is_about_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch, 0.05)

    await read_in_batches(range(200), 100, server.read)

    assert [len(batch) for batch in server.batches] == [100, 20, 20, 20, 20, 20]


async def test_the_pace_is_kept_and_quickens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch, 0.5)
    pace = Pace(100)
    await read_in_time(range(104), pace, server.read, Budget())
    assert [len(batch) for batch in server.batches] == [100, 2, 2]

    server.seconds = 0.001
    server.batches.clear()
    await read_in_time(range(200), pace, server.read, Budget())
    assert [len(batch) for batch in server.batches] == [2, 4, 8, 16, 32, 64, 74]


async def test_what_time_does_not_suffice_for_is_left_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch, 0.1)

    read, refused, left = await read_in_time(range(100), Pace(20), server.read, Budget(3.5))

    assert (len(read), refused) == (40, {})
    assert left == list(range(40, 100))
    assert [len(batch) for batch in server.batches] == [20, 10, 10]


async def test_halves_that_time_does_not_suffice_for_are_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer(monkeypatch, 0.1)
    server.culprits = {3: "timeout"}

    read, refused, left = await read_in_time(range(8), Pace(8), server.read, Budget(1.1))

    assert (len(read), refused) == (0, {})
    assert sorted(left) == [0, 1, 2, 3, 4, 5, 6, 7]
