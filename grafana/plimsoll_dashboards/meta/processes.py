"""The processes of Plimsoll and around it: whether they run, what they are, and what they use."""

from __future__ import annotations

from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph

from plimsoll_dashboards.colours import BAD, GOOD, words
from plimsoll_dashboards.columns import label, since, table, value
from plimsoll_dashboards.meta.series import PROCESSES, REACHABLE
from plimsoll_dashboards.panels import graph
from plimsoll_dashboards.queries import over_time

_CPU = f"rate(process_cpu_seconds_total{{{PROCESSES}}}[$__rate_interval])"
_MEMORY = f"process_resident_memory_bytes{{{PROCESSES}}}"


def processes() -> Table:
    """Build the list of them."""
    monitors = "\nor\n".join(
        f"last_over_time({program}_build_info[1d])" for program in ("prometheus", "alertmanager")
    )
    up = (
        f"max by (job, instance) (\nexporter:up:max{{{PROCESSES}}}\nor\nrelay:up:max{{{PROCESSES}}}\nor\n"
        f"up{{{PROCESSES}}} and on (job, instance) (\n{monitors}\n)\n)"
    )
    versions = f"topk by (job, instance) (1,\n{_each('build_info')}\n)"
    states = (
        f"{up} * on (job, instance) group_left (version) {versions}\n"
        f"or\n({up} unless on (job, instance) {versions})"
    )
    accepted = f"max by (job, instance) (\n{_each('config_last_reload_successful')}\n)"
    loaded = f"max by (job, instance) (\n{_each('config_last_reload_success_timestamp_seconds')}\n)"
    return table(
        "Processes",
        "Every exporter and relay, and what else Prometheus scrapes of Prometheus and Alertmanager. "
        "unreachable: see whether it runs. refused: its file was changed and is wrong, and the former holds "
        "until its next start; `plimsoll check` names the mistakes.",
        [
            value("State", "none", states).mapped(REACHABLE).wide(130),
            label("Job", "job").wide(130),
            label("Process", "instance"),
            label("Version", "version").wide(100),
            value("Configuration", "none", accepted)
            .mapped(words({"1": ("✔ accepted", GOOD), "0": ("✖ refused", BAD)}))
            .wide(120),
            since("Loaded", loaded),
            since("Started", _of_ours(f"process_start_time_seconds{{{PROCESSES}}}")),
            value("CPU", "percentunit", _of_ours(_CPU), decimals=1).wide(80),
            value("Memory", "bytes", _of_ours(_MEMORY)).wide(100),
        ],
        empty="Prometheus scrapes neither the job plimsoll nor plimsoll-relay.",
        sorted_by="State",
        descending=False,
    )


def usage() -> list[Graph]:
    """Build the graphs of what each of them uses."""
    return [
        _of_processes(
            "CPU",
            "In cores. The exporter works once a scrape; if it is busy all the time, it has too many tables "
            "or too short an interval: lengthen `tables.interval`.",
            "none",
            _CPU,
        ),
        _of_processes(
            "Memory",
            "Resident memory. Steady growth over days, without more tables or containers, is a leak: keep "
            "the graph for a report, and restart the process.",
            "bytes",
            _MEMORY,
        ),
        _of_processes(
            "Open files",
            "File descriptors and sockets, as a part of the limit of the process. Near all of it, nothing "
            "can be opened or connected any more: raise the limit (`ulimit -n`), and see what is open.",
            "percentunit",
            f"process_open_fds{{{PROCESSES}}} / process_max_fds{{{PROCESSES}}}",
        ),
    ]


def _of_processes(title: str, description: str, unit: str, series: str) -> Graph:
    panel = graph(title, description, unit, over_time(_of_ours(series), "{{job}} {{instance}}"))
    return panel.min(0).span(8)


def _each(name: str) -> str:
    """Give what each process says under a name that begins with that of its program."""
    programs = ("plimsoll", "prometheus", "alertmanager")
    return "\nor\n".join(f"{program}_{name}{{{PROCESSES}}}" for program in programs)


def _of_ours(series: str) -> str:
    """Give a metric that any process may have, of these processes."""
    return f"max by (job, instance) ({series})\nand on (job, instance) (\n{_each('build_info')}\n)"
