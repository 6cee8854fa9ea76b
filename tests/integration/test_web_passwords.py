"""Passwords of `--web.config.file` on real sockets: good, bad, odd, and a thousand wrong ones at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from fix_fake_engine import until
from fix_web import HOST, Protected, get, hashed
from plimsoll.web import passwords

ADA, GRACE = ("ada", "lovelace"), ("grace", "hopper ⚓: and a colon")
FLOOD = 1000
EACH = 8
"""How many passwords from one address may wait."""
ALL = 32
"""How many may wait."""


def basic(user: str, password: str | bytes, scheme: str = "Basic") -> dict[str, str]:
    known = password if isinstance(password, bytes) else password.encode()
    return {"Authorization": f"{scheme} {base64.b64encode(user.encode() + b':' + known).decode()}"}


@pytest.fixture
def server(tmp_path: Path) -> Protected:
    return Protected(tmp_path, dict([ADA, GRACE]))


class Comparisons:
    """Counts comparisons with bcrypt, which wait while the gate is closed."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._matches = passwords.matches

    def __call__(self, password: bytes, against: str) -> bool:
        self.hashes.append(against)
        assert self.gate.wait(60)
        return self._matches(password, against)


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comparisons]:
    counting = Comparisons()
    monkeypatch.setattr(passwords, "matches", counting)
    yield counting
    counting.gate.set()


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
@pytest.mark.parametrize("user", [ADA, GRACE], ids=lambda user: user[0])
async def test_a_user_gets_an_answer(server: Protected, user: tuple[str, str], scheme: str) -> None:
    async with server.listening() as url:
        assert await get(url, headers=basic(*user, scheme)) == (200, "Hello")


@pytest.mark.parametrize("hashed_by", ["2a", "2y"])
async def test_a_hash_may_be_of_another_program(server: Protected, hashed_by: str) -> None:
    server.admit({"ada": hashed("lovelace").replace("$2b$", f"${hashed_by}$")})
    async with server.listening() as url:
        assert (await get(url, headers=basic(*ADA)))[0] == 200
        assert (await get(url, headers=basic("ada", "wrong")))[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ada", ""),
        basic("ada", "Lovelace"),
        basic("ada", GRACE[1]),
        basic("Ada", "lovelace"),
        basic("nobody", "lovelace"),
        basic("", "lovelace"),
        basic("", ""),
        basic("ada", "lovelace\0"),
        basic("ada", b"\xff\xfe"),
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic "},
        {"Authorization": "Basic !!!!"},
        {"Authorization": "Basic YWRh"},  # ada, and no colon
        {"Authorization": "Basic YWRhOmxvdmVsYWN"},  # cut off
        {"Authorization": "Basic /zpsb3ZlbGFjZQ=="},  # no UTF-8
        {"Authorization": "Basic é"},
        {"Authorization": basic(*ADA)["Authorization"].removeprefix("Basic ")},
        basic(*ADA, scheme="Bearer"),
        basic(*ADA, scheme="Digest"),
    ],
    ids=str,
)
async def test_anybody_else_is_asked_for_a_password(server: Protected, headers: dict[str, str]) -> None:
    async with (
        server.listening() as url,
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as response,
    ):
        assert (response.status, await response.text()) == (401, "Unauthorized\n")
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")


async def test_what_bcrypt_would_cut_off_counts(server: Protected, comparisons: Comparisons) -> None:
    server.admit({"ada": hashed("x" * 72)})
    async with server.listening() as url:
        assert (await get(url, headers=basic("ada", "x" * 72)))[0] == 200
        assert (await get(url, headers=basic("ada", "x" * 73)))[0] == 401
        assert (await get(url, headers=basic("ada", "x" * 5000)))[0] == 401
    assert len(comparisons.hashes) == 3  # they take as long as others


async def test_results_are_remembered(server: Protected, comparisons: Comparisons) -> None:
    async with server.listening() as url:
        for _ in range(3):
            assert (await get(url, headers=basic(*ADA)))[0] == 200
            assert (await get(url, headers=basic("ada", "wrong")))[0] == 401
            assert (await get(url, headers=basic("nobody", "lovelace")))[0] == 401
    assert len(comparisons.hashes) == 3


async def test_the_same_question_is_compared_once(server: Protected, comparisons: Comparisons) -> None:
    comparisons.gate.clear()
    async with server.listening() as url:
        asked = [asyncio.create_task(get(url, headers=basic(*ADA))) for _ in range(20)]
        await until(lambda: comparisons.hashes)
        comparisons.gate.set()
        assert await asyncio.gather(*asked) == [(200, "Hello")] * 20
    assert len(comparisons.hashes) == 1


async def test_an_unknown_user_costs_what_the_costliest_known_one_does(
    server: Protected, comparisons: Comparisons
) -> None:
    server.admit({"ada": hashed("lovelace", 4), "grace": hashed("hopper", 6)})
    async with server.listening() as url:
        assert (await get(url, headers=basic("nobody", "lovelace")))[0] == 401
    (against,) = comparisons.hashes
    assert against.startswith("$2b$06$")
    assert not passwords.matches(b"lovelace", against)


async def test_changed_users_are_followed(server: Protected) -> None:
    async with server.listening() as url:
        assert (await get(url, headers=basic(*ADA)))[0] == 200
        server.admit({"ada": hashed("byron"), "new": hashed("user")})
        assert (await get(url, headers=basic(*ADA)))[0] == 401
        assert (await get(url, headers=basic("ada", "byron")))[0] == 200
        assert (await get(url, headers=basic(*GRACE)))[0] == 401
        assert (await get(url, headers=basic("new", "user")))[0] == 200


async def test_passwords_can_be_turned_on_but_not_off(tmp_path: Path) -> None:
    server = Protected(tmp_path)
    async with server.listening() as url:
        assert (await get(url))[0] == 200
        server.admit({"ada": hashed("lovelace")})
        assert (await get(url))[0] == 401
        server.admit({})
        assert (await get(url))[0] == 401
        assert (await get(url, headers=basic(*ADA)))[0] == 200


# --- many wrong passwords ----------------------------------------------------------------------------------


async def status(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> int:
    async with session.get(url, headers=headers) as response:
        return response.status


def clients(address: str = HOST) -> aiohttp.ClientSession:
    """Give clients at an address of this machine."""
    connector = aiohttp.TCPConnector(limit=100, local_addr=(address, 0))
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60))


async def test_good_requests_do_not_wait_for_a_thousand_wrong_ones(
    server: Protected, comparisons: Comparisons
) -> None:
    """No comparison ends while the good requests come: whoever waited for one would wait for ever."""
    async with server.listening() as url, clients() as session:
        assert await status(session, url, basic(*ADA)) == 200
        comparisons.gate.clear()
        flood = [
            asyncio.create_task(status(session, url, basic("ada", f"wrong {number}")))
            for number in range(FLOOD)
        ]
        async with asyncio.timeout(60):
            for _ in range(50):
                assert (await get(url, headers=basic(*ADA)))[0] == 200
        await until(lambda: sum(task.done() for task in flood) == FLOOD - EACH)
        comparisons.gate.set()
        answers = Counter(await asyncio.gather(*flood))

    assert answers == {429: FLOOD - EACH, 401: EACH}  # the others were sent away at once
    assert len(comparisons.hashes) == 1 + EACH


async def test_a_thousand_wrong_passwords_at_the_usual_cost(
    server: Protected, comparisons: Comparisons
) -> None:
    server.admit({"ada": hashed("lovelace", 10)})
    async with server.listening() as url, clients() as session:
        assert await status(session, url, basic(*ADA)) == 200
        wrong = [status(session, url, basic("nobody", f"wrong {number}")) for number in range(FLOOD)]
        good = [get(url, headers=basic(*ADA)) for _ in range(20)]
        answers, pages = await asyncio.gather(asyncio.gather(*wrong), asyncio.gather(*good))

    assert pages == [(200, "Hello")] * 20
    assert set(answers) == {401, 429}
    assert len(comparisons.hashes) == 1 + answers.count(401)


async def test_one_address_leaves_places_to_others(server: Protected, comparisons: Comparisons) -> None:
    comparisons.gate.clear()
    async with server.listening() as url, clients() as here, clients("127.0.0.2") as there:
        wrong = [asyncio.create_task(status(here, url, basic("ada", f"wrong {n}"))) for n in range(EACH + 3)]
        await until(lambda: sum(task.done() for task in wrong) == 3)
        good = asyncio.create_task(status(there, url, basic(*ADA)))
        assert await status(here, url, basic(*ADA)) == 429  # until somebody knows that it is good
        comparisons.gate.set()
        assert await good == 200
        assert Counter(await asyncio.gather(*wrong)) == {429: 3, 401: EACH}
        assert await status(here, url, basic(*ADA)) == 200


async def test_there_are_places_for_so_many(server: Protected, comparisons: Comparisons) -> None:
    comparisons.gate.clear()
    addresses = [f"127.0.0.{number}" for number in range(1, ALL // EACH + 1)]
    async with server.listening() as url, contextlib.AsyncExitStack() as stack:
        asked: list[asyncio.Task[int]] = []
        for address in addresses:
            session = await stack.enter_async_context(clients(address))
            wrong = [basic("ada", f"{address} {number}") for number in range(EACH + 1)]
            asked += [asyncio.create_task(status(session, url, headers)) for headers in wrong]
        await until(lambda: sum(task.done() for task in asked) == len(addresses))  # who found no place
        late = await stack.enter_async_context(clients("127.0.0.99"))
        async with late.get(url, headers=basic(*ADA)) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
        comparisons.gate.set()
        assert Counter(await asyncio.gather(*asked)) == {429: len(addresses), 401: ALL}


async def test_stopping_abandons_what_waits(
    server: Protected, comparisons: Comparisons, caplog: pytest.LogCaptureFixture
) -> None:
    comparisons.gate.clear()
    async with server.listening() as url, clients() as session:
        waiting = [asyncio.create_task(status(session, url, basic("ada", str(n)))) for n in range(EACH)]
        await until(lambda: comparisons.hashes)
        for task in waiting:
            task.cancel()
    comparisons.gate.set()
    await until(lambda: not any(thread.name.startswith("password") for thread in threading.enumerate()))

    assert len(comparisons.hashes) == 1  # which was under way; the others never began
    assert caplog.records == []
