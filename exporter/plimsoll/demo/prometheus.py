"""Prometheus as the demo runs it: the shipped rules and the shipped configuration, at our addresses."""

from __future__ import annotations

import contextlib
import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plimsoll.alerts.rendering import render
from plimsoll.demo import debian
from plimsoll.demo.service import LOOPBACK, Command, Listener, Service
from plimsoll.shipped import shipped


def running(
    program: Path,
    directory: Path,
    *,
    exporter: str,
    alertmanager: str,
    relay: Path | None = None,
    rules: Sequence[Path] = (),
    interval: str | None = None,
    port: int = 0,
) -> contextlib.AbstractContextManager[Service]:
    """Run Prometheus on the data in `directory`, which a history may have filled.

    Args:
        program: the path of `prometheus`.
        directory: where its configuration, log and data stand.
        exporter: where it scrapes the exporter, as host:port.
        alertmanager: where it sends alerts and scrapes, as host:port.
        relay: a file that says where it scrapes the relay, which starts later; None is without a relay.
        rules: the files of rules; without any, those that are shipped.
        interval: how often it scrapes and evaluates; None leaves this as it is shipped.
        port: where it listens, if nobody else does; 0 leaves the choice to the system.
    """
    assets = debian.prometheus_pages(program)

    def command(port: int) -> Command:
        address = f"{LOOPBACK}:{port}"
        targets = {"plimsoll": exporter, "alertmanager": alertmanager, "prometheus": address}
        file = directory / "prometheus.yml"
        configuration = _configuration(targets, relay, rules or _shipped_rules(), interval)
        file.write_text(yaml.safe_dump(configuration, sort_keys=False), "utf-8")
        return [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={data(directory)}",
            "--storage.tsdb.retention.time=90d",
            # An alert that has waited for its time before the start need not wait ten minutes again.
            "--rules.alert.for-grace-period=0s",
            # It takes 5 seconds to find Alertmanager; what it says before that is lost, and said again after:
            "--rules.alert.resend-delay=5s",
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}",
            *([f"--web.local-assets={assets}"] if assets else []),
        ]

    log = directory / "prometheus.log"
    listener = Listener("Prometheus", command, log, announcement="Server is ready to receive web requests")
    return listener.running(port)


def data(directory: Path) -> Path:
    """Return where a Prometheus that runs in `directory` keeps its samples."""
    return directory / "prometheus"


def pages(program: Path, url: str) -> str:
    """Return the address above its pages /graph and /alerts; Debian's has the classic ones only."""
    return f"{url}/classic" if debian.prometheus_pages(program) else url


def rules_with_links(directory: Path, links: Mapping[str, str]) -> list[Path]:
    """Return the files of rules, with those that hold links compiled anew into `directory`.

    Args:
        directory: where the compiled file stands.
        links: the section `links` of plimsoll.yml.
    """
    configuration, alerts = directory / "links.yml", directory / "alerts.yml"
    configuration.write_text(yaml.safe_dump({"links": dict(links)}), "utf-8")
    alerts.write_text(render(configuration).files["rules/alerts.yml"], "utf-8")
    return [alerts if path.name == alerts.name else path for path in _shipped_rules()]


def _shipped_rules() -> list[Path]:
    rules = shipped("rules")
    names = yaml.safe_load((rules / "prometheus.yml").read_text("utf-8"))["rule_files"]
    return [rules / name for name in names]


def write_target(file: Path, address: str) -> None:
    """Write the file of a target, which a running Prometheus watches."""
    file.write_text(json.dumps([{"targets": [address]}]), "utf-8")


def _configuration(
    targets: Mapping[str, str], relay: Path | None, rules: Sequence[Path], interval: str | None
) -> dict[str, Any]:
    """Return the shipped configuration with the rules' full paths, our targets by job, and our interval."""
    file = shipped("rules") / "prometheus.yml"
    configuration: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    configuration["rule_files"] = [glob.escape(str(path)) for path in rules]
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    if relay:
        job = {"job_name": "plimsoll-relay", "file_sd_configs": [{"files": [glob.escape(str(relay))]}]}
        configuration["scrape_configs"].append(job)
    static = [{"targets": [targets["alertmanager"]]}]
    configuration["alerting"]["alertmanagers"] = [{"static_configs": static}]
    if interval:
        configuration["global"] |= dict.fromkeys(
            ("scrape_interval", "scrape_timeout", "evaluation_interval"), interval
        )
    return configuration
