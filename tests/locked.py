"""Runs exporter, relay, Prometheus and Alertmanager as docs/security.md locks them down, on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import signal
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fix_web import hashed
from plimsoll.cli import main
from plimsoll.demo import debian, processes, prometheus
from plimsoll.demo.service import LOOPBACK, free_port
from relaying import Receiver, receiver
from serving import Serving, serving
from support import require_program
from waiting import eventually

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")

NOBODY = f"{LOOPBACK}:1"
WAITS = {"group_wait: 30s": "group_wait: 1s", "group_interval: 5m": "group_interval: 1s"}
HASTY = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
ALERT = "ContainerEngineUnreachable"
WATCHED = {
    "containers": [{"name": "local", "docker_host": "unix:///nonexistent/docker.sock"}],
    "alerts": {ALERT: {"for": "0s"}},
}
"""What makes an alert fire at once."""
PORTS = {"exporter": 9745, "relay": 9746, "prometheus": 9090, "alertmanager": 9093}
"""Where each listens on the page."""


def block(name: str) -> str:
    """Give the block of the page below a comment."""
    (found,) = re.findall(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def command(*begin: str) -> list[str]:
    """Give the arguments of the only command of the page that begins with some words."""
    lines = [line.split() for line in block("commands").splitlines()]
    (found,) = (words for words in lines if words[: len(begin)] == [*begin] and words[-1] != "--reload")
    return found[1:]


@dataclass
class Locked:
    """What runs, and a browser's way to its pages."""

    directory: Path
    receiver: Receiver
    addresses: dict[str, str] = field(default_factory=lambda: dict.fromkeys(PORTS, NOBODY))
    relay: Serving = field(init=False)

    # --- files

    def write(self, file: str, text: str) -> None:
        """Write what the page has, with the addresses that are known."""
        for kind, port in PORTS.items():
            text = text.replace(f"{kind}:{port}", self.addresses[kind])
        (self.directory / file).write_text(text, "utf-8")

    def write_user_file(self, **changes: Mapping[str, Any]) -> None:
        """Write plimsoll.yml, with keys of sections changed."""
        content = {**yaml.safe_load(block("plimsoll.yml")), **WATCHED}
        content["webhooks"]["default"]["url"] = self.receiver.url
        content["relay"] |= {"interval": "500ms", "grace": "5s"}
        for section, keys in changes.items():
            content[section] |= keys
        self.write("plimsoll.yml", yaml.safe_dump(content))

    def write_web_file(self, kind: str, **tls: str) -> None:
        """Write the web configuration of one of them, with keys of `tls_server_config` changed."""
        name = "machines" if kind in ("exporter", "relay") else "pages"
        content = yaml.safe_load(re.sub("exporter|alertmanager", kind, block(f"web.yml of {name}")))
        content["basic_auth_users"] = {
            user: hashed(self.password(user)) for user in content["basic_auth_users"]
        }
        content["tls_server_config"] |= tls
        (self.directory / f"web-{kind}.yml").write_text(yaml.safe_dump(content), "utf-8")

    def password(self, user: str) -> str:
        """Give a user's password."""
        return (self.directory / "secrets" / user).read_text("utf-8").strip()

    # --- what is asked

    def fetch(self, kind: str, path: str) -> str:
        """Ask for a page as a browser of the user plimsoll would."""
        pair = base64.b64encode(f"plimsoll:{self.password('plimsoll')}".encode()).decode()
        request = urllib.request.Request(
            f"https://{self.addresses[kind]}{path}", headers={"Authorization": f"Basic {pair}"}
        )
        context = ssl.create_default_context(cafile=self.directory / "tls" / "ca.pem")
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return str(response.read().decode())

    def targets(self) -> dict[str, tuple[str, str]]:
        """Give health and error of each job's target, which may not be known yet."""
        active = json.loads(self.fetch("prometheus", "/api/v1/targets"))["data"]["activeTargets"]
        known = {target["labels"]["job"]: (target["health"], target["lastError"]) for target in active}
        return defaultdict(lambda: ("unknown", ""), known)

    def value(self, expression: str) -> float | None:
        """Ask Prometheus for the value of the only series of an expression, or None."""
        path = f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        result = json.loads(self.fetch("prometheus", path))["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def run(self, *arguments: str) -> int:
        """Run a command of ours where the files are, and give its exit status."""
        with contextlib.chdir(self.directory):
            return main([*arguments])

    def reload_relay(self) -> None:
        """Let the relay read its file again, and wait until it has."""
        before = len(self.relay.messages("configuration loaded"))
        self.relay.signal(signal.SIGHUP)
        eventually(lambda: len(self.relay.messages("configuration loaded")) > before)

    # --- processes

    def start(self, stack: ExitStack, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Start everything, each when it is known whom it asks; Prometheus has further jobs."""
        for kind in PORTS:
            self.write_web_file(kind)
        self.write_user_file()
        self._serve(stack, "serve", "exporter")
        self.relay = self._serve(stack, "relay", "relay")
        self.write_user_file()
        assert self.run(*command("plimsoll", "render")) == 0
        routes = self.directory / "rendered" / "alertmanager" / "alertmanager.yml"
        text = routes.read_text("utf-8")
        for usual, soon in WAITS.items():
            text = text.replace(usual, soon)
        routes.write_text(text, "utf-8")
        stack.enter_context(self._alertmanager())
        configuration = yaml.safe_load(block("prometheus.yml"))
        configuration["global"] = HASTY
        configuration["scrape_configs"] += jobs
        self.write("prometheus.yml", yaml.safe_dump(configuration))
        stack.enter_context(self._prometheus())
        self.write_user_file()
        self.reload_relay()

    def _serve(self, stack: ExitStack, name: str, kind: str) -> Serving:
        web = next(word for word in command("plimsoll", name) if word.startswith("web-"))
        flag = f"--web.config.file={self.directory / web}"
        file = self.directory / "plimsoll.yml"
        running = stack.enter_context(serving(file, self.directory, flag, command=name))
        self.addresses[kind] = running.url.removeprefix("https://").rstrip("/")
        return running

    @contextmanager
    def _alertmanager(self) -> Iterator[None]:
        program = Path(require_program("alertmanager", "prometheus-alertmanager"))
        templates = debian.alertmanager_templates(program)
        if templates:
            program = debian.copy_that_looks_here(program, self.directory / program.name)
        stored = [f"--storage.path={self.directory / 'telling'}", "--cluster.listen-address="]
        with self._running("alertmanager", [program, *self._flags("alertmanager"), *stored], templates):
            yield

    @contextmanager
    def _prometheus(self) -> Iterator[None]:
        program = Path(require_program("prometheus"))
        pages = debian.prometheus_pages(program)
        stored = [
            f"--storage.tsdb.path={prometheus.data(self.directory)}",
            *([f"--web.local-assets={pages}"] if pages else []),
        ]
        with self._running("prometheus", [program, *self._flags("prometheus"), *stored]):
            yield

    def _flags(self, name: str) -> list[str]:
        """Give the flags of the page, with whole paths: Debian's Alertmanager runs in a folder of its own."""
        return re.sub(r"\.file=", f".file={self.directory}/", shlex.join(command(name))).split()

    @contextmanager
    def _running(self, kind: str, line: Sequence[str | Path], cwd: Path | None = None) -> Iterator[None]:
        self.addresses[kind] = f"{LOOPBACK}:{free_port()}"
        log = self.directory / f"{kind}.log"
        listen = f"--web.listen-address={self.addresses[kind]}"
        process = processes.spawn([*line, listen], log=log, cwd=cwd)
        try:
            processes.wait_until(
                self._answers(kind), what=f"starting {kind}", timeout=30, process=process, log=log
            )
            yield
        finally:
            processes.end(process)

    def _answers(self, kind: str) -> Callable[[], bool]:
        def answers() -> bool:
            try:
                self.fetch(kind, "/-/ready")
            except OSError:
                return False
            return True

        return answers


@contextmanager
def locked(directory: Path, jobs: Callable[[Locked], Sequence[Mapping[str, Any]]]) -> Iterator[Locked]:
    """Run everything in an empty directory; `jobs` gives further ones for Prometheus."""
    certificates = block("certificates").replace("DNS:$name", f"DNS:$name,IP:{LOOPBACK}")
    subprocess.run(["sh", "-euc", certificates], cwd=directory, check=True, capture_output=True)
    with receiver() as hook, ExitStack() as stack:
        running = Locked(directory, hook)
        running.start(stack, jobs(running))
        yield running
