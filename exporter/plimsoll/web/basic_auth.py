"""Demands a user's password for every page (RFC 7617)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from plimsoll.web.passwords import BusyError, Passwords

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Plimsoll", charset="UTF-8"'}
_LATER = {"Retry-After": "1"}


def demand_passwords(
    application: web.Application, users: Callable[[], Mapping[str, str]], but: Collection[str] = ()
) -> None:
    """Let only `users` at the pages of `application`; as long as there are none, anybody.

    Args:
        application: has not been started yet.
        users: gives bcrypt hashes by name, as they are now.
        but: routes that demand something else themselves, as they were added: `/webhook/{name}`.
    """
    passwords = Passwords()

    async def close(_: web.Application) -> None:
        passwords.close()

    application.middlewares.append(_gate(passwords, users, but))
    application.on_cleanup.append(close)


def _gate(passwords: Passwords, users: Callable[[], Mapping[str, str]], but: Collection[str]) -> Middleware:
    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        known = users()
        resource = request.match_info.route.resource
        if not known or (resource is not None and resource.canonical in but):
            return await handler(request)
        if not (credentials := _credentials(request.headers.get("Authorization", ""))):
            return _refusal(HTTPStatus.UNAUTHORIZED, _CHALLENGE)
        try:
            good = await passwords.accept(known, *credentials, request.remote or "")
        except BusyError:
            return _refusal(HTTPStatus.TOO_MANY_REQUESTS, _LATER)
        return await handler(request) if good else _refusal(HTTPStatus.UNAUTHORIZED, _CHALLENGE)

    return gate


def _credentials(header: str) -> tuple[str, bytes] | None:
    """Read a user and a password, or None where the header holds none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except ValueError:  # no base64, or no UTF-8
        return None


def _refusal(status: HTTPStatus, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, text=f"{status.phrase}\n", headers=headers)
