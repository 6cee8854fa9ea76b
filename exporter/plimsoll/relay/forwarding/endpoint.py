"""`POST /webhook/<name>`: what Alertmanager hands to the relay, forwarded while it waits for the answer."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from aiohttp import web

from plimsoll.relay.delivery import Delivery
from plimsoll.relay.forwarding.ids import Ids, origin
from plimsoll.relay.forwarding.metrics import ForwardingMetrics
from plimsoll.relay.forwarding.places import NoPlaceError
from plimsoll.relay.forwarding.receiver import Destination, Outcome, Post
from plimsoll.relay.forwarding.request import RefusedError, check_envelope, read_body
from plimsoll.relay.notification import Notification, read
from plimsoll.relay.settings import Settings

_log = structlog.get_logger(__name__)


class Forwarding:
    """Forwards notifications to the receivers of the file, and to nobody else.

    Args:
        session: sends the posts; see `client_session`.
        settings: the receivers, the token, and the limits.
        metrics: counts what happens.
        seen: told of each good notification before it is forwarded. Whatever it raises is logged and dropped.
        delivered: told of each post after it has ended, with the time when it began. The same holds for it.
        repeat_interval: gives that of a receiver, as Alertmanager calls it, in seconds, more than 0.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: Settings,
        metrics: ForwardingMetrics,
        *,
        seen: Callable[[Notification], None],
        delivered: Callable[[Delivery], None],
        repeat_interval: Callable[[str], float],
    ) -> None:
        self._session = session
        self._metrics = metrics
        self._seen = seen
        self._delivered = delivered
        self._repeat_interval = repeat_interval
        self._ids = Ids()
        self._destinations: dict[str, Destination] = {}
        self._under_way: set[asyncio.Task[web.Response]] = set()
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Work by other settings. Posts under way end by the former ones, and count with the new limits."""
        self._settings = settings
        signing = {name: each for name, each in settings.receivers.items() if each.is_signed}
        for name, receiver in signing.items():
            # One that has gone is kept: it may come back while posts to it are still under way.
            if known := self._destinations.get(name):
                known.follow(receiver, settings.relay)
            else:
                self._destinations[name] = Destination(self._session, receiver, settings.relay)
        self._metrics.follow(signing)

    def routes(self) -> list[web.RouteDef]:
        """Give the route of the webhooks."""
        return [web.post("/webhook/{name}", self._answer)]

    async def settle(self, seconds: float) -> None:
        """Wait for what is still under way, and give it up after `seconds`."""
        if not self._under_way:
            return
        await asyncio.wait(self._under_way, timeout=seconds)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Let a post that has begun come to its end, though nobody may wait for the answer any more."""
        task = asyncio.create_task(self._handle(request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            return await self._handled(request)
        except RefusedError as error:
            self._metrics.refuse(error.reason)
            _log.warning("request refused", reason=error.reason, remote=request.remote, error=str(error))
            return error.response()

    async def _handled(self, request: web.Request) -> web.Response:
        self._check_token(request)
        name = request.match_info["name"]
        destination = self._destination(name)
        check_envelope(request)
        try:
            async with destination.place():
                return await self._with_place(request, name, destination)
        except NoPlaceError:
            return self._busy(name)

    async def _with_place(self, request: web.Request, name: str, destination: Destination) -> web.Response:
        if request.transport is None or request.transport.is_closing():
            return self._busy(name)  # to Alertmanager it took too long
        body = await read_body(request, self._settings.relay.timeout)
        notification = _understood(body)
        _tell(self._seen, notification)
        interval = self._repeat_interval(notification.receiver)
        told = origin(name, notification, interval, request.remote, datetime.now(UTC))
        concerned = tuple(each.alert.identity for each in notification.alerts)
        del notification  # it is many times larger than the body
        post = Post(body, request.headers.get("Content-Type", ""), self._ids.choose(told))
        outcome = await self._forward(name, destination, post, concerned)
        if outcome.result == "delivered":
            self._ids.delivered(told, post.webhook_id)
        return _answered(name, outcome)

    async def _forward(
        self, name: str, destination: Destination, post: Post, concerned: tuple[str, ...]
    ) -> Outcome:
        at = datetime.now(UTC)
        self._metrics.under_way(name, destination.under_way + 1)
        try:
            outcome = await destination.send(post)
        finally:
            self._metrics.under_way(name, destination.under_way)
        self._metrics.count(name, outcome.result, outcome.seconds)
        _note(name, outcome, webhook_id=post.webhook_id, alerts=len(concerned))
        delivery = Delivery(
            name, post.webhook_id, concerned, outcome.result, outcome.status, at, outcome.seconds
        )
        _tell(self._delivered, delivery)
        return outcome

    def _busy(self, name: str) -> web.Response:
        limits = self._settings.relay
        outcome = Outcome("busy", None, 0.0, f"no place free: max_in_flight is {limits.max_in_flight}")
        self._metrics.count(name, outcome.result)
        _note(name, outcome)
        return _answered(name, outcome)

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        presented = token.strip().encode(errors="surrogateescape")
        expected = self._settings.relay.token_file.get_secret_value().encode()
        if not hmac.compare_digest(presented, expected) or scheme.lower() != "bearer":
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "token", "the bearer token is missing or wrong")

    def _destination(self, name: str) -> Destination:
        receiver = self._settings.receivers.get(name)
        if receiver is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "unknown", f"there is no webhook {_quoted(name)}")
        if not receiver.is_signed:
            reason = f"{name} has no secret: Alertmanager posts to it directly"
            raise RefusedError(HTTPStatus.NOT_FOUND, "unknown", reason)
        if not receiver.active:
            raise RefusedError(HTTPStatus.GONE, "inactive", f"{name} is not active")
        return self._destinations[name]


def _understood(body: bytes) -> Notification:
    try:
        return read(body)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "invalid", f"no notification: {error}") from None


def _tell(listener: Callable[[Any], None], value: object) -> None:
    try:
        listener(value)
    except Exception:  # noqa: BLE001 - whatever it is, the notification matters more
        _log.exception("a notification or its delivery could not be noted")


def _quoted(name: str) -> str:
    return ascii(name[:100])


def _note(name: str, outcome: Outcome, **details: object) -> None:
    delivered = outcome.result == "delivered"
    log = _log.info if delivered else _log.warning
    log(
        "notification delivered" if delivered else "notification not delivered",
        receiver=name,
        result=outcome.result,
        status=outcome.status,
        seconds=round(outcome.seconds, 3),
        **details,
        **({} if delivered else {"error": outcome.said}),
    )


def _answered(name: str, outcome: Outcome) -> web.Response:
    headers = {}
    if outcome.answer == HTTPStatus.SERVICE_UNAVAILABLE and outcome.retry_after:
        headers["Retry-After"] = outcome.retry_after
    return web.Response(status=outcome.answer, text=f"{name}: {outcome.said}\n", headers=headers)
