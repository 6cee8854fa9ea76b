"""Whom docker-compose.yml tells of alerts until PLIMSOLL_WEBHOOK_URL names somebody: it prints them."""

from __future__ import annotations

import json
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plimsoll.demo.receiver import describe

PORT = 9747


class Inbox(BaseHTTPRequestHandler):
    """Reads what Alertmanager sends, as the relay passes it on."""

    timeout = 10

    def do_GET(self) -> None:
        """Answer the health check."""
        self._answer(HTTPStatus.OK)

    def do_POST(self) -> None:
        """Print a notification."""
        try:
            told = describe(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        except (KeyError, TypeError, ValueError):
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        print(told, flush=True)  # noqa: T201 - `docker compose logs inbox` shows it
        self._answer(HTTPStatus.NO_CONTENT)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Leave the log to the notifications."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", PORT), Inbox).serve_forever()
