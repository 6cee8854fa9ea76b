"""Servers that record what they are asked, and misbehave: in the test's own event loop."""

from __future__ import annotations

import asyncio
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp
from aiohttp import web

Answer = Callable[[], Awaitable[web.StreamResponse]]
"""Gives what would be answered if nothing were wrong."""

Fault = Callable[[web.BaseRequest, Answer], Awaitable[web.StreamResponse]]
"""Answers instead."""

_VERSION = re.compile(r"/v([0-9.]+)(?=/)")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


class Request(NamedTuple):
    """What was asked; `path` is without the version of the API, which is "" where none was named."""

    method: str
    version: str
    path: str
    query: Mapping[str, str]


# --- faults -------------------------------------------------------------------------------------------------


def refusal(status: int = 403, message: str = "Forbidden") -> Fault:
    """Answer with an error, as an engine does."""

    async def refuse(_: web.BaseRequest, __: Answer) -> web.StreamResponse:
        return web.json_response({"message": message}, status=status)

    return refuse


def saying(text: str) -> Fault:
    """Answer with 200 and a text, which is perhaps no JSON."""

    async def say(_: web.BaseRequest, __: Answer) -> web.StreamResponse:
        return web.Response(text=text)

    return say


async def cut(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send half of the answer, and hang up."""
    whole = await answer()
    assert isinstance(whole, web.Response)
    assert isinstance(whole.body, bytes)
    half = web.StreamResponse(headers={"Content-Length": str(len(whole.body))})
    await half.prepare(request)
    await half.write(whole.body[: len(whole.body) // 2])
    hang_up(request)
    return half


async def drop(request: web.BaseRequest, _: Answer) -> web.StreamResponse:
    """Hang up without a word."""
    hang_up(request)
    return web.Response()


def hang_up(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()


class Hang:
    """Answers when it is released, as if nothing had been."""

    def __init__(self) -> None:
        self.held = 0
        self.most = 0
        self._released = asyncio.Event()

    async def __call__(self, _: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self._released.wait()
        finally:
            self.held -= 1
        return await answer()

    def release(self) -> None:
        """Let all go, those that come later too."""
        self._released.set()


def only_reading(request: web.BaseRequest) -> bool:
    """Say whether a socket proxy that is meant for exporters lets a request through."""
    path = _VERSION.sub("", request.path, count=1)
    return request.method == "GET" and (
        path in {"/version", "/info", "/events"} or path.startswith("/containers/")
    )


# --- servers ------------------------------------------------------------------------------------------------


class Front(ABC):
    """A server that records what it is asked. Within `async with` it listens; it may stop and start again."""

    def __init__(self, socket: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a Unix socket, or on a port of 127.0.0.1 that the system chooses."""
        self._socket = socket
        self._tls = tls
        self._port = 0
        self._runner: web.ServerRunner | None = None
        self._faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.refused: list[Request] = []
        """Those that `lets_through` did not let through."""
        self.lets_through: Callable[[web.BaseRequest], bool] = lambda _: True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def docker_host(self) -> str:
        """The address for those who want to connect."""
        return f"unix://{self._socket}" if self._socket else f"tcp://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many stand at present."""
        assert self._runner is not None
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    async def start(self) -> None:
        """Listen, at the same place as before."""
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.05
        )
        await self._runner.setup()
        if self._socket:
            await web.UnixSite(self._runner, self._socket).start()
        else:
            await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls).start()
            self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Leave, with all connections broken off."""
        if self._runner is not None:
            for connection in list(self._runner.server.connections) if self._runner.server else ():
                connection.force_close()
            await self._runner.cleanup()
            self._runner = None

    def fail(self, path: str, fault: Fault) -> None:
        """Commit a fault whenever a path is asked for that the pattern matches wholly."""
        self._faults[path] = fault

    def heal(self) -> None:
        """Commit no fault any more."""
        for fault in self._faults.values():
            if isinstance(fault, Hang):
                fault.release()
        self._faults.clear()

    def asked(self, prefix: str = "/") -> list[str]:
        """Give the paths that were asked for since the last call, in order, and forget them all."""
        paths = [request.path for request in self.requests if request.path.startswith(prefix)]
        self.requests.clear()
        return paths

    def queries(self, path: str) -> list[dict[str, str]]:
        """Give the parameters with which a path was asked for, each time since `asked` forgot."""
        return [dict(request.query) for request in self.requests if request.path == path]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        version = _VERSION.match(request.path)
        path = request.path[version.end() :] if version else request.path
        asked = Request(request.method, version[1] if version else "", path, dict(request.query))
        self.requests.append(asked)
        if not self.lets_through(request):
            self.refused.append(asked)
            return web.Response(status=403, text="<html><body><h1>403 Forbidden</h1></body></html>")
        fault = next((fault for pattern, fault in self._faults.items() if re.fullmatch(pattern, path)), None)

        async def answer() -> web.StreamResponse:
            return await self.answer(asked, request)

        return await (fault(request, answer) if fault else answer())

    @abstractmethod
    async def answer(self, asked: Request, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as one would with nothing wrong."""


class SocketProxy(Front):
    """Forwards to an engine on a Unix socket, a real one or not."""

    def __init__(self, engine: Path, socket: Path | None = None) -> None:
        super().__init__(socket)
        self._engine = engine

    async def answer(self, _: Request, request: web.BaseRequest) -> web.StreamResponse:
        connector = aiohttp.UnixConnector(str(self._engine))
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(request.method, f"http://engine{request.raw_path}") as theirs,
        ):
            kept = {key: value for key, value in theirs.headers.items() if key.lower() not in _HOP_BY_HOP}
            ours = web.StreamResponse(status=theirs.status, headers=kept)
            await ours.prepare(request)
            async for chunk in theirs.content.iter_any():
                await ours.write(chunk)
            return ours
