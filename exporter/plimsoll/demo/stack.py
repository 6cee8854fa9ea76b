"""The stack in its two forms: on a sample application, and on a server of the user's."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plimsoll.config.engines import engine_here
from plimsoll.demo import (
    alertmanager,
    application,
    archive,
    exporter,
    grafana,
    processes,
    programs,
    prometheus,
    relay,
)
from plimsoll.demo.history import DAY, History
from plimsoll.demo.postgres import PostgresServer, find_binaries
from plimsoll.demo.processes import ProcessError
from plimsoll.demo.receiver import Notification, receiving
from plimsoll.demo.service import LOOPBACK, Part, Service, fetch, free_port

EXPORTER_PORT, RELAY_PORT, WEBHOOK_PORT = 9745, 9746, 9747
PROMETHEUS_PORT, ALERTMANAGER_PORT, GRAFANA_PORT = 9090, 9093, 3000
"""Where each listens if nobody else does."""

SERVER = "main"
"""The label `server` of what is watched."""

INTERVAL = "5s"
"""How often the sample application is measured and judged."""

WAITS = {"group_wait": "2s", "group_interval": "10s"}
"""How long Alertmanager waits for more to tell: shorter than shipped, for nobody is paged here."""

HASTE = {"interval": INTERVAL, "grace": "30s"}
"""How often the relay looks, and how long it doubts, beside the sample application."""

YESTERDAY = 0.6
"""The part of its present size that the sample application had 24 hours ago, by our invention."""

_RELAY_TARGET = "relay.json"
"""The file that tells Prometheus where the relay is."""


SHIPPED_LINKS = {
    "alertmanager": f"http://{LOOPBACK}:{ALERTMANAGER_PORT}",
    "dashboards": f"http://{LOOPBACK}:{GRAFANA_PORT}",
}
"""Where the links in the shipped rules lead."""


class Stack(NamedTuple):
    """What runs; `parts` in the order in which they were started."""

    exporter: Service
    alertmanager: Service
    prometheus: Service
    pages: str
    relay: Service
    kept: archive.Archive | None
    webhook: str
    parts: list[Part]


class Starter:
    """Starts a stack part by part; `ending` ends them, the last one first.

    Args:
        directory: where all of them keep what they write.
        say: prints one line for each step.
        receive: gets each notification, in a thread.
        ending: what ends them.
    """

    def __init__(
        self,
        directory: Path,
        say: Callable[[str], None],
        receive: Callable[[Notification], None],
        ending: ExitStack,
    ) -> None:
        self._directory = directory
        self._say = say
        self._receive = receive
        self._ending = ending
        self._grafana = grafana.find()
        self._grafana_port = free_port(GRAFANA_PORT) if self._grafana else GRAFANA_PORT

    def on_sample_application(self) -> Stack:
        """Start PostgreSQL with an application that writes, and what watches it, with an invented past.

        Raises:
            ProcessError: a program is missing or did not start.
        """
        tools = programs.require("prometheus", "promtool", "alertmanager", postgres=True)
        postgres = self._postgres()
        kept = archive.create(postgres)  # on the server that is watched, so it is watched, too
        watched = self._exporter(
            self._role_on(postgres), databases={"interval": "0"}, tables={"interval": "0"}
        )
        self._history(tools["promtool"], watched)
        stack = self._watchers(tools, watched, INTERVAL, kept)
        stack.parts.insert(0, Part("PostgreSQL", postgres.pid, postgres.log))
        stack.parts.append(self._application(postgres))
        return stack

    def on_server(self, dsn: str) -> Stack:
        """Start what watches the server at `dsn`; nothing is written to that.

        Raises:
            ProcessError: a program is missing or did not start, or the server cannot be read at all.
        """
        tools = programs.require("prometheus", "alertmanager")
        _require_connection_string(dsn)
        return self._watchers(tools, self._exporter(dsn), None, None)

    def show(self, stack: Stack) -> None:
        """Start Grafana, if there is one; everything else does without, and need not wait for it."""
        if self._grafana is None:
            return
        self._say("starting Grafana")
        try:
            showing = self._ending.enter_context(
                grafana.running(
                    self._grafana,
                    self._directory,
                    prometheus=stack.prometheus.url,
                    alertmanager=stack.alertmanager.url,
                    history=stack.kept.reader if stack.kept else None,
                    port=self._grafana_port,
                )
            )
        except ProcessError as error:
            self._say(f"going on without it: {error}\n")
            return
        stack.parts.append(showing.part)
        self._say(f"Grafana       {showing.url}  (nobody needs to log in)\n")

    def _postgres(self) -> PostgresServer:
        self._say("starting PostgreSQL")
        # What is written is kept small; in data that nobody keeps, the log of changes would be the most.
        settings = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "128MB"}
        server = PostgresServer(find_binaries(), self._directory / "postgresql", settings)
        self._ending.enter_context(server)
        self._say("filling the database of the sample application, a shop, with 140 MiB")
        application.fill(server)
        return server

    def _role_on(self, postgres: PostgresServer) -> str:
        password = secrets.token_urlsafe(16)
        postgres.create_role(password)
        return postgres.dsn("postgres", "plimsoll", password)

    def _exporter(self, dsn: str, **settings: object) -> Service:
        engine = self._engine()
        configuration = exporter.write_configuration(self._directory, {SERVER: dsn}, engine, **settings)
        self._check(configuration)
        self._say("starting the exporter")
        serving = exporter.serving(configuration, self._directory, port=EXPORTER_PORT)
        return self._ending.enter_context(serving)

    def _engine(self) -> str | None:
        """Give the address of this host's container engine, if there is one that we may use."""
        engine = engine_here()
        if engine is None or not engine.startswith("unix://"):
            return None
        self._say(f"watching the containers of {engine} too, which are only read")
        return engine

    def _check(self, configuration: Path) -> None:
        self._say("trying what is watched, as `plimsoll check --connect` does:")
        good, findings = exporter.check(configuration)
        for line in findings:
            self._say(f"  {line}")
        if not any(line.startswith(f"ok  {SERVER}") for line in findings):
            raise ProcessError("the server cannot be read; see above")
        if not good:
            self._say("going on without what is BAD")

    def _history(self, promtool: Path, watched: Service) -> None:
        self._say("inventing two days of history, in which the shop had 60 % of its size yesterday")
        what = "measuring the tables of the sample application"
        page = processes.wait_until(lambda: _page_with_tables(watched), what=what)
        history = History()
        target = {"instance": watched.address, "job": "plimsoll"}
        history.add_sizes(page, application.NAME, _size_in_the_past, scraped_by=target)
        history.write(promtool, self._directory / "history", prometheus.data(self._directory))

    def _watchers(
        self, tools: dict[str, Path], watched: Service, interval: str | None, kept: archive.Archive | None
    ) -> Stack:
        webhook = self._ending.enter_context(receiving(self._receive, port=WEBHOOK_PORT))
        self._say("starting Alertmanager")
        telling = self._ending.enter_context(
            alertmanager.running(
                tools["alertmanager"], self._directory, webhook=webhook, waits=WAITS, port=ALERTMANAGER_PORT
            )
        )
        self._say("starting Prometheus")
        judging = self._ending.enter_context(
            prometheus.running(
                tools["prometheus"],
                self._directory,
                exporter=watched.address,
                alertmanager=telling.address,
                relay=self._directory / _RELAY_TARGET,
                rules=self._rules(telling),
                interval=interval,
                port=PROMETHEUS_PORT,
            )
        )
        pages = prometheus.pages(tools["prometheus"], judging.url)
        between = self._relay(telling, judging, webhook, kept)
        parts = [watched.part, telling.part, judging.part, between.part]
        return Stack(watched, telling, judging, pages, between, kept, webhook, parts)

    def _rules(self, telling: Service) -> list[Path]:
        """Give the rules as they are shipped, unless their links would lead to what others have there."""
        links = {
            "alertmanager": telling.url,
            "dashboards": f"http://{LOOPBACK}:{self._grafana_port}",
        }
        return [] if links == SHIPPED_LINKS else prometheus.rules_with_links(self._directory, links)

    def _relay(
        self, telling: Service, judging: Service, webhook: str, kept: archive.Archive | None
    ) -> Service:
        """Start the relay, which asks Alertmanager and Prometheus, and let both know where it is."""
        self._say("starting the relay")
        between = self._ending.enter_context(
            relay.running(
                self._directory,
                alertmanager=telling.url,
                prometheus=judging.url,
                webhook=webhook,
                history=kept.writer if kept else None,
                settings=HASTE if kept else None,
                port=RELAY_PORT,
            )
        )
        prometheus.write_target(self._directory / _RELAY_TARGET, between.address)
        token_file = str(relay.token_file(self._directory))
        alertmanager.tell_through_relay(telling, self._directory, between.url, token_file)
        return between

    def _application(self, postgres: PostgresServer) -> Part:
        self._say("starting the application, which writes from now on")
        log = self._directory / "application.log"
        command = [*exporter.PYTHON, "plimsoll.demo.application", postgres.dsn(application.NAME)]
        process = processes.spawn(command, log=log)
        self._ending.callback(processes.end, process)
        return Part("the sample application", process.pid, log)


def _require_connection_string(dsn: str) -> None:
    try:
        conninfo_to_dict(dsn)
        is_one = bool(dsn.strip())
    except (psycopg.Error, UnicodeError):  # the message may quote a part of the password
        is_one = False
    if not is_one:
        raise ProcessError(
            "--dsn is no connection string: postgresql://user@host:port/database or host=… user=… is"
        )


def _page_with_tables(watched: Service) -> str:
    """Return the exporter's page, or nothing while the tables are not yet on it."""
    page = fetch(f"{watched.url}/metrics")
    first = f'pg_stat_user_tables_size_bytes{{server="{SERVER}",datname="{application.NAME}"'
    return page if first in page else ""


def _size_in_the_past(age: float) -> float:
    """Grow a little on the first of the two days, and by two thirds of what there was on the second."""
    days = age / DAY
    return 1 - (1 - YESTERDAY) * days if days <= 1 else YESTERDAY - (days - 1) / 20
