"""An engine that a test leads, and a proxy before any engine: both record what is asked, and misbehave.

They run in the test's own event loop.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web

from plimsoll.demo.processes import workspace

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


# --- an engine that a test leads ----------------------------------------------------------------------------


@dataclass
class Container:
    """A container as the engine has it; the fields are those of an inspection."""

    id: str
    name: str
    state: str = "created"
    exit_code: int = 0
    oom_killed: bool = False
    restarts: int = 0
    created_at: str = "2026-11-21T13:00:00.123456789Z"
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"
    health: str | None = None
    policy: str = "no"
    auto_remove: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def listed(self) -> dict[str, Any]:
        status = {"running": "Up 2 hours", "paused": "Up 2 hours (Paused)"}.get(self.state, "Exited (0)")
        health = f" ({self.health})" if self.health and self.state == "running" else ""
        return {"Id": self.id, "Names": [f"/{self.name}"], "State": self.state, "Status": status + health}

    @property
    def inspected(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": self.created_at,
            "RestartCount": self.restarts,
            "State": {
                "Status": self.state,
                "Pid": 0,
                "ExitCode": self.exit_code,
                "OOMKilled": self.oom_killed,
                "StartedAt": self.started_at,
                "FinishedAt": self.finished_at,
                **({"Health": {"Status": self.health}} if self.health else {}),
            },
            "Config": {"Image": "nginx:1.25", "Labels": self.labels},
            "HostConfig": {
                "RestartPolicy": {"Name": self.policy, "MaximumRetryCount": 0},
                "AutoRemove": self.auto_remove,
                "NetworkMode": "bridge",
                "Memory": 64 * 2**20,
            },
        }

    @property
    def stats(self) -> dict[str, Any]:
        if self.state not in {"running", "paused"}:
            return {"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}}
        return {
            "read": "2026-11-21T13:23:14.08765953Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
            "memory_stats": {"usage": 4096, "stats": {"inactive_file": 1024}},
            "pids_stats": {"current": 2},
        }


class FakeEngine(Front):
    """An engine whose containers a test starts and ends; it tells of that as Docker does."""

    def __init__(self, socket: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(socket, tls)
        self.version: dict[str, Any] = {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        self.components = ["Engine", "containerd"]
        self.containers: dict[str, Container] = {}
        self.events: list[dict[str, Any]] = []
        self.forgets = False
        """Whether it is a new daemon, which knows nothing of what was before."""
        """What was told so far; those who listen with `since` hear it again."""
        self._listeners: dict[asyncio.Queue[bytes | None], web.BaseRequest] = {}
        self._clock = time.time_ns()

    async def stop(self) -> None:
        self.heal()
        self.end_streams()
        await super().stop()

    # What happens to containers.

    def create(self, name: str, **known: Any) -> Container:
        container = Container(
            f"{len(self.events):04}{name}".encode().hex().ljust(64, "0")[:64], name, **known
        )
        self.containers[container.id] = container
        self.tell("create", container)
        return container

    def run(self, name: str, **known: Any) -> Container:
        container = self.create(name, **known)
        self.start_container(container)
        return container

    def start_container(self, container: Container) -> None:
        container.state, container.started_at = "running", self._now()
        self.tell("start", container)

    def crash(self, container: Container, code: int = 1) -> None:
        container.state, container.exit_code, container.finished_at = "exited", code, self._now()
        self.tell("die", container, exitCode=str(code))

    def stop_container(self, container: Container) -> None:
        self.tell("kill", container, signal="15")
        self.crash(container, 143)
        self.tell("stop", container)

    def restart(self, container: Container) -> None:
        """Crash, and be started again by the restart policy."""
        self.crash(container)
        container.restarts += 1
        self.start_container(container)

    def remove(self, container: Container) -> None:
        del self.containers[container.id]
        self.tell("destroy", container)

    def tell(self, action: str, container: Container, **attributes: str) -> None:
        """Send an event to all who listen."""
        told = {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": container.id, "Attributes": {"name": container.name, **attributes}},
            "time": self._tick() // 10**9,
            "timeNano": self._clock,
        }
        self.events.append(told)
        self.say(json.dumps(told).encode() + b"\n")

    def say(self, chunk: bytes) -> None:
        """Send bytes to all who listen."""
        for listener in self._listeners:
            listener.put_nowait(chunk)

    def end_streams(self) -> None:
        """End the event streams, as a proxy does that has heard nothing for a while."""
        for listener in self._listeners:
            listener.put_nowait(None)

    def break_streams(self) -> None:
        """Break the event streams off, as an engine does that is killed."""
        for request in self._listeners.values():
            hang_up(request)

    @property
    def listeners(self) -> int:
        """How many listen to events."""
        return len(self._listeners)

    def _tick(self) -> int:
        self._clock = max(self._clock + 1, time.time_ns())
        return self._clock

    def _now(self) -> str:
        seconds, nanoseconds = divmod(self._tick(), 10**9)
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"

    # What it answers.

    async def answer(self, asked: Request, request: web.BaseRequest) -> web.StreamResponse:
        if asked.path == "/version":
            parts = [{"Name": name, "Version": "1"} for name in self.components]
            return web.json_response({**self.version, "Components": parts})
        if refusal := self._refuse_version(asked.version):
            return web.json_response({"message": refusal}, status=400)
        if asked.path == "/info":
            return web.json_response({"NCPU": 4, "MemTotal": 2**34, "CgroupDriver": "cgroupfs"})
        if asked.path == "/events":
            return await self._stream(asked, request)
        if asked.path == "/containers/json":
            return web.json_response([container.listed for container in self.containers.values()])
        about = re.fullmatch(r"/containers/([^/]+)/(json|stats)", asked.path)
        container = self.containers.get(about[1]) if about else None
        if about is None or container is None:
            return web.json_response({"message": f"No such container: {asked.path}"}, status=404)
        return web.json_response(container.inspected if about[2] == "json" else container.stats)

    @property
    def remembered(self) -> list[dict[str, Any]]:
        return [] if self.forgets else self.events

    def _refuse_version(self, text: str) -> str | None:
        def number(version: str) -> tuple[int, ...]:
            return tuple(map(int, version.split(".")))

        oldest, newest = self.version.get("MinAPIVersion", "1.12"), self.version["ApiVersion"]
        if not text:
            return None
        if number(text) > number(newest):
            return f"client version {text} is too new. Maximum supported API version is {newest}"
        if number(text) < number(oldest):
            return f"client version {text} is too old. Minimum supported API version is {oldest}"
        return None

    async def _stream(self, asked: Request, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        if "since" in asked.query:
            since, until = _moment(asked.query["since"]), _moment(asked.query.get("until", "inf"))
            for told in self.remembered:
                if since <= told["timeNano"] <= until:
                    heard.put_nowait(json.dumps(told).encode() + b"\n")
            if "until" in asked.query:
                heard.put_nowait(None)
        self._listeners[heard] = request
        try:
            await response.prepare(request)
            while chunk := await heard.get():
                await response.write(chunk)
        except ConnectionError:
            pass  # who listened has gone
        finally:
            del self._listeners[heard]
        return response


@asynccontextmanager
async def fake_engine() -> AsyncIterator[FakeEngine]:
    """Run an engine on a Unix socket, whose path is short enough, unlike those of pytest's own folders."""
    with workspace() as folder:
        async with FakeEngine(folder / "engine.sock") as engine:
            yield engine


def _moment(text: str) -> float:
    if text == "inf":
        return math.inf
    seconds, _, nanoseconds = text.partition(".")
    return int(seconds) * 10**9 + int(nanoseconds or 0)
