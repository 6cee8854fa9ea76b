"""Compares passwords with bcrypt hashes, so that neither time nor load tells or costs much."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

_LONGEST = 72
"""Bytes of a password that bcrypt looks at."""

_WAITING = 32
_WAITING_EACH = 8
"""How many passwords may wait for their turn, of all clients and of one address."""

_REMEMBERED = 1024


class BusyError(RuntimeError):
    """Too many passwords wait already."""


class Passwords:
    """Knows the last results by a keyed hash; computes others one at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._good, self._wrong = _Recent(), _Recent()
        self._thread = ThreadPoolExecutor(1, "password")
        self._comparing: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()

    async def accept(self, users: Mapping[str, str], user: str, password: bytes, address: str) -> bool:
        """Say whether `password` is that of `user`.

        Args:
            users: bcrypt hashes by name.
            user: who the client says it is.
            password: what it shows for that.
            address: where it comes from; one address alone cannot make the others wait.

        Raises:
            BusyError: too many wait already, and nobody knows the answer yet.
        """
        hashed = users.get(user) or _dummy(users)
        attempt = self._digest(user, hashed, password)
        if attempt in self._good:
            return True
        if attempt in self._wrong:
            return False
        if attempt not in self._comparing:
            self._compare(attempt, hashed, password, address)
        return await asyncio.shield(self._comparing[attempt]) and user in users

    def close(self) -> None:
        """Abandon what waits."""
        for future in self._comparing.values():
            future.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _compare(self, attempt: bytes, hashed: str, password: bytes, address: str) -> None:
        if self._waiting.total() >= _WAITING or self._waiting[address] >= _WAITING_EACH:
            raise BusyError
        self._waiting[address] += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, matches, password, hashed)
        self._comparing[attempt] = future

        def compared(done: asyncio.Future[bool]) -> None:
            del self._comparing[attempt]
            self._waiting.subtract([address])
            self._waiting += Counter()  # which drops those that are 0
            if not done.cancelled():
                (self._good if done.result() else self._wrong).add(attempt)

        future.add_done_callback(compared)

    def _digest(self, user: str, hashed: str, password: bytes) -> bytes:
        """Name an attempt so that memory holds no password, and none can be tried against what it holds."""
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (user.encode(), hashed.encode(), password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


class _Recent:
    """The digests that were asked for last."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        if digest not in self._digests:
            return False
        self._digests.move_to_end(digest)
        return True

    def add(self, digest: bytes) -> None:
        self._digests[digest] = None
        if len(self._digests) > _REMEMBERED:
            self._digests.popitem(last=False)


def matches(password: bytes, hashed: str) -> bool:
    """Compare; what bcrypt would cut off or refuse is wrong, and takes as long to be found wrong."""
    fits = len(password) <= _LONGEST and b"\0" not in password
    same = bcrypt.checkpw(password[:_LONGEST].replace(b"\0", b""), hashed.encode())
    return fits and same


def _dummy(users: Mapping[str, str]) -> str:
    """Give a hash that no password has, as costly as the costliest, for a user who does not exist."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${'.' * 53}"
