"""What is asked of a request before anything is made of it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp
from aiohttp import web

BODY_LIMIT = 16 * 2**20
"""Bytes of a notification: some 10,000 alerts."""


class RefusedError(Exception):
    """A request is not forwarded; the text says why, `reason` is how it is counted."""

    def __init__(self, status: HTTPStatus, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self._status = status

    def response(self) -> web.Response:
        """Answer, and close the connection: part of the body may still be on its way."""
        headers = {"WWW-Authenticate": "Bearer"} if self._status == HTTPStatus.UNAUTHORIZED else None
        response = web.Response(status=self._status, text=f"{self}\n", headers=headers)
        response.force_close()
        return response


def check_envelope(request: web.Request) -> None:
    """Look at what is said of the body.

    Raises:
        RefusedError: it is too large, or compressed.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        text = "the body must not be compressed"
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid", text)
    if (request.content_length or 0) > BODY_LIMIT:
        raise _too_large()


async def read_body(request: web.Request, seconds: float) -> bytes:
    """Read the body.

    Raises:
        RefusedError: it is too large, does not come within `seconds`, or is cut short.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > BODY_LIMIT:
                    raise _too_large()
    except TimeoutError:
        text = f"the body did not come within {seconds:g} s"
        # Not 408, after which Alertmanager would wait for the next flush.
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "slow", text) from None
    except (aiohttp.ClientError, web.PayloadAccessError, aiohttp.http.HttpProcessingError, OSError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "invalid", "the body is cut short") from None
    return bytes(body)


def _too_large() -> RefusedError:
    text = f"the body is larger than {BODY_LIMIT} bytes"
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", text)
