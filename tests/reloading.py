"""Runs Prometheus and Alertmanager on sets of files as `plimsoll render` publishes them."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from plimsoll.alerts.rollout.releases import content_hash
from plimsoll.demo import debian
from plimsoll.demo.service import LOOPBACK, Command, Listener, Service, fetch
from programs import run_prometheus
from support import require_program

ALONE = "--cluster.listen-address="
"""Alertmanager's flag for no cluster."""
REFUSED_RULE = "sum by"
"""An expression that Prometheus refuses."""
UNDEFINED = "nobody"
"""A receiver that does not exist."""


def rendered(
    name: str,
    *,
    expression: str = "vector(1)",
    receiver: str = "default",
    templates: str | None = None,
) -> dict[str, str]:
    """Give a complete set of files; `name` tells it from others."""
    routes: dict[str, Any] = {
        "route": {"receiver": receiver, "routes": [{"receiver": name, "matchers": [f'set="{name}"']}]},
        "receivers": [{"name": "default"}, {"name": name}],
        **({"templates": [templates]} if templates else {}),
    }
    recorded = [{"record": f"{name}:one:sum", "expr": expression}]
    files = {
        "rules/recording.yml": _yaml({"groups": [{"name": f"{name}_signals", "rules": recorded}]}),
        "alertmanager/alertmanager.yml": _yaml(routes),
    }
    info = {
        "record": "plimsoll:rules_info",
        "expr": "vector(1)",
        "labels": {"version": f"{name}-{content_hash(files)}"},
    }
    alert = {"alert": name.title(), "expr": "vector(0) > 1", "labels": {"severity": "info"}}
    groups = [{"name": "alert_table", "rules": [info]}, {"name": name, "rules": [alert, alert]}]
    return {"rules/alerts.yml": _yaml({"groups": groups}), **files}


def prometheus(
    directory: Path,
    published: Path,
    *flags: str,
    rule_files: tuple[str, ...] = ("rules/*.yml",),
) -> AbstractContextManager[Service]:
    """Run Prometheus, which stores in `directory`, on the rules in `published`."""
    configuration = {"rule_files": [str(published / pattern) for pattern in rule_files]}
    return run_prometheus(directory, configuration, f"--storage.tsdb.path={directory / 'data'}", *flags)


def alertmanager(
    directory: Path, configuration: Path, *, port: int = 0, cluster: Sequence[str] = (ALONE,)
) -> AbstractContextManager[Service]:
    """Run Alertmanager, which stores in `directory`, on a configuration; `cluster` are flags."""
    program = Path(require_program("alertmanager", "prometheus-alertmanager"))
    directory.mkdir(exist_ok=True)
    templates = debian.alertmanager_templates(program)
    if templates:
        program = debian.copy_that_looks_here(program, directory / program.name)

    def command(port: int) -> Command:
        return [
            program,
            f"--config.file={configuration}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            *cluster,
        ]

    log = directory / "log"
    return Listener("Alertmanager", command, log, announcement="Listening on", cwd=templates).running(port)


@asynccontextmanager
async def answering(
    pages: Mapping[str, str | tuple[int, str]], requests: list[web.BaseRequest] | None = None
) -> AsyncIterator[str]:
    """Serve pages by path, 200 unless a status stands before the text; all else never is answered."""

    async def answer(request: web.BaseRequest) -> web.Response:
        if requests is not None:
            requests.append(request)
        if (page := pages.get(request.path)) is None:
            await asyncio.sleep(60)
            raise web.HTTPNotFound
        status, text = (200, page) if isinstance(page, str) else page
        headers = {"Location": text} if status // 100 == 3 else {}
        body = text.encode("utf-8", "surrogateescape")
        return web.Response(
            status=status, body=body, headers=headers, charset="utf-8", content_type="text/plain"
        )

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def rules_of(prometheus: Service) -> set[str]:
    """Give the names of all groups that Prometheus runs."""
    groups = json.loads(fetch(f"{prometheus.url}/api/v1/rules"))["data"]["groups"]
    return {group["name"] for group in groups}


def receivers_of(alertmanager: Service) -> set[str]:
    """Give the names of the receivers that Alertmanager has."""
    return {receiver["name"] for receiver in json.loads(fetch(f"{alertmanager.url}/api/v2/receivers"))}


def reload(service: Service) -> None:
    """Let a program read its files again, as anybody may at any moment; fails when it refuses them."""
    request = urllib.request.Request(f"{service.url}/-/reload", method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def _yaml(value: Any) -> str:
    class Dumper(yaml.SafeDumper):
        """Writes out what stands there twice."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False))
