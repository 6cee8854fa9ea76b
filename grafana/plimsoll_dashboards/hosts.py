"""Hosts: whether they answer and their services run, and whether disks, memory and CPU suffice."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, TAKEN, words
from plimsoll_dashboards.columns import Column, label, table, value
from plimsoll_dashboards.firing import banner, critical_alerts, fires_since, measured, other_alerts
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import count_of_bad, graph, timeline
from plimsoll_dashboards.queries import now, over_time
from plimsoll_dashboards.signals import (
    beyond,
    ever_bad,
    highest,
    limited,
    lowest,
    threshold,
)
from plimsoll_dashboards.variables import alertmanager
from plimsoll_dashboards.variables import label as variable

_HOSTS = 'instance=~"$instance"'
# Also what is about no instance at all, such as a job whose targets are no longer probed.
_ALERTS = 'category!~"|meta",server="",engine="",instance=~"$instance|"'

_MOUNT_LABELS = ("instance", "device", "mountpoint")
_BY_MOUNT = ", ".join(_MOUNT_LABELS)
_SUBJECT_LABELS = (*_MOUNT_LABELS, "name", "job")

_JUDGED = f'{{__name__=~"host:up:max|probe:probe_success:max",{_HOSTS}}}'


def _by_host(series: str) -> str:
    return f"max by (instance) ({series}{{{_HOSTS}}})"


def _by_mount(series: str) -> str:
    return f"max by ({_BY_MOUNT}) ({series}{{{_HOSTS}}})"


_UP = _by_host("host:up:max")
_CPU = _by_host("host:node_cpu_seconds_total:busy_percent5m")
_MEMORY = _by_host("host:node_memory_memavailable_bytes:used_percent")
# While a host is offline, what is known of its units stays.
_WATCHES_UNITS = (
    "max by (instance) "
    f'(last_over_time(node_scrape_collector_success{{collector="systemd",{_HOSTS}}}[1d])) == 1'
)

_USED = _by_mount("filesystem:node_filesystem_avail_bytes:used_percent")
_FREE = _by_mount("filesystem:node_filesystem_avail_bytes:max")
_HOURS_LEFT = _by_mount("filesystem:node_filesystem_avail_bytes:hours_until_full")
_INODES = _by_mount("filesystem:node_filesystem_files_free:used_percent")
_READ_ONLY = _by_mount("filesystem:node_filesystem_readonly:max")

_FAILED = f"max by (instance, name) (unit:node_systemd_unit_state:failed{{{_HOSTS}}})"
_PROBES = f"max by (instance, job) (probe:probe_success:max{{{_HOSTS}}})"

_OFFLINE_OR_UP = words({"0": ("✗ offline", CRITICAL), "1": ("✓ up", GOOD)})
_FAILS_OR_SUCCEEDS = words({"0": ("✗ fails", CRITICAL), "1": ("✓ succeeds", GOOD)})
_DOWN_OR_UP = words({"0": ("✗ down", CRITICAL), "1": ("✓ up", GOOD)})


def hosts() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-hosts",
        "Plimsoll / Hosts",
        "Whether hosts answer and their services run, and whether disks, memory and CPU suffice.",
        variables=[
            variable(
                "instance",
                "Host",
                '{__name__=~"host:up:max|probe:probe_success:max"}',
                "Hosts by the address at which node_exporter is scraped, and services by what is probed.",
            ),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS)],
        sections=[
            Section(
                "",
                [
                    _banner().height(7),
                    critical_alerts("hosts", _ALERTS, _JUDGED),
                    other_alerts("hosts", _ALERTS, _JUDGED),
                    _offline(),
                    _fairly_full(),
                    _failed_count(),
                    _failing_count(),
                    _all_hosts(),
                ],
            ),
            Section("File systems", [_file_systems(), _disk(), _time_left()]),
            Section("Memory and CPU", [_memory(), _cpu()]),
            Section(
                "Services and probes",
                [_failed_units().span(10).height(8), _probes().span(14).height(8), _outages()],
            ),
        ],
    )


def _banner() -> Table:
    return banner(
        "Host alerts that fire",
        "What to look at first. If a host is offline, what was full or had failed before still counts as "
        "such, and is often the reason.",
        _ALERTS,
        _SUBJECT_LABELS,
        [
            label("Alert", "alertname").wide(150),
            _host(),
            label("Device", "device").wide(100),
            label("Mounted at", "mountpoint").wide(110),
            label("Unit", "name").wide(130),
            label("Job", "job").wide(80),
            fires_since(_ALERTS),
            measured(
                "Used",
                "percent",
                (f'mountpoint!="",alertname!="HostInodesFull",{_ALERTS}', _BY_MOUNT, _USED),
                (f'mountpoint!="",alertname="HostInodesFull",{_ALERTS}', _BY_MOUNT, _INODES),
                (f'mountpoint="",category="memory",{_ALERTS}', "instance", _MEMORY),
                (f'mountpoint="",category="cpu",{_ALERTS}', "instance", _CPU),
            ).with_(decimals=1),
        ],
        empty="No alert about a host fires.",
    )


def _host() -> Column:
    return label("Host", "instance").linked("Only this host", page("plimsoll-hosts", ("instance",))).wide(160)


def _offline() -> Stat:
    return count_of_bad(
        "Hosts offline",
        "Hosts whose node_exporter does not answer Prometheus at this moment; HostOffline waits for 5 "
        "minutes. Look first at whether the host answers at all. The end of this page shows since "
        "when.",
        CRITICAL,
        now(f"count({_UP} < 1)\nor\n0 * count({_UP})"),
    ).no_value("no host (node_exporter)")


def _fairly_full() -> Stat:
    return count_of_bad(
        "File systems getting full",
        "File systems above the threshold of HostDiskHigh, overrides of it left aside. Sort the list of file "
        "systems by how long they will last.",
        NOTICE,
        now(beyond(_USED, "HostDiskHigh")),
    ).no_value("no host, or the alert is off")


def _failed_count() -> Stat:
    return count_of_bad(
        "Failed services",
        "Units that systemd counts as failed and does not start again. Their names are at the end of this "
        "page; `systemctl status` on the host tells why.",
        BAD,
        now(f"count({_FAILED})\nor\n0 * count({_WATCHES_UNITS})"),
    ).no_value("unknown: no --collector.systemd")


def _failing_count() -> Stat:
    return count_of_bad(
        "Failing probes",
        "Services that did not give blackbox_exporter the answer that was demanded: their users probably "
        "see the same. They are listed at the end of this page.",
        CRITICAL,
        now(f"count({_PROBES} < 1)\nor\n0 * count({_PROBES})"),
    ).no_value("no probe (blackbox_exporter)")


def _percent(title: str, expression: str) -> Column:
    return value(
        title,
        "percent",
        expression,
        decimals=1,
        min=0,
        max=100,
        custom_cellOptions={"type": "gauge", "mode": "basic"},
        color={"mode": "fixed", "fixedColor": TAKEN},
    )


def _all_hosts() -> Table:
    return table(
        "Hosts",
        "How each host is. The disk is its fullest one, and the time that of the one which is full first if "
        "it goes on filling. Failed services are unknown where node_exporter runs without "
        "--collector.systemd. Open a host to see only what belongs to it.",
        [
            _host(),
            value("State", "none", _UP).mapped(_OFFLINE_OR_UP).wide(100),
            _percent("CPU", _CPU),
            _percent("Memory", _MEMORY),
            _percent("Fullest disk", f"max by (instance) ({_USED})"),
            value(
                "Until full", "h", f"min by (instance) ({_HOURS_LEFT})", decimals=1, noValue="not in sight"
            ).wide(130),
            value(
                "Failed services",
                "none",
                f"count by (instance) ({_FAILED})\nor\n0 * ({_WATCHES_UNITS})",
                noValue="unknown",
            ).wide(130),
        ],
        empty="No host: let Prometheus scrape node_exporter, in a job called node or node-exporter.",
        sorted_by="State",
        descending=False,
    )


def _file_systems() -> Table:
    def fullest(series: str) -> str:
        return f"{series}\nand on ({_BY_MOUNT})\ntopk(200, {_USED})"

    state = words({"0": ("✓ writable", GOOD), "1": ("✗ read-only", CRITICAL)})
    return table(
        "File systems",
        "The 200 fullest, each device once, as df shows them. Until full is by the trend of 6 hours or the "
        "last hour, whichever is slower, from 70 % on. One that became read-only mostly has had an error: "
        "look at what the kernel says.",
        [
            _host(),
            label("Device", "device").wide(140),
            label("Mounted at", "mountpoint").wide(180),
            _percent("Used", f"topk(200, {_USED})"),
            value("Free", "bytes", fullest(_FREE)).wide(100),
            value("Until full", "h", fullest(_HOURS_LEFT), decimals=1, noValue="not in sight").wide(130),
            _percent("Inodes used", fullest(_INODES)).with_(noValue="no limit"),
            value("State", "none", fullest(_READ_ONLY)).mapped(state).wide(120),
        ],
        empty="No file system: let Prometheus scrape node_exporter.",
        sorted_by="Used",
    )


def _disk() -> Graph:
    panel = graph(
        "Disk used",
        "The 20 file systems that were fullest, and the thresholds of HostDiskHigh and HostDiskFull. A slope "
        "is a job to find; a step is a file. Overrides have lines of their own, named by their matchers.",
        "percent",
        over_time(highest(_USED, _BY_MOUNT), "{{instance}} {{mountpoint}}"),
        threshold("HostDiskHigh", "high: threshold"),
        threshold("HostDiskFull", "full: threshold"),
    ).min(0)
    return limited(limited(panel, BAD, "high: threshold"), CRITICAL, "full: threshold")


def _time_left() -> Graph:
    soon = f"{_HOURS_LEFT} < 7 * 24"
    panel = graph(
        "Time until full",
        "File systems that would be full within a week if they went on filling; below the dashed line for an "
        "hour, HostDiskFilling fires. A line that falls by an hour each hour is true; one that jumps is a "
        "burst.",
        "h",
        over_time(lowest(soon, _BY_MOUNT), "{{instance}} {{mountpoint}}"),
        threshold("HostDiskFilling"),
    ).min(0)
    return limited(panel, BAD)


def _memory() -> Graph:
    panel = graph(
        "Memory used",
        "Without cache that the kernel can drop: what is left is what programs can still get. Above the "
        "dashed line, HostMemoryHigh fires; near 100 %, the kernel kills the largest process.",
        "percent",
        over_time(highest(_MEMORY, "instance"), "{{instance}}"),
        threshold("HostMemoryHigh"),
    ).min(0)
    return limited(panel, BAD)


def _cpu() -> Graph:
    panel = graph(
        "CPU busy",
        "All processors together, over 5 minutes; waiting for disks does not count. Above the dashed line "
        "for 15 minutes, HostCpuHigh fires. A batch may take all there is: then raise its threshold.",
        "percent",
        over_time(highest(_CPU, "instance"), "{{instance}}"),
        threshold("HostCpuHigh"),
    ).min(0)
    return limited(panel, BAD)


def _failed_units() -> Table:
    return table(
        "Units that failed",
        "Units of systemd that failed. `systemctl status` shows the end of their log; what is not worth "
        "starting no longer counts after `systemctl reset-failed`.",
        [
            _host(),
            label("Unit", "name"),
            value("State", "none", _FAILED).mapped(words({"1": ("✗ failed", BAD)})).wide(100),
        ],
        empty="No unit has failed, as far as node_exporter runs with --collector.systemd.",
        sorted_by="Unit",
        descending=False,
    )


def _probes() -> Table:
    def of_probe(series: str) -> str:
        return f"max by (instance, job) ({series}{{{_HOSTS}}})"

    return table(
        "Probes",
        "Services as blackbox_exporter finds them. Without a status there was no answer: no connection, or "
        "not in time. A certificate that expires makes the probe fail from one moment to the next.",
        [
            label("Service", "instance"),
            label("Job", "job").wide(120),
            value("State", "none", _PROBES).mapped(_FAILS_OR_SUCCEEDS).wide(110),
            value("Took", "s", of_probe("probe_duration_seconds")).wide(90),
            value("HTTP status", "none", f"{of_probe('probe_http_status_code')} > 0").wide(110),
            value(
                "Certificate expires",
                "dateTimeFromNow",
                f"1000 * min by (instance, job) (probe_ssl_earliest_cert_expiry{{{_HOSTS}}})",
            ).wide(150),
        ],
        empty="No probe: let Prometheus probe services by blackbox_exporter, as the README shows.",
        sorted_by="State",
        descending=False,
    )


def _outages() -> Timeline:
    panel = timeline(
        "Offline hosts and failing probes",
        "What was down within the time shown, and from when to when. What begins and ends together shares "
        "something: a network, a provider, or Prometheus itself.",
        over_time(f"min({_UP})", "worst of all hosts"),
        over_time(f"min({_PROBES})", "worst of all probes"),
        over_time(ever_bad(_UP, "instance"), "{{instance}}"),
        over_time(ever_bad(_PROBES, "instance, job"), "{{instance}} ({{job}})"),
    )
    return panel.mappings(_DOWN_OR_UP).no_value("No host and no probe.")
