"""Builds the world that dashboards are tested on: everything runs for some seconds, and things go wrong."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml

from asking import Prometheus, Series
from engines import Docker, Engine
from fix_engines import running
from fix_postgres import MAJORS, PASSWORD, TOOLS, found
from hosts import probing
from judging import BUSY, Job, UserFile, at_once, job
from plimsoll.cli import main
from plimsoll.demo.postgres import PostgresServer
from plimsoll.demo.service import Service
from programs import LIFECYCLE, run_prometheus
from relaying import SECRET, TOKEN, receiver
from reloading import alertmanager, reload
from sending import QUIET, Inbox
from serving import Serving, serving
from support import require_program
from waiting import eventually
from world_history import RECEIVERS, invent, migrated, saved
from world_parts import (
    FILLING,
    HUNGRY,
    ILL,
    LOOPING,
    WEB,
    Containers,
    Hosts,
    fill,
    lock_a_table,
    wait_for_page,
)
from world_past import Days
from world_settled import SEEN, SETTLED

RELAY_PAGE = Path(__file__).parents[1] / "docs" / "relay.md"
EXPORTER, RELAY, KEEPER, JUDGE = "exporter:9745", "relay:9746", "alertmanager:9093", "prometheus:9090"
"""The instances of what runs once."""
ORGANIZATIONS = {"main": "acme", "spare": "globex"}
"""Of the servers; of them, `spare` does not answer."""
GROWTH_FLOOR, PARTITIONED_GROWTH_FLOOR = 2**20, 2**16
SHOP_CRITICAL, BILLING_CRITICAL = 0.5, 1.5
"""Critical sizes, as parts of the present sizes."""
ACKNOWLEDGED = {"alertname": "DatabaseGrowthHigh", "datname": "shop"}
SILENCED = {"alertname": "ContainerUnhealthy", "name": ILL}
TAKEN_BY, TAKEN_WITH = "ann", "the import runs until noon"

BROKEN_COLLECTOR = {
    "collector_name": "broken",
    "metrics": [
        {
            "metric_name": "shop_n",
            "type": "gauge",
            "help": "Nothing.",
            "values": ["n"],
            "query": "SELECT 1 AS m",
        }
    ],
}
"""A collector file whose query lacks a column."""

PENDING = {"HostMemoryHigh": {"threshold": "0 %", "for": "1h"}}
"""What has not been so for long enough."""
ABOUT_SILENCE = (
    *("HostOffline", "ProbeFailing", "ProberOffline", "PostgresUnreachable", "ContainerEngineUnreachable"),
    *("ExporterUnreachable", "RelayUnreachable", "RelaySourceUnreachable", "CollectorFailing"),
)
"""Alerts that a busy machine would let fire for a moment."""
RUNBOOKS = "https://wiki.example.com/alerts"


class Building:
    """Everything, as it runs.

    Args:
        scratch: where all of it stores.
        stack: what ends it.
    """

    def __init__(self, scratch: Path, stack: ExitStack) -> None:
        self._scratch = scratch
        self._stack = stack
        self._sections: dict[str, Any] = {}
        self._jobs: list[Job] = []
        self._promtool = Path(require_program("promtool"))
        self._seen: list[Series] = []

    def start(self) -> None:
        """Start it, part by part, and let things go wrong."""
        docker = self._stack.enter_context(running(Docker))
        containers = Containers(docker)
        containers.start()
        hosts = Hosts(self._scratch / "hosts", self._stack)
        self._start_postgres()
        self._start_exporter(docker)
        self._invent_past()
        self._start_judges(hosts)
        eventually(lambda: not Prometheus(self._judge.url, time.time()).instant(SEEN).is_empty, 60)
        containers.get_into_trouble()
        self._start_relay()
        hosts.get_into_trouble()
        self._take_and_silence()

    def wait(self) -> float:
        """Wait until Prometheus has seen everything, save the history, and say when that was."""
        at, lacking = 0.0, list(SETTLED)

        def has_settled() -> bool:
            nonlocal at, lacking
            prometheus = Prometheus(self._judge.url, at := round(time.time(), 3))
            lacking = [each for each in SETTLED if prometheus.instant(each).is_empty]
            return not lacking

        try:
            eventually(has_settled, 120)
        except AssertionError:
            raise AssertionError(f"the world lacks {lacking}") from None
        saved(self._server.dsn("history"), self._scratch / "history")
        self._seen = Prometheus(self._judge.url, at).stored("4m")
        return at

    def invent_calm(self) -> None:
        """Add that all was so in the hour before; everything has ended."""
        data = self._scratch / "data"
        self._past.write_calm(self._seen, self._began, self._promtool, self._scratch / "calm", data)

    # --- what is watched --------------------------------------------------------------------------------

    def _start_postgres(self) -> None:
        binaries = {major: TOOLS / "postgresql" / str(major) / "bin" for major in MAJORS}
        # Sizes are to stay what they are.
        settings = {"autovacuum": "off"}
        server = PostgresServer(found(binaries, MAJORS[-1]), self._scratch / "postgresql", settings)
        self._server = self._stack.enter_context(server)
        server.create_role(PASSWORD)
        fill(server)
        lock_a_table(server, self._stack)
        with psycopg.connect(server.dsn(), autocommit=True) as session:
            page = RELAY_PAGE.read_text()
            for statement in re.findall(r"^(CREATE (?:ROLE|DATABASE) .*);$", page, re.MULTILINE):
                session.execute(statement.encode())
        self._history = server.dsn("history", "relay", "change-me")
        migrated(self._history)
        invent(self._history)

    def _start_exporter(self, docker: Engine) -> None:
        dsn = self._server.dsn("postgres", "plimsoll", PASSWORD)
        away = dsn.replace(f":{self._server.port}/", ":1/")
        servers = [_server(name, dsn) for name, dsn in (("main", dsn), ("spare", away))]
        token = self._scratch / "token"
        token.write_text(TOKEN)
        broken = self._scratch / "broken.yml"
        broken.write_text(yaml.safe_dump(BROKEN_COLLECTOR))
        self._sections = {
            "postgres": {"servers": servers},
            "containers": [{"name": "local", "docker_host": docker.host}],
            "sql": [
                {"files": "agents", "servers": ["main"], "databases": {"include": ["billing"]}},
                {"files": str(broken), "servers": ["main"]},
            ],
            "links": {"runbooks": RUNBOOKS},
            "relay": {"url": "http://relay.invalid", "token_file": str(token), "interval": "500ms"},
        }
        self._webhooks = dict.fromkeys(RECEIVERS, "http://nobody.invalid")
        self._write("exporter")
        self._exporter = self._serve("serve", "exporter")
        of_main = 'pg_stat_user_tables_size_bytes{server="main",organization="acme",datname='
        wanted = (f'{of_main}"shop"', f'{of_main}"billing"', "agent_runs_15m{", f'name="{WEB}"')
        self._page = wait_for_page(self._exporter.url, *wanted)
        eventually(self._is_measured_alike, 60)

    def _is_measured_alike(self) -> bool:
        """Say whether sizes are what they were: PostgreSQL writes a little when a database is first used."""
        before, self._page = self._page, wait_for_page(self._exporter.url)
        return _sizes(before) == _sizes(self._page)

    # --- what judges and tells --------------------------------------------------------------------------

    def _invent_past(self) -> None:
        target = {"instance": EXPORTER, "job": "plimsoll"}
        past = self._past = Days()
        past.add_sizes_of_all(self._page, target)
        past.add_disk(FILLING)
        past.add_jump(self._page, "container_restarts_total", LOOPING, target)
        past.add_jump(self._page, "container_oom_events_total", HUNGRY, target)
        past.add_former_alerts()
        past.write(self._promtool, self._scratch / "past", self._scratch / "data")

    def _start_judges(self, hosts: Hosts) -> None:
        """Start Alertmanager, which tells nobody yet, and Prometheus."""
        receivers = [self._stack.enter_context(receiver()) for _ in RECEIVERS]
        receivers[1].answers.append(403)
        self._webhooks = {name: led.url for name, led in zip(RECEIVERS, receivers, strict=True)}
        self._write("judging")
        self._routes = self._scratch / "routes.yml"
        self._routes.write_text(QUIET)
        self._keeper = self._stack.enter_context(alertmanager(self._scratch / "keeper", self._routes))
        probed = (f"{self._exporter.url}/-/healthy", f"http://{hosts.closed.address}/")
        self._jobs = [
            _job("plimsoll", {EXPORTER: _address(self._exporter.url)}),
            _job("node", hosts.addresses),
            job("http", *probed, **probing(hosts.blackbox, "http_2xx")),
            _job("alertmanager", {KEEPER: self._keeper.address}),
        ]
        self._began = time.time()
        self._judge = self._run_prometheus()

    def _start_relay(self) -> None:
        """Start the relay, let Alertmanager tell by it, and let Prometheus scrape it, and itself."""
        self._sections |= {
            "alertmanager": {"urls": [self._keeper.url]},
            "prometheus": {"url": self._judge.url},
            "history": {"dsn": self._history},
        }
        self._write("relay")
        relay = self._serve("relay", "relay")
        self._sections["relay"]["url"] = relay.url.rstrip("/")
        shutil.copy(self._write("judging").routes, self._routes)
        reload(self._keeper)
        self._jobs += [
            _job("plimsoll-relay", {RELAY: _address(relay.url)}),
            _job("prometheus", {JUDGE: self._judge.address}),
        ]
        (self._scratch / "judge" / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()))
        reload(self._judge)

    def _take_and_silence(self) -> None:
        """Acknowledge an alert as Ann does, and silence another."""
        inbox = Inbox(self._keeper.url)
        wanted = {ACKNOWLEDGED["alertname"], SILENCED["alertname"]}
        eventually(lambda: wanted <= {alert["labels"]["alertname"] for alert in inbox.alerts()}, 60)
        file = self._scratch / "relay" / "plimsoll.yml"
        which = (ACKNOWLEDGED["alertname"], f"datname={ACKNOWLEDGED['datname']}")
        said = (f"--by={TAKEN_BY}", f"--comment={TAKEN_WITH}", f"--config.file={file}")
        assert main(["ack", *which, *said]) == 0
        inbox._ask("POST", "/api/v2/silences", _silence())

    # --- files and programs -----------------------------------------------------------------------------

    def _alerts(self) -> dict[str, Any]:
        """Let presets fire at once, but for those of which this machine's own load would decide."""
        critical = [
            {"match": f'{{datname="{name}"}}', "threshold": int(part * _sizes(self._page)[name])}
            for name, part in (("shop", SHOP_CRITICAL), ("billing", BILLING_CRITICAL))
        ]
        filling_only = {"overrides": [{"match": f'{{instance!="{FILLING}"}}', "enabled": False}]}
        disks = dict.fromkeys(("HostDiskHigh", "HostDiskFull", "HostInodesFull"), filling_only)
        loads = {name: {"threshold": "100 %"} for name in ("HostCpuHigh", "ContainerCpuHigh")}
        floors = {name: {"floor": GROWTH_FLOOR} for name in ("DatabaseGrowthHigh", "TableGrowthHigh")}
        floors |= {"PartitionedTableGrowthHigh": {"floor": PARTITIONED_GROWTH_FLOOR}}
        memory = {"ContainerMemoryHigh": {"overrides": [{"match": f'{{name="{WEB}"}}', "threshold": "40 %"}]}}
        offline = dict.fromkeys(ABOUT_SILENCE, BUSY)
        sizes = {"DatabaseSizeCritical": {"overrides": critical}}
        return at_once({**disks, **loads, **floors, **memory, **offline, **sizes, **PENDING})

    def _write(self, name: str) -> UserFile:
        """Write a user's file into a folder of its own, and what it compiles to."""
        directory = self._scratch / name
        directory.mkdir(exist_ok=True)
        webhooks = {name: {"url": url, "secret": SECRET} for name, url in self._webhooks.items()}
        webhooks["pager"]["match"] = '{severity=~"critical|high"}'
        file = _UserFile(directory, webhooks)
        file.write({**self._sections, **({"alerts": self._alerts()} if name == "judging" else {})})
        return file

    def _serve(self, command: str, name: str) -> Serving:
        directory = self._scratch / name
        return self._stack.enter_context(serving(directory / "plimsoll.yml", directory, command=command))

    def _configuration(self) -> dict[str, Any]:
        every_second = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
        return {
            "global": every_second,
            "rule_files": [str(self._scratch / "judging" / "rules" / "*.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [self._keeper.address]}]}]},
            "scrape_configs": self._jobs,
        }

    def _run_prometheus(self) -> Service:
        stored = f"--storage.tsdb.path={self._scratch / 'data'}"
        flags = ("--storage.tsdb.retention.time=90d", "--rules.alert.resend-delay=2s", LIFECYCLE)
        more = "--enable-feature=extra-scrape-metrics"
        program = run_prometheus(self._scratch / "judge", self._configuration(), stored, more, *flags)
        return self._stack.enter_context(program)


class _UserFile(UserFile):
    """One that names several webhooks."""

    def __init__(self, directory: Path, webhooks: dict[str, dict[str, str]]) -> None:
        super().__init__(directory, "", [])
        self._webhooks = webhooks


def _silence() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "matchers": [{"name": key, "value": value, "isRegex": False} for key, value in SILENCED.items()],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=8)).isoformat(),
        "createdBy": "bob",
        "comment": "known",
    }


def _sizes(page: str) -> dict[str, float]:
    """Give the sizes of databases, as the exporter's page has them."""
    found = re.findall(r'^pg_database_size_bytes\{.*datname="(\w+)"\} (\S+)$', page, re.MULTILINE)
    return {name: float(size) for name, size in found}


def _server(name: str, dsn: str) -> dict[str, Any]:
    every_scrape = {"databases": {"interval": "0", "exclude": ["history"]}, "tables": {"interval": "0"}}
    return {"name": name, "dsn": dsn, "labels": {"organization": ORGANIZATIONS[name]}, **every_scrape}


def _job(name: str, targets: dict[str, str]) -> Job:
    """Give a scrape configuration in which targets are called otherwise than they are reached."""
    static = [{"targets": [to], "labels": {"instance": called}} for called, to in targets.items()]
    return {"job_name": name, "static_configs": static}


def _address(url: str) -> str:
    return url.split("/")[2]
