"""The stack in its two forms, on a sample application and on a server of the user's, started part by part."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from plimsoll.demo import alertmanager, application, exporter, processes, programs, prometheus
from plimsoll.demo.history import DAY, History
from plimsoll.demo.postgres import PostgresServer, find_binaries
from plimsoll.demo.processes import ProcessError
from plimsoll.demo.receiver import Notification, receiving
from plimsoll.demo.service import Part, Service, fetch

EXPORTER_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, WEBHOOK_PORT = 9745, 9090, 9093, 9747
"""Where each listens if nobody else does."""

SERVER = "main"
"""The label `server` of what is watched."""

INTERVAL = "5s"
"""How often the sample application is measured and judged."""

WAITS = {"group_wait": "5s", "group_interval": "10s"}
"""How long Alertmanager waits for more to tell: shorter than shipped, for nobody is paged here."""

YESTERDAY = 0.6
"""The part of today's size that the sample application had 24 hours ago, by our invention."""

_PROGRAMS = ("prometheus", "promtool", "alertmanager")

Say = Callable[[str], None]


class Stack(NamedTuple):
    """What runs; `parts` in the order in which they were started."""

    postgres: str
    exporter: Service
    alertmanager: Service
    prometheus: Service
    pages: str
    webhook: str
    parts: list[Part]


class Starter:
    """Starts a stack in a directory; each part ends with `stack`, the last one first."""

    def __init__(self, stack: ExitStack, directory: Path, say: Say, receive: Callable[[Notification], None]) -> None:
        self._stack = stack
        self._directory = directory
        self._say = say
        self._receive = receive

    def on_sample_application(self) -> Stack:
        """Start everything, with an invented past.

        Raises:
            ProcessError: a program is missing or did not start.
        """
        tools = programs.require(*_PROGRAMS, postgres=True)
        postgres, password = self._postgres(), secrets.token_urlsafe(16)
        postgres.create_role(password)
        self._say("filling the database of the sample application, a shop, with 150 MiB")
        application.fill(postgres)
        intervals = {"databases": {"interval": INTERVAL}, "tables": {"interval": INTERVAL}}
        dsn = postgres.dsn("postgres", "plimsoll", password)
        serving = self._exporter(exporter.write_configuration(self._directory, {SERVER: dsn}, **intervals))
        self._history(tools["promtool"], serving)
        watching = self._watchers(tools, serving, postgres.dsn(application.NAME), INTERVAL)
        parts = [Part("PostgreSQL", postgres.pid, postgres.log), *watching.parts, self._application(postgres)]
        return watching._replace(parts=parts)

    def on(self, dsn: str) -> Stack:
        """Start what watches a server of the user's, of which everything is read and nothing written.

        Raises:
            ProcessError: a program is missing or did not start, or the server cannot be read at all.
        """
        tools = programs.require("prometheus", "alertmanager")
        configuration = exporter.write_configuration(self._directory, {SERVER: dsn})
        self._say("trying the server, as `plimsoll check --connect` does")
        good, findings = exporter.check(configuration)
        for line in findings.splitlines()[1:]:
            self._say(f"  {line}")
        if f"ok  {SERVER}: " not in findings:
            raise ProcessError("the server cannot be watched" if findings else "the server cannot be tried")
        if not good:
            self._say("going on without what is BAD")
        return self._watchers(tools, self._exporter(configuration), "yours", None)
