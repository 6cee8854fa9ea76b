"""What has happened, and been seen by everybody, when the world that dashboards are tested on stops."""

from __future__ import annotations

from world_parts import CRASHED, FAILED_UNIT, FILLING, HUNGRY, ILL, LOOPING, OFFLINE, WEB

FIRING = (
    ("DatabaseGrowthHigh", "datname", "shop"),
    ("DatabaseSizeCritical", "datname", "shop"),
    ("TableGrowthHigh", "relname", "orders"),
    ("PartitionedTableGrowthHigh", "relname", "events"),
    ("PostgresUnreachable", "server", "spare"),
    ("ContainerDown", "name", CRASHED),
    ("ContainerRestartLoop", "name", LOOPING),
    ("ContainerUnhealthy", "name", ILL),
    ("ContainerOomKilled", "name", HUNGRY),
    ("ContainerMemoryHigh", "name", WEB),
    ("HostOffline", "instance", OFFLINE),
    ("HostDiskFilling", "instance", FILLING),
    ("HostServiceFailed", "name", FAILED_UNIT),
    ("ProbeFailing", "job", "http"),
    ("AgentDown", "agent", "silent"),
    ("AgentGatewayDisconnected", "agent", "cut off"),
    ("AgentErrorRateHigh", "agent", "cut off"),
    ("AgentContextWindowHigh", "agent", "full"),
    ("AgentTaskStuck", "agent", "full"),
    ("AgentCostHigh", "agent", "full"),
)
"""Alerts that fire when the world stops, each with a label."""

SEEN = f'container_start_time_seconds{{name="{WEB}"}} and on () up{{instance="{OFFLINE}"}} == 1'
"""There is something once Prometheus has seen what goes wrong later."""

SETTLED = (
    *(f'ALERTS{{alertstate="firing",alertname="{name}",{key}="{text}"}}' for name, key, text in FIRING),
    "count(up == 0) == 1",
    "count(count_over_time(up[1m]) >= 5) == count(up)",
    'up{job="plimsoll-relay"} == 1 and on () up{job="prometheus"} == 1',
    "plimsoll_history_up == 1",
    'ALERTS{alertstate="pending",alertname="HostMemoryHigh"}',
    f'container_health_status{{name="{WEB}",status="healthy"}} == 1',
    'alert:plimsoll_alert_suppressed:max{state="acknowledged"}',
    'alert:plimsoll_alert_suppressed:max{state="suppressed"}',
    'count(plimsoll_webhook_deliveries_total{result="delivered"} > 0) == 2',
    'plimsoll_webhook_deliveries_total{result="refused",receiver="pager"} > 0',
    f'rate(container_cpu_usage_seconds_total{{name="{WEB}"}}[1m]) > 0',
    f'container_fs_writes_bytes_total{{name="{WEB}"}} > 0',
    f'container_network_transmit_bytes_total{{name="{WEB}"}} > 0',
    "plimsoll_sql_query_failure_reason",
    f'count(count by (id) (last_over_time(container_start_time_seconds{{name="{WEB}"}}[5m]))) == 2',
)
"""Of each, there is something when the world stops."""
