"""One receiver: how a notification is handed to it, and what came of that."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from plimsoll import __version__
from plimsoll.relay.forwarding.places import Places
from plimsoll.relay.settings import OwnSettings, Receiver
from plimsoll.relay.signing import signed

RESULTS = (*("delivered", "refused", "redirected", "throttled", "failed", "timeout", "unreachable", "busy"),)
"""What can come of a delivery."""

WAITING_LIMIT = 100
"""Deliveries that wait for a place with one receiver; more are refused at once, and Alertmanager retries."""

_IDLE_SECONDS = 4.0
"""How long a connection is kept; common servers close theirs after 5 s, and a post could meet that."""

_READ, _SHOWN = 4096, 300
"""Bytes of an answer that are read, and characters of it that are shown."""

_LAST_WORDS = 1.0
"""Seconds for the body of an answer, whose status says it all."""

_SHORTEST_SECRET = 6
"""Characters of a part of a URL or header that is not shown; shorter ones are words like `v1`."""

_PLAIN = re.compile(r"[\x20-\x7e]{1,100}")


class Post(NamedTuple):
    """What is handed over: the very bytes, what they are, and the notification's identity."""

    body: bytes
    content_type: str
    webhook_id: str


class Outcome(NamedTuple):
    """How a post ended.

    `status` is that of the answer, None where there was none; `said` is for people, and without secrets;
    `retry_after` is the header of that name.
    """

    result: str
    status: int | None
    seconds: float
    said: str
    retry_after: str | None = None

    @property
    def answer(self) -> int:
        """What Alertmanager is told: it retries a 5xx soon, and anything else with the next flush only."""
        match self.result:
            case "delivered":
                return HTTPStatus.OK
            case "refused":
                return self.status or HTTPStatus.BAD_REQUEST
            case "throttled" | "busy":
                return HTTPStatus.SERVICE_UNAVAILABLE
            case "timeout":
                return HTTPStatus.GATEWAY_TIMEOUT
            case _:
                return HTTPStatus.BAD_GATEWAY


def client_session() -> aiohttp.ClientSession:
    """Give a session for all receivers: no cookies, nothing from the environment, no limit but each one's."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
    )


class Destination:
    """A receiver that is posted to.

    Args:
        session: sends the posts.
        settings: where to, signed with what, with which headers.
        limits: how many at once, and for how long.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Receiver, limits: OwnSettings) -> None:
        self._session = session
        self._places = Places(limits.max_in_flight, WAITING_LIMIT)
        self.under_way = 0
        """Posts that have not ended."""
        self.follow(settings, limits)

    def follow(self, settings: Receiver, limits: OwnSettings) -> None:
        """Work by other settings; what is under way goes on by the former ones."""
        self.settings = settings
        self._limits = limits
        self._places.resize(limits.max_in_flight)

    def place(self) -> AbstractAsyncContextManager[None]:
        """Hold a place, which is waited for as long as a delivery may take.

        Raises:
            NoPlaceError: there is none.
        """
        return self._places.take(self._limits.timeout)

    async def send(self, post: Post) -> Outcome:
        """Post, signed as of now, and say how it ended. Who calls this holds a place."""
        began = time.monotonic()
        self.under_way += 1
        try:
            result, status, said, retry_after = await self._sent(post)
        finally:
            self.under_way -= 1
        return Outcome(result, status, time.monotonic() - began, said, retry_after)

    async def _sent(self, post: Post) -> tuple[str, int | None, str, str | None]:
        limits = self._limits  # it may be another when it ends
        try:
            hidden = self._hidden()
            async with self._request(post) as response:
                words = _censored(await _words(response), hidden)
                said = f"answered {response.status}" + (f": {words}" if words else "")
                return _result(response.status), response.status, said, _patience(response)
        except TimeoutError as error:
            return "timeout", None, _missed(error, limits), None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return "unreachable", None, _reason(error), None

    def _request(self, post: Post) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        limits = aiohttp.ClientTimeout(total=self._limits.timeout, connect=self._limits.connect_timeout)
        return self._session.post(
            URL(self.settings.url),
            data=io.BytesIO(post.body),  # aiohttp sends it piece by piece, and bytes all at once
            headers=self._headers(post),
            allow_redirects=False,
            timeout=limits,
        )

    def _headers(self, post: Post) -> CIMultiDict[str]:
        headers = CIMultiDict({"User-Agent": f"plimsoll/{__version__}"})
        for name, value in (self.settings.headers or {}).items():
            headers[name] = value.get_secret_value()
        is_plain = _PLAIN.fullmatch(post.content_type)
        headers["Content-Type"] = post.content_type if is_plain else "application/json"
        headers.update(signed(self.settings.secrets, post.webhook_id, int(time.time()), post.body))
        return headers

    def _hidden(self) -> tuple[str, ...]:
        """Give what may be secret of all that is sent, the longest first; an answer may quote it."""
        parts = {part for text in self._sensitive() for part in (text, *re.split(r"[\s/?&=:,;]+", text))}
        return tuple(sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True))

    def _sensitive(self) -> Iterator[str]:
        url = URL(self.settings.url)
        for text in (url.raw_path_qs, url.raw_path, url.raw_query_string, url.raw_user, url.raw_password):
            yield from (text or "", unquote(text or ""))
        pair = f"{url.user or ''}:{url.password or ''}"
        for encoding in ("latin-1", "utf-8"):  # aiohttp sent the one, and later the other
            yield base64.b64encode(pair.encode(encoding, errors="replace")).decode()
        for value in (self.settings.headers or {}).values():
            yield value.get_secret_value()


def _result(status: int) -> str:
    """Say what an answer means (RFC 9110, section 15)."""
    match status:
        case HTTPStatus.REQUEST_TIMEOUT:
            return "failed"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "throttled"
        case _:
            return {2: "delivered", 3: "redirected", 4: "refused"}.get(status // 100, "failed")


async def _words(response: aiohttp.ClientResponse) -> str:
    """Read the beginning of an answer, and what comes of it in time."""
    read = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
        async with asyncio.timeout(_LAST_WORDS):
            async for piece in _pieces(response):
                read += piece
    return read.decode(errors="replace")


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    left = _READ
    while left and (piece := await response.content.read(left)):
        left -= len(piece)
        yield piece


def _censored(text: str, hidden: tuple[str, ...]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _patience(response: aiohttp.ClientResponse) -> str | None:
    value = response.headers.get("Retry-After", "")
    return value if _PLAIN.fullmatch(value) else None


def _missed(error: TimeoutError, limits: OwnSettings) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {limits.connect_timeout:g} s"
    return f"no answer within {limits.timeout:g} s"


def _reason(error: Exception) -> str:
    """Say why there was no answer. Not in aiohttp's words: some of them quote the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"its certificate is refused: {getattr(error.certificate_error, 'verify_message', 'unknown')}"
            )
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientSSLError():
            return "no connection: TLS failed"
        case aiohttp.ServerDisconnectedError():
            return "closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return "its answer is not HTTP"
        case OSError(errno=int(number)) if number > 0:  # asyncio's own text names the address
            return f"no connection: {os.strerror(number)}"
        case _:
            return f"no connection: {type(error).__name__}"
