"""Notifications on their way through the relay, with receivers that fail and clients that mean ill."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from standardwebhooks import Webhook
from structlog.typing import EventDict

from fix_fake_engine import until
from plimsoll.relay.delivery import Delivery
from plimsoll.relay.forwarding.endpoint import Forwarding
from plimsoll.relay.forwarding.metrics import ForwardingMetrics
from plimsoll.relay.forwarding.receiver import RESULTS, client_session
from plimsoll.relay.forwarding.request import BODY_LIMIT
from plimsoll.relay.notification import Notification
from plimsoll.relay.settings import Settings, load_settings
from plimsoll.web.listener import Address, listening
from serving import Samples

TLS = Path(__file__).parents[1] / "fixtures" / "engine" / "tls"
TOKEN = "relay-token-0123456789"
SECRETS = [f"whsec_{base64.b64encode(bytes([number]) * 24).decode()}" for number in range(2)]
PATH, QUERY, HEADER = "path-secret", "query-secret", "header-secret"
HIDDEN = (TOKEN, PATH, QUERY, HEADER, *(secret.removeprefix("whsec_") for secret in SECRETS))
"""What is in no log line and in no answer."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def notification(*fingerprints: str, **changes: Any) -> bytes:
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "DatabaseGrowthHigh", "datname": fingerprint},
            "annotations": {"summary": "größer"},
            "startsAt": "2026-03-01T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint,
        }
        for fingerprint in fingerprints or ("a1",)
    ]
    payload = {"receiver": "ops", "groupKey": "{}", "alerts": alerts, "grown": {"later": [1.50]}, **changes}
    return json.dumps(payload, ensure_ascii=False, indent=1).encode()


async def answer(status: int, **details: Any) -> web.Response:
    return web.Response(status=status, **details)


def answering(status: int, **details: Any) -> Handler:
    return lambda _: answer(status, **details)


@dataclass
class Receiver:
    """Somebody's receiver: notes what arrives, and answers as it is told to."""

    respond: Handler = field(default_factory=lambda: answering(204))
    url: str = ""
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers and body."""
    present: int = 0
    most: int = 0
    """How many posts are, and were at most, there at once."""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.present += 1
        self.most = max(self.most, self.present)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.posts.append((request.path, headers, await request.read()))
            return await self.respond(request)
        finally:
            self.present -= 1


@dataclass
class World:
    """A relay, as far as it forwards."""

    directory: Path
    receiver: Receiver
    client: aiohttp.ClientSession
    url: str = ""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    seen: list[Notification] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    repeat_interval: float = 1e9
    asked: list[str] = field(default_factory=list)
    """Whose repeat interval was wanted."""
    forwarding: Forwarding = field(init=False)

    def settings(self, ops_url: str | None = None, without: str = "", **limits: Any) -> Settings:
        """Write a file, and read it."""
        (self.directory / "token").write_text(TOKEN)
        (self.directory / "old").write_text(SECRETS[1])
        webhooks: dict[str, Any] = {
            "ops": {
                "url": ops_url or f"{self.receiver.url}/{PATH}?key={QUERY}",
                "secret": SECRETS[0],
                "secret_file": "old",
                "headers": {"X-Key": HEADER},
            },
            "other": {"url": f"{self.receiver.url}/other", "secret": SECRETS[0]},
            "paused": {"url": f"{self.receiver.url}/paused", "secret": SECRETS[0], "active": False},
            "plain": {"url": f"{self.receiver.url}/plain"},
        }
        webhooks.pop(without, None)
        relay = {"url": "http://relay:9746", "token_file": "token", **limits}
        file = self.directory / "plimsoll.yml"
        file.write_text(yaml.safe_dump({"webhooks": webhooks, "relay": relay}))
        return load_settings(file)

    def follow(self, ops_url: str | None = None, without: str = "", **limits: Any) -> None:
        self.forwarding.follow(self.settings(ops_url, without, **limits))

    async def post(
        self, name: str = "ops", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Post as Alertmanager does; give status and text of the answer."""
        known = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **(headers or {})}
        data = notification() if body is None else body
        async with self.client.post(f"{self.url}/webhook/{name}", data=data, headers=known) as response:
            text = await response.text()
        said = f"{text}{response.headers}"
        assert not [secret for secret in HIDDEN if secret in said], said
        return response.status, text

    def wait(self, name: str) -> float:
        self.asked.append(name)
        return self.repeat_interval

    async def raw(self, *lines: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request as it stands."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body)
        await writer.drain()
        return reader, writer

    def samples(self) -> Samples:
        return Samples(generate_latest(self.registry).decode())

    def results(self, name: str = "ops") -> dict[str, float]:
        """Give how often each result came that did."""
        found = self.samples().all("plimsoll_webhook_deliveries_total", receiver=name)
        return {dict(labels)["result"]: value for labels, value in found.items() if value}

    def refused(self) -> dict[str, float]:
        found = self.samples().all("plimsoll_webhook_requests_refused_total")
        return {dict(labels)["reason"]: value for labels, value in found.items() if value}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application(client_max_size=2 * BODY_LIMIT)
    application.add_routes([web.route("*", "/{tail:.*}", receiver.receive)])
    async with listening(application, Address("127.0.0.1", 0)) as receiver.url:
        yield receiver


@pytest.fixture
async def world(receiver: Receiver, tmp_path: Path, logged: list[EventDict]) -> AsyncIterator[World]:
    async with client_session() as session, client_session() as client:
        world = World(tmp_path, receiver, client)
        world.forwarding = Forwarding(
            session,
            world.settings(),
            ForwardingMetrics(world.registry),
            seen=world.seen.append,
            delivered=world.deliveries.append,
            repeat_interval=world.wait,
        )
        application = web.Application()
        application.add_routes(world.forwarding.routes())
        async with listening(application, Address("127.0.0.1", 0)) as world.url:
            yield world
        await world.forwarding.settle(10)
    assert not [line for line in logged if any(secret in repr(line) for secret in HIDDEN)]


# --- what arrives -------------------------------------------------------------------------------------------


async def test_the_bytes_arrive_unchanged_and_signed(world: World, logged: list[EventDict]) -> None:
    body = notification("a1", "b2")

    assert await world.post(body=body, headers={"Content-Type": "application/json; charset=utf-8"}) == (
        200,
        "ops: answered 204\n",
    )

    ((path, headers, received),) = world.receiver.posts
    assert (path, received) == (f"/{PATH}", body)
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["x-key"] == HEADER
    assert headers["user-agent"].startswith("plimsoll/")
    assert "authorization" not in headers
    for secret in SECRETS:
        Webhook(secret).verify(received, headers)
    (delivery,) = world.deliveries
    assert delivery.webhook_id == headers["webhook-id"]
    assert (delivery.receiver, delivery.result, delivery.http_status) == ("ops", "delivered", 204)
    assert delivery.identities == tuple(told.alert.identity for told in world.seen[0].alerts)
    (line,) = logged
    assert line == {
        "event": "notification delivered",
        "log_level": "info",
        "receiver": "ops",
        "result": "delivered",
        "status": 204,
        "alerts": 2,
        "webhook_id": delivery.webhook_id,
        "seconds": line["seconds"],
    }


async def test_a_body_of_many_megabytes_arrives(world: World) -> None:
    body = notification(filler="x" * 15 * 2**20)

    assert (await world.post(body=io.BytesIO(body)))[0] == 200

    assert world.receiver.posts[0][2] == body


async def test_a_retry_has_the_same_id_and_a_reminder_another(world: World) -> None:
    world.receiver.respond = answering(500)
    assert (await world.post())[0] == 502
    world.receiver.respond = answering(200)
    assert (await world.post())[0] == 200
    world.repeat_interval = 1e-6
    assert (await world.post())[0] == 200

    first, retry, reminder = (headers["webhook-id"] for _, headers, _ in world.receiver.posts)
    assert first == retry != reminder
    assert world.results() == {"failed": 1, "delivered": 2}
    assert [delivery.result for delivery in world.deliveries] == ["failed", "delivered", "delivered"]


async def test_the_interval_is_that_of_alertmanagers_receiver(world: World) -> None:
    await world.post("ops", notification(receiver="everybody"))

    assert world.asked == ["everybody"]


async def test_what_is_told_again_after_something_else_has_an_id_of_its_own(world: World) -> None:
    for fingerprint in "aba":
        assert (await world.post(body=notification(fingerprint)))[0] == 200
    world.receiver.respond = answering(500)
    for fingerprint in "ac":
        assert (await world.post(body=notification(fingerprint)))[0] == 502
    world.receiver.respond = answering(200)
    assert (await world.post(body=notification("a")))[0] == 200

    ids = [headers["webhook-id"] for _, headers, _ in world.receiver.posts]
    first, other, again, copy, failed, late = ids
    assert len({first, other, again, failed}) == 4
    assert again == copy == late  # what was not delivered in between does not count
    assert [delivery.webhook_id for delivery in world.deliveries] == ids


async def test_the_content_type_is_no_way_to_smuggle(world: World) -> None:
    reader, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1",
        "Host: relay",
        f"Authorization: Bearer {TOKEN}",
        "Content-Type: text/plain; \xff\xfe",
        f"Content-Length: {len(notification())}",
        body=notification(),
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()

    assert world.receiver.posts[0][1]["content-type"] == "application/json"


# --- receivers that fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answered", "result"),
    [
        (200, 200, "delivered"),
        (202, 200, "delivered"),
        (299, 200, "delivered"),
        (302, 502, "redirected"),
        (304, 502, "redirected"),
        (400, 400, "refused"),
        (401, 401, "refused"),
        (404, 404, "refused"),
        (410, 410, "refused"),
        (422, 422, "refused"),
        (408, 502, "failed"),
        (429, 503, "throttled"),
        (500, 502, "failed"),
        (503, 502, "failed"),
        (599, 502, "failed"),
    ],
)
async def test_what_the_receiver_answers_decides(
    world: World, status: int, answered: int, result: str, logged: list[EventDict]
) -> None:
    world.receiver.respond = answering(status, headers={"Location": f"{world.receiver.url}/elsewhere"})

    assert await world.post() == (answered, f"ops: answered {status}\n")

    assert world.results() == {result: 1}
    assert [path for path, *_ in world.receiver.posts] == [f"/{PATH}"]
    (delivery,) = world.deliveries
    assert (delivery.result, delivery.http_status) == (result, status)
    kind = "success" if result == "delivered" else "failure"
    found = {
        kind: world.samples().get(f"plimsoll_webhook_last_{kind}_timestamp_seconds", receiver="ops")
        for kind in ("success", "failure")
    }
    assert [each for each, value in found.items() if value] == [kind]
    assert world.samples().get("plimsoll_webhook_delivery_duration_seconds_count", receiver="ops") == 1
    assert logged[-1]["log_level"] == ("info" if kind == "success" else "warning")


@pytest.mark.parametrize(("given", "passed"), [("120", "120"), ("", None), ("x" * 500, None)])
async def test_a_wish_for_patience_is_passed_on(world: World, given: str, passed: str | None) -> None:
    world.receiver.respond = answering(429, headers={"Retry-After": given})
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async with world.client.post(
        f"{world.url}/webhook/ops", data=notification(), headers=headers
    ) as response:
        assert (response.status, response.headers.get("Retry-After")) == (503, passed)


async def test_what_the_receiver_says_is_told_without_secrets(world: World, logged: list[EventDict]) -> None:
    async def quote(request: web.Request) -> web.Response:
        key = request.headers["X-Key"]
        return web.Response(
            status=400, text=f"cannot\nPOST {request.path_qs} for \x1b[31m{key}: no signature"
        )

    world.receiver.respond = quote

    said = "answered 400: cannot POST *** for [31m***: no signature"
    assert await world.post() == (400, f"ops: {said}\n")
    assert logged[-1]["error"] == said


async def test_credentials_in_the_url_are_not_told(world: World, logged: list[EventDict]) -> None:
    async def quote(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"no {request.headers['Authorization']}")

    world.receiver.respond = quote
    world.follow(world.receiver.url.replace("://", "://bot:hunter%2F2pass@"))
    credentials = base64.b64encode(b"bot:hunter/2pass").decode()

    assert await world.post() == (400, "ops: answered 400: no Basic ***\n")
    assert world.receiver.posts[0][1]["authorization"] == f"Basic {credentials}"
    assert logged[-1]["error"] == "answered 400: no Basic ***"


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_left(world: World, status: int) -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            written += 65536

    world.receiver.respond = flood

    answered, text = await world.post()

    assert answered == (200 if status == 200 else 502)
    assert text == f"ops: answered {status}: {'x' * 300}…\n"
    await until(lambda: not world.receiver.present)
    assert written < 16 * 2**20


async def test_an_answer_that_stops_half_way_counts_by_its_status(world: World) -> None:
    gone = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"well")
        await gone.wait()
        return response

    world.receiver.respond = stall

    assert await world.post() == (200, "ops: answered 200: well\n")
    gone.set()


async def test_a_receiver_that_hangs(world: World) -> None:
    gone = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await gone.wait()
        return web.Response()

    world.receiver.respond = hang
    world.follow(timeout="300ms")

    assert await world.post() == (504, "ops: no answer within 0.3 s\n")
    assert world.results() == {"timeout": 1}
    assert world.deliveries[0].http_status is None
    assert world.samples().get("plimsoll_webhook_in_flight", receiver="ops") == 0
    gone.set()


@contextlib.asynccontextmanager
async def raw_server(reply: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Listen; reply with some bytes and close the connection, or say nothing (None)."""
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        if reply is not None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connections:
            writer.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 2", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n", "its answer is not HTTP"),
    ],
)
async def test_a_receiver_that_does_not_answer_in_http(world: World, reply: bytes, said: str) -> None:
    async with raw_server(reply) as address:
        world.follow(f"http://{address}/{PATH}")
        assert await world.post() == (502, f"ops: {said}\n")

    assert world.results() == {"unreachable": 1}


async def test_a_receiver_that_is_not_there(world: World) -> None:
    async with raw_server(None) as address:
        pass
    world.follow(f"http://{address}/{PATH}")

    assert await world.post() == (502, "ops: no connection: Connection refused\n")
    world.follow("http://receiver.invalid/")
    assert await world.post() == (502, "ops: its name is not known\n")
    world.follow(f"http://{'x' * 70}.invalid/")  # too long for a name
    assert (await world.post())[0] == 502
    assert world.results() == {"unreachable": 3}


async def test_a_connection_that_does_not_come_about(world: World) -> None:
    async with raw_server(None) as address:
        world.follow(f"https://{address}/{PATH}", connect_timeout="300ms")
        assert await world.post() == (504, "ops: no connection within 0.3 s\n")

    assert world.results() == {"timeout": 1}


@pytest.mark.parametrize(
    ("known", "name", "expected"),
    [
        (
            False,
            "127.0.0.1",
            (502, "ops: its certificate is refused: unable to get local issuer certificate\n"),
        ),
        (True, "127.0.0.1", (200, "ops: answered 204\n")),
    ],
)
async def test_certificates_are_verified(
    world: World, known: bool, name: str, expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    if known:
        trusting = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
        monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)

    async with raw_server(b"HTTP/1.1 204 Fine\r\n\r\n", context) as address:
        world.follow(f"https://{address}/{PATH}")
        assert await world.post() == expected


# --- several at once ----------------------------------------------------------------------------------------


@dataclass
class Gate:
    """Lets posts wait with the receiver until it is opened."""

    receiver: Receiver
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, request: web.Request) -> web.Response:
        if request.path == f"/{PATH}":
            await self.opened.wait()
        return web.Response()


@pytest.fixture
def gate(world: World) -> Gate:
    gate = Gate(world.receiver)
    world.receiver.respond = gate.wait
    return gate


def in_flight(world: World) -> float | None:
    return world.samples().get("plimsoll_webhook_in_flight", receiver="ops")


async def test_so_many_posts_at_once_and_others_are_not_held_up(world: World, gate: Gate) -> None:
    world.follow(max_in_flight=2)
    posts = [asyncio.create_task(world.post()) for _ in range(8)]
    await until(lambda: world.receiver.present == 2)
    assert in_flight(world) == 2

    for _ in range(5):
        assert (await world.post("other"))[0] == 200

    assert (world.receiver.present, world.results()) == (2, {})
    world.follow(max_in_flight=3)
    await until(lambda: world.receiver.present == 3)
    world.follow(max_in_flight=1)
    gate.opened.set()
    assert {status for status, _ in await asyncio.gather(*posts)} == {200}
    assert world.receiver.most == 3  # two, and one that was for the other; then three
    assert in_flight(world) == 0
    assert world.results() == {"delivered": 8}


async def test_a_place_is_not_waited_for_without_end(
    world: World, gate: Gate, logged: list[EventDict]
) -> None:
    world.follow(max_in_flight=1)
    first = asyncio.create_task(world.post())
    await until(lambda: world.receiver.present)
    world.follow(max_in_flight=1, timeout="300ms")

    assert await world.post() == (503, "ops: no place free: max_in_flight is 1\n")

    gate.opened.set()
    assert (await first)[0] == 200
    assert world.results() == {"delivered": 1, "busy": 1}
    assert [line["result"] for line in logged] == ["busy", "delivered"]
    assert [delivery.result for delivery in world.deliveries] == ["delivered"]


async def test_a_crowd_is_sent_away_at_once(world: World, gate: Gate) -> None:
    world.follow(max_in_flight=1)
    crowd = [asyncio.create_task(world.post()) for _ in range(111)]
    await until(lambda: world.results().get("busy") == 10)

    gate.opened.set()
    statuses = [status for status, _ in await asyncio.gather(*crowd)]
    assert (statuses.count(200), statuses.count(503)) == (101, 10)


async def test_a_post_ends_and_counts_though_alertmanager_has_gone(world: World, gate: Gate) -> None:
    world.follow(max_in_flight=1)
    posts = [asyncio.create_task(world.post()) for _ in range(2)]
    await until(lambda: world.receiver.present)

    for post in posts:
        post.cancel()
    await asyncio.wait(posts)
    await asyncio.sleep(0.05)  # the connections close
    gate.opened.set()

    # The second had not begun, and Alertmanager will try again.
    await until(lambda: world.results() == {"delivered": 1, "busy": 1})
    assert len(world.receiver.posts) == 1


async def test_settling_waits_for_posts_and_not_for_ever(world: World, gate: Gate) -> None:
    post = asyncio.create_task(world.post())
    await until(lambda: world.receiver.present)

    await world.forwarding.settle(0.1)
    with contextlib.suppress(aiohttp.ClientError):
        await post
    assert in_flight(world) == 0

    post = asyncio.create_task(world.post())
    await until(lambda: world.receiver.present == 2)
    asyncio.get_running_loop().call_later(0.1, gate.opened.set)
    await world.forwarding.settle(10)
    assert world.results() == {"delivered": 1}
    assert (await post)[0] == 200


# --- who and what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"],
)
async def test_without_the_token_nothing_is_read(world: World, authorization: str) -> None:
    reader, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1",
        "Host: relay",
        *([f"Authorization: {authorization}"] if authorization else []),
        "Content-Length: 1000000000",
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()

    assert head.startswith("HTTP/1.1 401 ")
    assert "WWW-Authenticate: Bearer\r\n" in head
    assert "Connection: close\r\n" in head
    assert world.refused() == {"token": 1}
    assert not world.receiver.posts


@pytest.mark.parametrize(
    ("name", "status", "text", "reason"),
    [
        ("nobody", 404, "there is no webhook 'nobody'", "unknown"),
        ("no%0d%0aX-Evil:%201", 404, "there is no webhook 'no\\r\\nX-Evil: 1'", "unknown"),
        ("%1b[31m" + "x" * 200, 404, "there is no webhook '\\x1b[31m" + "x" * 95 + "'", "unknown"),
        ("plain", 404, "plain has no secret: Alertmanager posts to it directly", "unknown"),
        ("paused", 410, "paused is not active", "inactive"),
    ],
)
async def test_only_active_receivers_with_a_secret_are_reached(
    world: World, name: str, status: int, text: str, reason: str
) -> None:
    assert await world.post(name) == (status, f"{text}\n")

    assert world.refused() == {reason: 1}
    assert not world.receiver.posts


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is not JSON"),
        (b"hello", "it is not JSON"),
        (b"\xff", "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"{}", "alerts must be a list with at least one entry"),
    ],
)
async def test_what_is_no_notification_is_not_forwarded(world: World, body: bytes, reason: str) -> None:
    assert await world.post(body=body) == (400, f"no notification: {reason}\n")

    assert world.refused() == {"invalid": 1}
    assert not world.receiver.posts
    assert not world.seen


async def test_a_compressed_body_is_not_taken(world: World) -> None:
    # It is none: the server must not have tried to read it.
    reader, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1",
        "Host: relay",
        f"Authorization: Bearer {TOKEN}",
        "Content-Encoding: gzip",
        "Content-Length: 1000",
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 415 ")
    writer.close()
    assert world.refused() == {"invalid": 1}


async def test_a_body_that_is_said_to_be_too_large_is_not_awaited(world: World) -> None:
    reader, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1",
        "Host: relay",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {BODY_LIMIT + 1}",
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    assert world.refused() == {"size": 1}


async def test_a_body_without_end_is_cut(world: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield b" " * 65536
            sent += 65536

    status, text = await world.post(body=endless())

    assert (status, text) == (413, f"the body is larger than {BODY_LIMIT} bytes\n")
    assert sent < 4 * BODY_LIMIT
    assert world.refused() == {"size": 1}


async def test_a_slow_body_is_not_awaited_for_ever(world: World) -> None:
    world.follow(timeout="300ms")
    reader, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1",
        "Host: relay",
        f"Authorization: Bearer {TOKEN}",
        "Content-Length: 1000",
        body=b"{",
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")  # Alertmanager tries again
    writer.close()
    assert world.refused() == {"slow": 1}


@pytest.mark.parametrize(
    ("header", "body"), [("Content-Length: 1000", b"{"), ("Transfer-Encoding: chunked", b"5\r\n{}")]
)
async def test_half_a_body_is_not_forwarded(world: World, header: str, body: bytes) -> None:
    _, writer = await world.raw(
        "POST /webhook/ops HTTP/1.1", "Host: relay", f"Authorization: Bearer {TOKEN}", header, body=body
    )
    await until(lambda: world.forwarding._under_way)
    writer.close()

    await until(lambda: world.refused() == {"invalid": 1})
    assert not world.receiver.posts


# --- what else could go wrong -------------------------------------------------------------------------------


async def test_what_cannot_be_noted_is_delivered_all_the_same(world: World, logged: list[EventDict]) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("disk full")

    world.forwarding._seen = world.forwarding._delivered = fail

    assert (await world.post())[0] == 200
    assert [line["log_level"] for line in logged] == ["error", "info", "error"]


async def test_series_are_there_from_the_start_and_go_with_their_receiver(world: World) -> None:
    def receivers(family: str) -> set[str]:
        return {dict(labels)["receiver"] for labels in world.samples().all(family)}

    total, duration = "plimsoll_webhook_deliveries_total", "plimsoll_webhook_delivery_duration_seconds_count"
    assert set(world.samples().all(total, receiver="ops").values()) == {0}
    assert len(world.samples().all(total, receiver="ops")) == len(RESULTS)
    assert receivers(total) == receivers(duration) == {"ops", "other", "paused"}
    assert len(world.samples().all("plimsoll_webhook_requests_refused_total")) == 6
    await world.post("ops")
    await world.post("other")

    world.follow(without="other", timeout="1s")

    for family in (total, duration, "plimsoll_webhook_last_success_timestamp_seconds"):
        assert "other" not in receivers(family)
    assert world.results() == {"delivered": 1}
    assert (await world.post("other"))[0] == 404


async def test_a_receiver_that_goes_during_a_post_leaves_no_series(world: World, gate: Gate) -> None:
    post = asyncio.create_task(world.post())
    await until(lambda: world.receiver.present)
    world.follow(without="ops")
    gate.opened.set()

    assert (await post)[0] == 200
    assert b'receiver="ops"' not in generate_latest(world.registry)
    assert [delivery.result for delivery in world.deliveries] == ["delivered"]
