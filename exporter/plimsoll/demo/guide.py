"""What the demo tells its reader: the addresses, what to look at there, and what of it is invented."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlencode

from plimsoll.demo import exporter, grafana, programs
from plimsoll.demo.stack import INTERVAL, Stack
from plimsoll.shipped import shipped

_GROWTH = 'table:pg_stat_user_tables_size_bytes:growth24h_percent_above_floor{relname="orders"}'
_TABLE_SIZE = 'pg_stat_user_tables_size_bytes{relname="orders"}'
_DATABASE_SIZE = "database:pg_database_size_bytes:max"


def addresses(stack: Stack) -> str:
    """List where everything is."""
    return f"""
Exporter      {stack.exporter.url}/metrics
Prometheus    {stack.prometheus.url}
Alertmanager  {stack.alertmanager.url}
Relay         {stack.relay.url}/metrics
Grafana       {_grafana()}
Webhook       {stack.webhook}  (prints below what it receives)
Logs, data    {_directory(stack)}  (removed at the end)
"""


def on_sample_application(stack: Stack) -> str:
    """Tell what there is to see when the sample application is watched."""
    return f"""\
Look at
  what is measured      curl -s {stack.exporter.url}/metrics | grep 'relname="orders"'
  the size over days    {_graph(stack, _TABLE_SIZE)}
  the signal            {_graph(stack, _GROWTH)}
  the alert             {stack.pages}/alerts
Dismiss the alert for an hour
  {_silence(stack, "alertname=TableGrowthHigh relname=orders")}
Take it until it has resolved
  {_acknowledge(stack, "TableGrowthHigh relname=orders")}

Real: the sizes from now on. The shop's tables have those sizes, and an application goes on writing to them
      until they are 1 GiB in all.
Invented: the shop's sizes before now, and that its growth alerts have waited their 10 minutes already. The
      rules are the shipped ones; everything is measured and judged every {INTERVAL}, though, to be lively.

The first notification arrives within a minute. Ctrl-C ends everything.
"""


def on_server(stack: Stack) -> str:
    """Tell what there is to see when a server of the user's is watched."""
    return f"""\
Look at
  what is measured      curl -s {stack.exporter.url}/metrics | grep '^pg_database_size_bytes'
  sizes as they grow    {_graph(stack, _DATABASE_SIZE)}
  all alerts            {stack.pages}/alerts
Dismiss an alert for an hour
  {_silence(stack, "alertname=DatabaseSizeCritical")}
Take it until it has resolved
  {_acknowledge(stack, "DatabaseSizeCritical")}

Your server is only read. Growth needs a day of history: until this has run for 24 hours, no growth alert can
fire, but critical size and reachability are judged at once. The history ends with the demo; to keep it, load
the rules into a Prometheus of your own. What became of alerts is not written down: that needs a database.

Notifications appear below. Ctrl-C ends everything.
"""


def _grafana() -> str:
    if grafana.find():
        return "starts last, see below"
    return f"""none: put `grafana` on PATH (https://grafana.com/grafana/download), or let one of your own
              read {shipped("grafana") / "provisioning"}"""


def _directory(stack: Stack) -> Path:
    return stack.prometheus.log.parent


def _graph(stack: Stack, expression: str) -> str:
    query = urlencode({"g0.expr": expression, "g0.tab": "0", "g0.range_input": "2d"})
    return f"{stack.pages}/graph?{query}"


def _silence(stack: Stack, matchers: str) -> str:
    amtool = programs.shown("amtool")
    return (
        f"{amtool} --alertmanager.url={stack.alertmanager.url} silence add {matchers} "
        '--duration=1h --comment="this is known"'
    )


def _acknowledge(stack: Stack, alert: str) -> str:
    program = shlex.join(programs.plimsoll())
    file = shlex.quote(str(exporter.configuration_file(_directory(stack))))
    return f'{program} ack {alert} --comment "this is known" --config.file {file}'
