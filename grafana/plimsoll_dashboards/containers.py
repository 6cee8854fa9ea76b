"""Containers: which are down, ill or short of something, and how all of them fare."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.common import VisibilityMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board, deployments
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, from_values, words
from plimsoll_dashboards.columns import Column, label, since, table, value
from plimsoll_dashboards.container_series import (
    IDENTITY,
    counted,
    health,
    health_names,
    rate,
    state,
    state_names,
)
from plimsoll_dashboards.firing import banner, fires_since, measured
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import count_of_bad, graph, stacked, stat, timeline
from plimsoll_dashboards.queries import Query, now, over_time
from plimsoll_dashboards.signals import count_among, highest, limited, threshold
from plimsoll_dashboards.variables import alertmanager
from plimsoll_dashboards.variables import label as variable

_PROJECT = "container_label_com_docker_compose_project"
_SERVICE = "container_label_com_docker_compose_service"

_ENGINES = 'engine!="",engine=~"$engine"'
_OF_PROJECT = f'{_ENGINES},{_PROJECT}=~"${_PROJECT}"'
_OF_SERVICE = f'{_OF_PROJECT},{_SERVICE}=~"${_SERVICE}"'
_CHOSEN = f'{_OF_SERVICE},name=~"$name"'
_ALERTS = f'category!="meta",{_OF_SERVICE},name=~"$name|"'
"""Those of an engine have no name."""

_CPU_PERCENT = "container:container_cpu_usage_seconds_total:percent_of_limit"
_MEMORY_PERCENT = "container:container_memory_working_set_bytes:percent_of_limit"
_THROTTLED_PERCENT = "container:container_cpu_cfs_throttled_periods_total:percent5m"
_RESTARTS = "container:container_restarts_total:increase15m"
_KILLS = "container:container_oom_events_total:increase15m"
_PRESENT = f"max by (engine) (engine:plimsoll_containers_measured:is_present{{{_ENGINES}}})"
_UNKNOWN = "no engine answers"

_ANSWERS = words({"0": ("▲▲ does not answer", CRITICAL), "1": ("● answers", GOOD)})
_NAMED = "{{engine}} {{name}}"
_NO_USAGE = (
    "Nothing is measured: does a container run, and may the exporter read cgroup files or ask the engine?"
)


def containers() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-containers",
        "Plimsoll / Containers",
        "Which containers are down, ill or short of something, and how all of them fare.",
        variables=[
            variable(
                "engine",
                "Engine",
                "engine:plimsoll_containers_measured:is_present",
                "Docker or Podman, by its name in plimsoll.yml.",
            ),
            variable(
                _PROJECT, "Compose project", f"container_state{{{_ENGINES}}}", "All includes what has none."
            ),
            variable(
                _SERVICE,
                "Compose service",
                f"container_state{{{_OF_PROJECT}}}",
                "All includes what has none.",
            ),
            variable("name", "Container", f"container_state{{{_OF_SERVICE}}}", "By name, whatever its id."),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS), deployments(_CHOSEN)],
        sections=[
            Section(
                "",
                [
                    _banner().span(24).height(6),
                    _running(),
                    _down(),
                    _restarted(),
                    _unhealthy(),
                    _killed(),
                    _engines_away(),
                    _containers().height(10),
                ],
            ),
            Section("What happened", [_states(), _restarts(), _kills()]),
            Section("CPU and memory", [_cpu_percent(), _memory_percent(), _throttled(), _memory()]),
            Section("Network and block I/O", [_network(), _block_io()]),
            Section("Their engines", [_engines(), _answers()]),
        ],
    )


# --- what is wrong --------------------------------------------------------------------------------------


def _banner() -> Table:
    return banner(
        "Container alerts that fire",
        "What to look at first. Open the container for its state, its image and what it uses; then read "
        "its log with docker logs. Where the container is empty, the alert is about its engine.",
        _ALERTS,
        IDENTITY,
        [
            label("Alert", "alertname").wide(210),
            label("Engine", "engine").wide(110),
            _container(),
            fires_since(_ALERTS),
            _beside(
                "Percent",
                "percent",
                ("ContainerCpuHigh", _CPU_PERCENT),
                ("ContainerMemoryHigh", _MEMORY_PERCENT),
                ("ContainerThrottled", _THROTTLED_PERCENT),
            ).with_(decimals=0),
            _beside(
                "In 15 minutes", "none", ("ContainerRestartLoop", _RESTARTS), ("ContainerOomKilled", _KILLS)
            ),
            _beside(
                "Exit code",
                "none",
                ("ContainerDown", "container_exit_code"),
                ("ContainerRestartLoop", "container_exit_code"),
            ),
        ],
        empty="No container alert fires.",
    )


def _container() -> Column:
    return label("Container", "name").linked("This container", page("plimsoll-container", IDENTITY))


def _beside(title: str, unit: str, *choices: tuple[str, str]) -> Column:
    of_alerts = (
        (
            f'alertname="{alert}",{_ALERTS}',
            "engine, name",
            f"max by (engine, name) ({metric}{{{_CHOSEN}}})",
        )
        for alert, metric in choices
    )
    return measured(title, unit, *of_alerts).wide(110)


def _count(containers: str) -> Query:
    """Count containers: 0 only while an engine answers, for otherwise nobody knows."""
    return now(count_among(containers, f"{_PRESENT} == 1"))


def _running() -> Stat:
    return stat(
        "Running",
        "Containers that run now. If this fell and nothing is down, somebody stopped them by order.",
        "none",
        _count(f'max by (engine, name) (container_state{{state="running",{_CHOSEN}}}) == 1'),
    ).no_value(_UNKNOWN)


def _down() -> Stat:
    return count_of_bad(
        "Down",
        "Containers that ought to run and do not: they ran, and nobody ordered them to stop. While an engine "
        "does not answer, what was down counts as down. Above zero: see the lists above and below.",
        CRITICAL,
        _count(f"min by (engine, name) (container:container_expected_running:is_up{{{_CHOSEN}}}) == 0"),
    ).no_value(_UNKNOWN)


def _restarted() -> Stat:
    return count_of_bad(
        "Restarting",
        "Containers that their restart policy has restarted within 15 minutes. One restart is worth a look "
        "at its log; several are a loop, which has an alert.",
        BAD,
        _count(f"max by (engine, name) ({_RESTARTS}{{{_CHOSEN}}}) > 0"),
    ).no_value(_UNKNOWN)


def _unhealthy() -> Stat:
    return count_of_bad(
        "Unhealthy",
        "Running containers whose health check fails. docker inspect has what the check said, under "
        "State.Health.",
        BAD,
        _count(f"max by (engine, name) (container:container_health_status:unhealthy{{{_CHOSEN}}}) > 0"),
    ).no_value(_UNKNOWN)


def _killed() -> Stat:
    return count_of_bad(
        "OOM kills in 24 h",
        "Processes that the kernel killed for want of memory, in all containers that there were. Raise the "
        "limit of memory, or find what leaks.",
        BAD,
        now(f"sum({counted('container_oom_events_total', _CHOSEN, '24h')})\nor\n0 * count({_PRESENT} == 1)"),
    ).no_value(_UNKNOWN)


def _engines_away() -> Stat:
    return count_of_bad(
        "Engines away",
        "Engines that do not answer the exporter: nothing is known of their containers. Is the daemon up, "
        "and may the exporter use its socket? The end of this page shows since when.",
        CRITICAL,
        now(count_among(f"{_PRESENT} == 0", _PRESENT)),
    ).no_value("no engine is watched")


# --- all of them ----------------------------------------------------------------------------------------


def _containers() -> Table:
    def of_each(series: str) -> str:
        return f"max by (engine, name) ({series}{{{_CHOSEN}}})"

    def of_present(series: str) -> str:
        return f"{series}\nand on (engine, name)\ncontainer_state{{{_CHOSEN}}}"

    restarts = of_present(counted("container_restarts_total", _CHOSEN, "24h"))
    return table(
        "Containers",
        "The worst first. Percents are of what a container may use: its quota or the whole machine; its "
        "limit of memory, and nothing where it has none. Exit code 137 is a kill, often for want of "
        "memory. Click a name for all that is known of the container.",
        [
            label("Engine", "engine").wide(100),
            _container(),
            value("State", "none", state(_CHOSEN, "image")).mapped(state_names()).wide(180),
            value("Health", "none", health(_CHOSEN)).mapped(health_names()).wide(110),
            _percent("CPU", of_each(_CPU_PERCENT)),
            _percent("Memory", of_each(_MEMORY_PERCENT)),
            value("Memory used", "bytes", of_each("container_memory_working_set_bytes")).wide(110),
            value("Restarts 24 h", "none", restarts).wide(110),
            value("15 min", "none", of_present(of_each(_RESTARTS))).wide(80),
            value("Exit code", "none", of_each("container_exit_code")).wide(90),
            since("Started", of_each("container_start_time_seconds")),
            label("Image", "image"),
        ],
        empty="No container is known: does the engine answer, and is it in plimsoll.yml?",
        sorted_by="State",
    )


def _percent(title: str, series: str) -> Column:
    gauge = {"type": "gauge", "mode": "basic"}
    column = value(title, "percent", series, decimals=0, min=0, max=100, custom_cellOptions=gauge)
    return column.with_(thresholds=from_values(GOOD, (75, NOTICE), (90, BAD)).build()).wide(130)


# --- over time ------------------------------------------------------------------------------------------


def _states() -> Timeline:
    return (
        timeline(
            "States",
            "When each was in which state; of many, the 20 whose state was the worst. A gap: the engine "
            "did not answer, or the container did not exist.",
            over_time(highest(f"(\n{state(_CHOSEN)}\n)", "engine, name"), _NAMED, at_least="30s"),
        )
        .mappings(state_names())
        .show_value(VisibilityMode.AUTO)
        .height(10)
        .no_value("No container is known in this time.")
    )


def _restarts() -> Graph:
    panel = graph(
        "Restarts within 15 minutes",
        "By the restart policy, at each moment for the 15 minutes before. Above its dashed line, a container "
        "raises ContainerRestartLoop.",
        "none",
        over_time(f"max by (engine, name) ({_RESTARTS}{{{_CHOSEN}}}) > 0", _NAMED),
        threshold("ContainerRestartLoop"),
    )
    return limited(panel.min(0), BAD)


def _kills() -> Graph:
    return (
        graph(
            "OOM kills within 15 minutes",
            "Processes that the kernel killed for want of memory, at each moment for the 15 minutes before; "
            "one is enough for ContainerOomKilled.",
            "none",
            over_time(f"max by (engine, name) ({_KILLS}{{{_CHOSEN}}}) > 0", _NAMED),
        )
        .min(0)
        .no_value("No process was killed for want of memory.")
    )


def _cpu_percent() -> Graph:
    panel = graph(
        "CPU, of what it may use",
        "Of its quota, or of the whole machine where it has none; the 20 that used most. Above the dashed "
        "line for 10 minutes, ContainerCpuHigh fires. What is constantly there wants a larger quota, or is a "
        "loop.",
        "percent",
        over_time(_largest(_CPU_PERCENT), _NAMED),
        threshold("ContainerCpuHigh"),
    )
    return limited(panel.min(0), BAD)


def _memory_percent() -> Graph:
    panel = graph(
        "Memory, of its limit",
        "Only containers that have a limit; the 20 that came nearest to it. Above the dashed line for 5 "
        "minutes, ContainerMemoryHigh fires. At 100 % the kernel kills a process.",
        "percent",
        over_time(_largest(_MEMORY_PERCENT), _NAMED),
        threshold("ContainerMemoryHigh"),
    )
    return limited(panel.min(0), BAD)


def _throttled() -> Graph:
    panel = graph(
        "Held back by its quota",
        "In which part of its periods a container had to wait since its quota was used up; only those that "
        "have one. High while CPU is low: it works in bursts, and a larger quota makes it faster. Above the "
        "dashed line for 15 minutes, ContainerThrottled fires.",
        "percent",
        over_time(_largest(_THROTTLED_PERCENT), _NAMED),
        threshold("ContainerThrottled"),
    )
    return limited(panel.min(0), BAD)


def _memory() -> Graph:
    largest = _largest("container_memory_working_set_bytes")
    panel = graph(
        "Memory used",
        "Stacked; the 20 that used most. Without file pages that were not touched lately, as docker stats "
        "shows it. Who grows without end leaks.",
        "bytes",
        over_time(largest, _NAMED),
    )
    return stacked(panel.min(0)).no_value(_NO_USAGE)


def _largest(metric: str) -> str:
    """Give those of a metric's series that were largest at some time."""
    return highest(f"max by (engine, name) ({metric}{{{_CHOSEN}}})", "engine, name")


def _network() -> Graph:
    panel = graph(
        "Network",
        "Received and sent together, stacked; the 20 with most at some time. What shares the network of "
        "another or of the host is counted there. A container's page has each interface and direction.",
        "Bps",
        _busiest(
            "container_network_receive_bytes_total", "container_network_transmit_bytes_total", "interface"
        ),
    )
    return stacked(panel.min(0)).no_value("No container has a network of its own, or /proc cannot be read.")


def _block_io() -> Graph:
    panel = graph(
        "Block I/O",
        "Read and written together, stacked; the 20 with most at some time. What the page cache answers is "
        "not here. A container's page has both directions, for each device.",
        "Bps",
        _busiest("container_fs_reads_bytes_total", "container_fs_writes_bytes_total", "device"),
    )
    return stacked(panel.min(0)).no_value("No container has read from or written to a device.")


def _busiest(inwards: str, outwards: str, part: str) -> Query:
    """Ask for the sums of two counters' rates, of those containers where they were greatest at some time."""
    both = "\n+\n".join(rate(metric, _CHOSEN, part) for metric in (inwards, outwards))
    return over_time(highest(f"(\n{both}\n)", "engine, name"), _NAMED)


# --- engines --------------------------------------------------------------------------------------------


def _engines() -> Table:
    def measured_by(source: str) -> str:
        return f'max by (engine) (plimsoll_containers_measured{{source="{source}",{_ENGINES}}})'

    return (
        table(
            "Engines",
            "Whether each answers the exporter, what its host has, and who says what its containers use. Not "
            "measured: the exporter may read neither their cgroup files nor the engine's stats.",
            [
                label("Engine", "engine"),
                value("Answers", "none", _PRESENT).mapped(_ANSWERS),
                value("Cores", "none", f"max by (engine) (machine_cpu_cores{{{_ENGINES}}})"),
                value("Memory", "bytes", f"max by (engine) (machine_memory_bytes{{{_ENGINES}}})"),
                value("By cgroup files", "none", measured_by("cgroup")),
                value("By its stats", "none", measured_by("stats")),
                value("Not measured", "none", measured_by("none")),
            ],
            empty="No engine is watched: name one in the section containers of plimsoll.yml.",
            sorted_by="Engine",
            descending=False,
        )
        .span(12)
        .height(8)
    )


def _answers() -> Timeline:
    return (
        timeline(
            "Does each engine answer?",
            "While one does not, nothing is known of its containers, and ContainerEngineUnreachable fires. "
            "Is the daemon up, and may the exporter use its socket?",
            over_time(_PRESENT, "{{engine}}"),
        )
        .mappings(_ANSWERS)
        .show_value(VisibilityMode.AUTO)
        .span(12)
        .no_value("No engine is watched: name one in the section containers of plimsoll.yml.")
    )
