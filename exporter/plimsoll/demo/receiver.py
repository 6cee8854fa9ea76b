"""A webhook receiver, as an operator would own one, that hands over what Alertmanager sends."""

from __future__ import annotations

import contextlib
import json
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from plimsoll.demo.service import LOOPBACK

Notification = dict[str, Any]
"""Alertmanager's webhook payload, version 4; fields may be added to it in later releases."""

_NO_NEWS = frozenset({"alertname", "severity", "category"})
"""Labels that need no line of their own."""


@contextlib.contextmanager
def receiving(receive: Callable[[Notification], None], *, port: int = 0) -> Iterator[str]:
    """Listen on 127.0.0.1, call `receive` in a thread with each notification, and give the URL.

    Args:
        receive: what to do with a notification.
        port: where to listen, if nobody else does; 0 leaves the choice to the system.
    """
    server = _listen(_handler(receive), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listen(handler: type[BaseHTTPRequestHandler], port: int) -> ThreadingHTTPServer:
    with contextlib.suppress(OSError):
        return _Server((LOOPBACK, port), handler)
    return _Server((LOOPBACK, 0), handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a client that sends nothing must not hold up the end


def _handler(receive: Callable[[Notification], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            try:
                notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            except (TypeError, ValueError):
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            receive(notification)
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Leave the terminal to the notifications."""

    return Handler


def describe(notification: Notification) -> str:
    """Return the alerts of a notification as text for a terminal."""
    now = datetime.now(tz=UTC).astimezone()
    return "\n".join(_describe_alert(alert, f"{now:%H:%M:%S}") for alert in notification["alerts"])


def _describe_alert(alert: dict[str, Any], at: str) -> str:
    labels, texts = alert["labels"], alert["annotations"]
    is_firing = alert["status"] == "firing"
    lines = [
        texts.get("summary", ""),
        *(_wrapped(texts.get("description", "")) if is_firing else ()),
        _growth(texts) if is_firing else "",
        " ".join(f"{name}={_quoted(value)}" for name, value in labels.items() if name not in _NO_NEWS),
    ]
    severity = labels.get("severity", "no severity")
    title = f"{at}  {alert['status'].upper()}  {labels['alertname']}  ({severity})"
    return "\n".join([title, *(f"          {line}" for line in lines if line)])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def _growth(texts: dict[str, str]) -> str:
    numbers = ((name, texts.get(name)) for name in ("previous", "current", "percent"))
    return ", ".join(f"{name} {number}" for name, number in numbers if number)


def _quoted(value: str) -> str:
    """Quote a name, with escapes for what would steer the terminal."""
    return json.dumps(value, ensure_ascii=not value.isprintable())
