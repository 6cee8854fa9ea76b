"""One container: its state, what it uses of what it may, and what it is made from."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import VisibilityMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board, deployments
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, from_values, nothing_known
from plimsoll_dashboards.columns import label, since, table, value
from plimsoll_dashboards.container_series import (
    IDENTITY,
    counted,
    health,
    health_names,
    rate,
    state,
    state_names,
)
from plimsoll_dashboards.firing import banner, fires_since
from plimsoll_dashboards.panels import count_of_bad, dashed, graph, stacked, stat, timeline
from plimsoll_dashboards.queries import now, over_time
from plimsoll_dashboards.signals import limited, threshold
from plimsoll_dashboards.variables import alertmanager, only

_ENGINE = 'engine="$engine"'
_THIS = f'{_ENGINE},name="$name"'
_ALERTS = f'category!="meta",{_ENGINE},name=~`${{name:regex}}|`'
"""Those of its engine have no name."""

_COMPOSE = ("container_label_com_docker_compose_project", "container_label_com_docker_compose_service")

_CPU_PERCENT = f"max(container:container_cpu_usage_seconds_total:percent_of_limit{{{_THIS}}})"
_MEMORY_PERCENT = f"max(container:container_memory_working_set_bytes:percent_of_limit{{{_THIS}}})"

_NOT_RUNNING = "It does not run, or what it uses cannot be measured."


def container() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-container",
        "Plimsoll / Container",
        "One container: its state, what it uses of what it may, and what it is made from.",
        variables=[
            only("engine", "Engine", 'container_state{engine!=""}', "Docker or Podman, by its name."),
            only("name", "Container", f"container_state{{{_ENGINE}}}", "By name, whatever its id."),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS), deployments(_THIS)],
        sections=[
            Section(
                "",
                [
                    _banner().span(24).height(5),
                    _state(),
                    _started(),
                    _percent(
                        "CPU, of what it may use",
                        "Of its quota, or of the whole machine where it has none. If it is constantly near "
                        "100 %, find what is busy, or raise the quota.",
                        _CPU_PERCENT,
                    ).no_value("not running"),
                    _percent(
                        "Memory, of its limit",
                        "Without file pages that were not touched lately. At 100 % the kernel kills a "
                        "process: raise the limit, or find what leaks.",
                        _MEMORY_PERCENT,
                    ).no_value("no limit, or not running"),
                    _restarts(),
                    _kills(),
                    _cpu(),
                    _memory(),
                ],
            ),
            Section("What happened", [_states().height(6), _events(), _processes()]),
            Section("Limits", [_cpu_percent().span(8), _memory_percent().span(8), _throttled().span(8)]),
            Section("Network and block I/O", [_network(), _lost_packets(), _block_io(), _pressure()]),
            Section("What it is", [_made_from()]),
        ],
    )


def _banner() -> Table:
    return banner(
        "Alerts about this container and its engine",
        "Where the container is empty, the alert is about its engine. Begin with docker logs and docker "
        "inspect.",
        _ALERTS,
        IDENTITY,
        [
            label("Alert", "alertname"),
            label("Engine", "engine"),
            label("Container", "name"),
            fires_since(_ALERTS),
        ],
        empty="No alert about this container or its engine fires.",
    )


# --- now ------------------------------------------------------------------------------------------------


def _state() -> Stat:
    return (
        stat(
            "State",
            "What the engine says. Where it should run and does not: its log has the reason, its restart "
            "policy does not bring it back, and docker start does.",
            "none",
            now(f"max({state(_THIS)})"),
        )
        .mappings(state_names())
        .no_value("not known now")
    )


def _started() -> Stat:
    return stat(
        "Last started",
        "When it last began to run; seconds ago, again and again, is a restart loop.",
        "dateTimeFromNow",
        now(f"1000 * max(container_start_time_seconds{{{_THIS}}})"),
    ).no_value("never, or not known now")


def _percent(title: str, description: str, series: str) -> Stat:
    return (
        stat(title, description, "percent", now(series))
        .thresholds(from_values(GOOD, (75, NOTICE), (90, BAD)))
        .mappings([nothing_known()])
        .decimals(0)
    )


def _restarts() -> Stat:
    return count_of_bad(
        "Restarts in 24 h",
        "By its restart policy; what was ordered is not counted. Its log before each end has the reason.",
        BAD,
        now(f"sum({counted('container_restarts_total', _THIS, '24h')})"),
    )


def _kills() -> Stat:
    return count_of_bad(
        "OOM kills in 24 h",
        "Processes in it that the kernel killed for want of memory. Raise its limit, or find what leaks.",
        BAD,
        now(f"sum({counted('container_oom_events_total', _THIS, '24h')})"),
    )


# --- CPU and memory -------------------------------------------------------------------------------------


def _cpu() -> Graph:
    panel = graph(
        "CPU, in cores",
        "In user mode and in the kernel, stacked; the dashed line is what it may use. Much in the kernel: "
        "many small reads and writes, or memory that runs short.",
        "none",
        over_time(rate("container_cpu_user_seconds_total", _THIS), "user"),
        over_time(rate("container_cpu_system_seconds_total", _THIS), "kernel"),
        over_time(f"max(container:container_cpu_limit_cores:min{{{_THIS}}})", "limit"),
    )
    return dashed(stacked(panel.min(0)), "/^limit/", CRITICAL).no_value(_NOT_RUNNING)


def _memory() -> Graph:
    panel = graph(
        "Memory",
        "processes: what only they can free; if it grows without end, they leak. page cache: files, which "
        "the kernel drops when it must. working set is judged: both, without files that were not touched "
        "lately. The dashed line is its limit.",
        "bytes",
        over_time(f"max(container_memory_working_set_bytes{{{_THIS}}})", "working set"),
        over_time(f"max(container_memory_rss{{{_THIS}}})", "processes"),
        over_time(f"max(container_memory_cache{{{_THIS}}})", "page cache"),
        over_time(f"max(container_memory_swap{{{_THIS}}})", "swap"),
        over_time(f"max(container_spec_memory_limit_bytes{{{_THIS}}}) > 0", "limit"),
    )
    return dashed(panel.min(0), "/^limit/", CRITICAL).no_value(_NOT_RUNNING)


def _cpu_percent() -> Graph:
    panel = graph(
        "CPU, and ContainerCpuHigh",
        "Of what it may use. Above the dashed line for 10 minutes the alert fires. Overrides have lines of "
        "their own, named by their matchers.",
        "percent",
        over_time(_CPU_PERCENT, "CPU"),
        threshold("ContainerCpuHigh"),
    )
    return limited(panel.min(0), BAD)


def _memory_percent() -> Graph:
    panel = graph(
        "Memory, and ContainerMemoryHigh",
        "Of its limit, and nothing if it has none. Above the dashed line for 5 minutes the alert fires.",
        "percent",
        over_time(_MEMORY_PERCENT, "memory"),
        threshold("ContainerMemoryHigh"),
    )
    return limited(panel.min(0), BAD)


def _throttled() -> Graph:
    panel = graph(
        "Held back by its quota, and ContainerThrottled",
        "In which part of its periods it had used up its quota and had to wait. With low CPU it works in "
        "bursts: a larger quota or fewer threads make it faster.",
        "percent",
        over_time(
            f"max(container:container_cpu_cfs_throttled_periods_total:percent5m{{{_THIS}}})", "held back"
        ),
        threshold("ContainerThrottled"),
    )
    return limited(panel.min(0), BAD)


# --- state ----------------------------------------------------------------------------------------------


def _states() -> Timeline:
    return (
        timeline(
            "State and health",
            "Health is what its health check says while it runs. A gap: the engine did not answer, or the "
            "container did not exist.",
            over_time(f"max({state(_THIS)})", "state", at_least="30s"),
            over_time(f"100 + max({health(_THIS)})", "health", at_least="30s"),
        )
        .mappings([*state_names(), *health_names(added=100)])
        .show_value(VisibilityMode.AUTO)
        .no_value("Nothing is known of it in this time.")
    )


def _events() -> Graph:
    panel = graph(
        "Restarts and OOM kills within 15 minutes",
        "At each moment for the 15 minutes before. Above the dashed line, ContainerRestartLoop fires; one "
        "kill is enough for ContainerOomKilled.",
        "none",
        over_time(f"max(container:container_restarts_total:increase15m{{{_THIS}}})", "restarts"),
        over_time(f"max(container:container_oom_events_total:increase15m{{{_THIS}}})", "OOM kills"),
        threshold("ContainerRestartLoop"),
    )
    return limited(panel.min(0), BAD)


# --- network, block I/O, pressure -----------------------------------------------------------------------

_NO_NETWORK = "It has no network of its own, or does not run."


def _network() -> Graph:
    return (
        graph(
            "Network",
            "For each interface. What shares the network of another container or of the host counts there.",
            "Bps",
            *(
                over_time(
                    rate(f"container_network_{way}_bytes_total", _THIS, "interface", each=True),
                    f"{{{{interface}}}} {shown}",
                )
                for way, shown in (("receive", "received"), ("transmit", "sent"))
            ),
        )
        .min(0)
        .no_value(_NO_NETWORK)
    )


def _lost_packets() -> Graph:
    return (
        graph(
            "Packets lost",
            "Dropped or damaged. Zero is usual; constant losses are a full queue, a slow program, or a "
            "network that is at fault.",
            "pps",
            *(
                over_time(rate(f"container_network_{metric}_total", _THIS, "interface"), shown)
                for metric, shown in (
                    ("receive_packets_dropped", "dropped on arrival"),
                    ("transmit_packets_dropped", "dropped on departure"),
                    ("receive_errors", "errors while receiving"),
                    ("transmit_errors", "errors while sending"),
                )
            ),
        )
        .min(0)
        .no_value(_NO_NETWORK)
    )


def _block_io() -> Graph:
    return (
        graph(
            "Block I/O",
            "For each device; where devices lie on top of each other, the same bytes may be counted for "
            "both. What the page cache answers is not here.",
            "Bps",
            over_time(rate("container_fs_reads_bytes_total", _THIS, "device", each=True), "{{device}} read"),
            over_time(
                rate("container_fs_writes_bytes_total", _THIS, "device", each=True), "{{device}} written"
            ),
        )
        .min(0)
        .no_value("It has not read from or written to a device, or does not run.")
    )


def _pressure() -> Graph:
    return (
        graph(
            "Time spent waiting",
            "The part of the time in which something in it waited for CPU, memory or I/O. Waiting for memory "
            "is the worst: it is short of it long before a kill. Needs cgroup v2.",
            "percentunit",
            *(
                over_time(rate(f"container_pressure_{resource}_waiting_seconds_total", _THIS), f"for {shown}")
                for resource, shown in (("cpu", "CPU"), ("memory", "memory"), ("io", "I/O"))
            ),
        )
        .min(0)
        .no_value("Not measured: it does not run, or its host has no cgroup v2.")
    )


# --- what it is -----------------------------------------------------------------------------------------


def _made_from() -> Table:
    labels = ("id", "image", *_COMPOSE)
    return table(
        "What it is made from",
        "Its image and id now; more than one row while it is being replaced. Exit code 137 is a kill, often "
        "for want of memory; 139 a crash in memory; 126 and 127 a command that cannot be run or found.",
        [
            label("Image", "image"),
            label("Compose project", _COMPOSE[0]).wide(150),
            label("Compose service", _COMPOSE[1]).wide(150),
            since(
                "Created",
                f"max by ({', '.join(labels)}) (container_creation_time_seconds{{{_THIS}}})",
            ),
            since("Started", f"max by (id) (container_start_time_seconds{{{_THIS}}})"),
            value("Exit code", "none", f"max by (id) (container_exit_code{{{_THIS}}})").wide(100),
            value("Memory limit", "bytes", f"max by (id) (container_spec_memory_limit_bytes{{{_THIS}}} > 0)")
            .with_(noValue="none")
            .wide(120),
            value(
                "CPU quota",
                "none",
                f"max by (id) (container_spec_cpu_quota{{{_THIS}}} / container_spec_cpu_period{{{_THIS}}})",
            )
            .with_(noValue="none")
            .wide(100),
            label("Control group", "id"),
        ],
        empty="Not known now: it was removed, or its engine does not answer.",
        sorted_by="Created",
    ).height(5)


def _processes() -> Graph:
    return (
        graph(
            "Processes and threads",
            "If they only grow, children are not waited for, or connections are not closed.",
            "short",
            over_time(f"max(container_processes{{{_THIS}}})", "processes"),
            over_time(f"max(container_threads{{{_THIS}}})", "threads"),
        )
        .min(0)
        .no_value(_NOT_RUNNING)
    )
