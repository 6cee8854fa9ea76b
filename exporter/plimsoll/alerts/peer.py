"""A program that is asked over HTTP: Prometheus or Alertmanager."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import aiohttp

from plimsoll.alerts.access import OpenedAccess
from plimsoll.alerts.failures import reason
from plimsoll.alerts.shape import public_address

ANSWER_SECONDS = 10.0
"""How long an answer is waited for, unless somebody says otherwise."""

_SHOWN = 500
"""Characters of an answer that an error quotes at most."""


class PeerError(RuntimeError):
    """A program cannot be asked, refuses, or runs something else; the text says which one and why."""


class Peer:
    """A program that is asked over HTTP.

    Args:
        session: sends the requests.
        url: where its pages are, with the path before them if it has one, and user:password@ if need be.
        seconds: how long to wait for an answer.
        access: what it wants of whoever asks.
    """

    hints: ClassVar[Mapping[int, str]] = {
        HTTPStatus.UNAUTHORIZED: "basic_auth, beside its URL, names the user and the file of the password",
        HTTPStatus.NOT_FOUND: "if its pages have a prefix (--web.route-prefix), its URL must end with that",
    }
    """The usual cause, by the status of an answer."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        seconds: float = ANSWER_SECONDS,
        access: OpenedAccess | None = None,
    ) -> None:
        self.url = public_address(url)
        """Without the password."""
        self._session = session
        self._seconds = seconds
        self._headers = {}
        if pair := _user_in(url) or (access and access.user):
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        tls = access and access.tls_config
        self._tls: dict[str, Any] = {"ssl": tls.context, "server_hostname": tls.server_name} if tls else {}

    async def ask(
        self, method: str, path: str, seconds: float | None = None, *, form: Any = None, body: Any = None
    ) -> str:
        """Send a request, with the fields of a form or a body of JSON if need be, and give the answer's text.

        Raises:
            PeerError: it gives no answer, or none of status 200.
        """
        limit = aiohttp.ClientTimeout(total=seconds or self._seconds)
        try:
            async with self._session.request(
                method,
                self.url + path,
                headers=self._headers,
                timeout=limit,
                allow_redirects=False,
                data=form,
                json=body,
                **self._tls,
            ) as response:
                text = await response.text(errors="replace")
        except TimeoutError:
            raise PeerError(f"{self.url}: {method} {path}: no answer within {limit.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PeerError(f"{self.url}: {method} {path}: {reason(error)}") from None
        if response.status != HTTPStatus.OK:
            raise PeerError(self._refusal(method, path, response, text))
        return text

    async def ask_json(self, method: str, path: str, *, form: Any = None, body: Any = None) -> Any:
        """Send a request, and give what the JSON of the answer says.

        Raises:
            PeerError: as `ask`, or it is no JSON.
        """
        text = await self.ask(method, path, form=form, body=body)
        try:
            return json.loads(text)
        except ValueError:
            raise self.misunderstood(method, path, text) from None

    def misunderstood(self, method: str, path: str, text: str) -> PeerError:
        """Say that an answer is not what such a program would say."""
        said = text.strip()[:_SHOWN]
        return PeerError(
            f"{self.url}: {method} {path} was not answered as {type(self).__name__} would: {said}"
        )

    def _refusal(self, method: str, path: str, response: aiohttp.ClientResponse, text: str) -> str:
        said = text.strip()[:_SHOWN] or response.headers.get("Location", "") or response.reason or "nothing"
        hint = self.hints.get(response.status)
        answer = f"{self.url}: {method} {path} was answered with {response.status}: {said}"
        return f"{answer} ({hint})" if hint else answer


def _user_in(url: str) -> str:
    """Give `user:password` of a URL, or nothing."""
    parts = urlsplit(url)
    return "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
