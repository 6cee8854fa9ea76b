"""A container engine's API: Docker's, or Podman's compatible one. Only GET is ever sent.

Source: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources import SourceError

_OLDEST, _NEWEST = (1, 41), (1, 44)
"""Versions of the API between which nothing that we read has changed, nor after them until 1.55."""
_CONCURRENT = 16
"""Requests under way at a time, at most."""


class EngineError(SourceError):
    """The engine could not be asked, or gave no good answer."""


class RefusedError(EngineError):
    """The engine, or a proxy before it, answered with an error."""

    def __init__(self, path: str, status: int, message: str) -> None:
        super().__init__(f"GET {path} was answered with {status}: {message}")
        self.status = status

    @property
    def is_policy(self) -> bool:
        """Whether it is meant so; anything else passes."""
        return self.status in (401, 403, 404, 405, 501)


class Engine:
    """A client that agrees with the engine on a version of the API, again whenever it had gone."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._certificates: ssl.SSLContext | None = None
        self._agreeing = asyncio.Lock()
        self._places = asyncio.Semaphore(_CONCURRENT)
        self.version = ""
        self.is_podman = False

    async def get(self, path: str, **query: str) -> Any:
        """Ask for `path` of the agreed version, and give what the JSON of the answer holds.

        Raises:
            RefusedError: the answer is an error.
            EngineError: there is no good answer within the timeout.
        """
        session, version = await self._agreed()
        async with self._places, self._asking(session, f"/{version}{path}", query) as response:
            return await _json(response)

    async def lines(
        self, path: str, opened: asyncio.Event, silence: float, **query: str
    ) -> AsyncGenerator[bytes, None]:
        """Follow an answer that has no end, line by line.

        Args:
            path: what to ask for.
            opened: is set when the answer has begun.
            silence: seconds without a line after which it is given up.
            query: the parameters.

        Raises:
            RefusedError: the answer is an error.
            EngineError: the engine cannot be reached, has gone, or is silent.
        """
        session, version = await self._agreed()
        endless = aiohttp.ClientTimeout(sock_connect=self._settings.timeout, sock_read=silence)
        try:
            async with (
                asyncio.timeout(self._settings.timeout) as limit,
                self._asking(session, f"/{version}{path}", query, endless) as response,
            ):
                limit.reschedule(None)
                opened.set()
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line
        except TimeoutError as error:
            raise EngineError(self._what_happened(path, error)) from None

    async def close(self) -> None:
        """End all connections."""
        self.version = ""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def agree(self) -> None:
        """Learn who answers, where that is not known.

        Raises:
            EngineError: nobody does.
        """
        await self._agreed()

    async def _agreed(self) -> tuple[aiohttp.ClientSession, str]:
        async with self._agreeing:
            if self._session is None:
                self._session = self._new_session()
                self.version = ""
            if not self.version:
                await self._agree(self._session)
            return self._session, self.version

    async def _agree(self, session: aiohttp.ClientSession) -> None:
        self._certificates = self._read_certificates()
        async with self._asking(session, "/version", {}) as response:
            answer = await _json(response)
        try:
            newest, oldest = _version(answer["ApiVersion"]), _version(answer.get("MinAPIVersion") or "0.0")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise EngineError("GET /version was not answered as an engine would") from None
        if newest < _OLDEST:
            raise EngineError(
                f"the engine speaks version {newest[0]}.{newest[1]} of the API, "
                f"{_OLDEST[0]}.{_OLDEST[1]} or later is needed"
            )
        self.version = "v{}.{}".format(*max(min(newest, _NEWEST), oldest))
        components = answer.get("Components") or ()
        self.is_podman = any("podman" in str(part.get("Name")).lower() for part in components)

    def _new_session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
        scheme, _, place = self._settings.docker_host.partition("://")
        connector: aiohttp.BaseConnector
        if scheme == "unix":
            connector, base = aiohttp.UnixConnector(place, limit=0), "http://engine"
        else:
            connector, base = (
                aiohttp.TCPConnector(limit=0),
                f"http{'s' if self._settings.tls else ''}://{place}",
            )
        return aiohttp.ClientSession(base, connector=connector, timeout=timeout)

    def _read_certificates(self) -> ssl.SSLContext | None:
        try:
            return self._settings.tls.context() if self._settings.tls else None
        except ValueError as error:
            raise EngineError(f"tls: {error}") from None

    @asynccontextmanager
    async def _asking(
        self,
        session: aiohttp.ClientSession,
        path: str,
        query: dict[str, str],
        limit: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with session.get(
                path,
                params=query,
                allow_redirects=False,
                timeout=limit or session.timeout,
                ssl=self._certificates or True,
            ) as response:
                if response.status != 200:
                    raise RefusedError(path, response.status, await _reason(response))
                yield response
        except RefusedError as error:
            if not error.is_policy:
                self.version = ""  # after an upgrade, perhaps, it does not speak that one any more
            raise
        except (OSError, aiohttp.ClientError, ValueError, RuntimeError) as error:
            if isinstance(error, aiohttp.ClientConnectionError):
                self.version = ""  # who answers next time may speak another
            raise EngineError(self._what_happened(path, error)) from None

    def _what_happened(self, path: str, error: Exception) -> str:
        host = self._settings.docker_host
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        match cause:
            case TimeoutError():
                return f"{host} did not answer GET {path} within {self._settings.timeout:g} s"
            case FileNotFoundError() | ConnectionRefusedError():
                return f"no engine listens on {host}"
            case PermissionError():
                return f"not permitted to use {host}: our user must belong to the group that the socket has"
            case OSError() if isinstance(error, aiohttp.ClientConnectorError):
                return f"{host} cannot be reached: {cause.strerror or cause}"
            case _:
                return f"{host} broke off GET {path}: {str(error) or type(error).__name__}"


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


async def _json(response: aiohttp.ClientResponse) -> Any:
    """Read JSON, and None of an answer without a body, such as Podman's about a container that has ended."""
    body = await response.read()
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise EngineError(f"GET {response.url.path} was not answered with JSON") from None


async def _reason(response: aiohttp.ClientResponse) -> str:
    """Give the engine's own words, or the status' name."""
    try:
        return str(json.loads(await response.read())["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.reason)
