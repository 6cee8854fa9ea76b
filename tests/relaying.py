"""Runs the real `plimsoll relay` between real programs, and receivers that a test leads.

Prometheus judges a page that the test writes: an alert fires as long as its series stands there.
"""

from __future__ import annotations

import base64
import json
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from standardwebhooks import Webhook

from plimsoll.demo.service import LOOPBACK, Service
from programs import LIFECYCLE, run_prometheus
from serving import Serving, serving
from waiting import eventually

TOKEN = "token-of-the-tests"
SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
SOON = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}

Answer = int | Literal["close", "hang"]


class Post(NamedTuple):
    """What a receiver got."""

    at: float
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook-id."""
        return self.headers["webhook-id"]

    @property
    def alerts(self) -> list[tuple[str, str]]:
        """Name and status of each alert."""
        return [(alert["labels"]["alertname"], alert["status"]) for alert in json.loads(self.body)["alerts"]]

    def verify(self, secret: str = SECRET) -> None:
        """Check the signature, as a receiver would."""
        Webhook(secret).verify(self.body, dict(self.headers))


@dataclass
class Receiver:
    """Somebody's receiver: it answers as it is told to, and 204 after that."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)
    let_go: threading.Event = field(default_factory=threading.Event)
    """Ends what hangs."""
    paths: list[str] = field(default_factory=list)
    """All that was asked for, however."""

    def told(self, name: str, status: str) -> list[Post]:
        """Give the posts that tell of an alert with a status."""
        return [post for post in self.posts if (name, status) in post.alerts]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver on loopback."""
    led = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            led.paths.append(self.path)
            self.send_error(405)

        def do_POST(self) -> None:
            led.paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = led.answers.popleft() if led.answers else 204
            led.posts.append(Post(time.time(), headers, body))
            if answer == "hang":
                led.let_go.wait(60)
            if isinstance(answer, int):
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                if answer // 100 == 3:
                    self.send_header("Location", f"{led.url}elsewhere")
                self.end_headers()
            else:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Leave the terminal to pytest."""

    with _listening(Handler) as url:
        led.url = url
        yield led
        led.let_go.set()


@dataclass
class Page:
    """What Prometheus scrapes: series of `demo`, each of which makes an alert fire while it is above 0."""

    url: str = ""
    series: dict[str, float] = field(default_factory=dict)
    """Values by labels, as they stand between braces."""


@contextmanager
def page() -> Iterator[Page]:
    """Serve a page on loopback."""
    led = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"demo{{{labels}}} {value}\n" for labels, value in led.series.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Leave the terminal to pytest."""

    with _listening(Handler) as url:
        led.url = url
        yield led


class Rule(NamedTuple):
    """An alert that fires for each series of `demo` whose label `alert` is its name."""

    name: str
    severity: str = "warning"
    for_: str = "0s"

    @property
    def written(self) -> dict[str, Any]:
        """As it stands in a file of rules."""
        return {
            "alert": self.name,
            "expr": f'max without (instance, job, alert) (demo{{alert="{self.name}"}}) > 0',
            "for": self.for_,
            "labels": {"severity": self.severity, "category": "storage"},
            "annotations": {
                "summary": f"{self.name} happens",
                "description": "It happens on {{ $labels.server }}.",
                "threshold": "0",
                "value": "{{ $value }}",
                "current": "{{ $value }}",
            },
        }


def write_rules(directory: Path, *rules: Rule) -> None:
    """Write the rules that Prometheus loads, and `reloading.reload` lets it load again."""
    group = {"name": "demo", "rules": [rule.written for rule in rules]}
    (directory / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))


def prometheus(
    directory: Path, page: Page, alertmanagers: Sequence[str], *, port: int = 0, **settings: Any
) -> AbstractContextManager[Service]:
    """Run Prometheus on the rules in `directory`, every second; it stores there, too."""
    interval = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    targets = [url.removeprefix("http://") for url in alertmanagers]
    configuration = {
        "global": interval | settings,
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": targets}]}]},
        "scrape_configs": [
            {"job_name": "demo", "static_configs": [{"targets": [page.url.split("/")[2]]}]},
        ],
    }
    return run_prometheus(
        directory,
        configuration,
        f"--storage.tsdb.path={directory / 'prometheus'}",
        "--rules.alert.resend-delay=2s",  # and four times that is what Alertmanager waits for the next
        LIFECYCLE,
        port=port,
    )


def write_routes(file: Path, relay_url: str, *names: str, **waits: str) -> None:
    """Write Alertmanager's configuration: every receiver of these names gets everything, by the relay."""
    token = file.parent / "token"
    token.write_text(TOKEN)
    hooks = {
        name: {
            "url": f"{relay_url}/webhook/{name}",
            "http_config": {"authorization": {"credentials_file": str(token)}},
        }
        for name in names
    }
    route: dict[str, Any] = {"receiver": names[0], "group_by": ["..."], **SOON, **waits}
    if names[1:]:
        route["routes"] = [{"receiver": name, "continue": True} for name in names]
    receivers = [{"name": name, "webhook_configs": [hook]} for name, hook in hooks.items()]
    file.write_text(yaml.safe_dump({"route": route, "receivers": receivers}))


def follow(relay: Serving, directory: Path, **webhooks: Mapping[str, Any]) -> None:
    """Change webhooks in a relay's file, add them, or change what it names; wait until the relay follows."""
    file = directory / "plimsoll.yml"
    written = yaml.safe_load(file.read_text())
    for name, keys in webhooks.items():
        written["webhooks"][name] = {**written["webhooks"].get(name, {}), **keys}
    file.write_text(yaml.safe_dump(written))
    before = len(relay.messages("configuration loaded"))
    relay.signal(signal.SIGHUP)
    eventually(lambda: len(relay.messages("configuration loaded")) > before)


def deliveries(relay: Serving, name: str) -> dict[str, float]:
    """Give how often what came of deliveries to a receiver, by the relay's metrics."""
    counted = relay.scrape().all("plimsoll_webhook_deliveries_total", receiver=name)
    return {dict(labels)["result"]: count for labels, count in counted.items() if count}


def relaying(
    directory: Path,
    webhooks: Mapping[str, str],
    alertmanagers: Sequence[str],
    prometheus: str,
    *flags: str,
    history: str | None = None,
    **settings: Any,
) -> AbstractContextManager[Serving]:
    """Run a relay, whose file stands in `directory`, to receivers by name.

    `history` is a connection string; `settings` are further keys of the section `relay`.
    """
    directory.mkdir(exist_ok=True)
    (directory / "token").write_text(TOKEN)
    hasty = {"interval": "500ms", "grace": "3s", **settings}
    file = {
        "webhooks": {name: {"url": url, "secret": SECRET} for name, url in webhooks.items()},
        "relay": {"url": "http://relay.invalid", "token_file": "token", **hasty},
        "alertmanager": {"urls": list(alertmanagers)},
        "prometheus": {"url": prometheus},
        **({"history": {"dsn": history}} if history else {}),
    }
    return serving(file, directory, *flags, command="relay")


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
