"""An engine that a test leads, in its own event loop."""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from docker_proxy import Front, Request, hang_up
from plimsoll.demo.processes import workspace


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
        """All that was told so far."""
        self.remembered: deque[dict[str, Any]] = deque(maxlen=256)
        """What those hear again who listen with `since`; a new daemon remembers nothing."""
        self.clock_is_behind = False
        """Whether it waits for what is the past to others."""
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
        self.remembered.append(told)
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
            if "until" in asked.query and not self.clock_is_behind:
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
