"""Agents that keep their state in PostgreSQL: the signals that the six alerts about them judge."""

from __future__ import annotations

from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.models.dashboard import Dashboard

from plimsoll_dashboards.board import Section, alerts_over_time, board
from plimsoll_dashboards.colours import BAD, CRITICAL, GOOD, NOTICE, words
from plimsoll_dashboards.columns import Column, label, since, table, value
from plimsoll_dashboards.firing import banner, critical_alerts, fires_since, other_alerts
from plimsoll_dashboards.links import page
from plimsoll_dashboards.panels import count_of_bad, graph, stat, timeline
from plimsoll_dashboards.queries import now, over_time
from plimsoll_dashboards.signals import (
    beyond,
    count_among,
    ever_bad,
    highest,
    limited,
    threshold,
)
from plimsoll_dashboards.variables import alertmanager
from plimsoll_dashboards.variables import label as variable

_SERVERS = 'server=~"$server"'
_DATABASES = f'{_SERVERS},datname=~"$datname"'
_AGENTS = f'{_DATABASES},agent=~"$agent"'
_ALERTS = f'category!~"|meta",agent!="",{_AGENTS}'

_LABELS = ("server", "datname", "agent")
_BY_AGENT = ", ".join(_LABELS)
_NAME = "{{server}} {{datname}} {{agent}}"
_NONE = "no agent (collector file agents)"
_NONE_OR_OFF = "no agent, or the alert is off"


def _of_agent(series: str) -> str:
    return f"max by ({_BY_AGENT}) ({series}{{{_AGENTS}}})"


_ASKED = _of_agent("agent_state_timestamp_seconds")
_SILENT = _of_agent("agent:agent_last_heartbeat_timestamp_seconds:age_seconds")
_CONNECTED = _of_agent("agent:agent_gateway_connected:max")
_FAILED = _of_agent("agent:agent_failed_runs_15m:percent")
_CONTEXT = _of_agent("agent:agent_context_tokens:percent_of_window")
_TASK = _of_agent("agent:agent_oldest_task_start_timestamp_seconds:age_seconds")
_COST = _of_agent("agent:agent_cost_1h_dollars:max")


def agents() -> Dashboard:
    """Build the page."""
    return board(
        "plimsoll-agents",
        "Plimsoll / Agents",
        "Whether agents live, reach their gateway, do their work, and what they cost.",
        variables=[
            variable(
                "server", "Server", "agent_state_timestamp_seconds", "PostgreSQL servers that know of agents."
            ),
            variable(
                "datname",
                "Database",
                f"agent_state_timestamp_seconds{{{_SERVERS}}}",
                "Databases in which agents keep their state.",
            ),
            variable("agent", "Agent", f"agent_state_timestamp_seconds{{{_DATABASES}}}", "Agents."),
            alertmanager(),
        ],
        annotations=[alerts_over_time(_ALERTS)],
        sections=[
            Section(
                "",
                [
                    _banner().span(18).height(7),
                    critical_alerts("agents", _ALERTS, _ASKED).span(3).height(7),
                    other_alerts("agents", _ALERTS, _ASKED).span(3).height(7),
                    _silent_count(),
                    _disconnected_count(),
                    _failing_count(),
                    _full_count(),
                    _stuck_count(),
                    _total_cost(),
                    _all_agents(),
                ],
            ),
            Section("Signs of life", [_silence(), _disconnections()]),
            Section("Work", [_failed_runs(), _tasks(), _context(), _cost()]),
        ],
    )


def _banner() -> Table:
    return banner(
        "Agent alerts that fire",
        "What to look at first. If all agents of a database are listed, look at what they share: the "
        "gateway, the model's provider, the database.",
        _ALERTS,
        _LABELS,
        [
            label("Alert", "alertname").wide(200),
            label("Server", "server").wide(100),
            label("Database", "datname").wide(120),
            _agent(),
            fires_since(_ALERTS),
        ],
        empty="No alert about an agent fires.",
    )


def _agent() -> Column:
    return label("Agent", "agent").linked("Only this agent", page("plimsoll-agents", _LABELS))


def _count(title: str, description: str, colour: str, of_bad: str, empty: str = _NONE_OR_OFF) -> Stat:
    return count_of_bad(title, description, colour, now(of_bad)).no_value(empty)


def _silent_count() -> Stat:
    return _count(
        "Silent",
        "Agents whose last sign of life is older than AgentDown's threshold, overrides of it left aside. "
        "Look first at whether their processes run.",
        CRITICAL,
        beyond(_SILENT, "AgentDown", _ASKED),
    )


def _disconnected_count() -> Stat:
    return _count(
        "Disconnected",
        "Agents that do not reach their gateway: they get no work. If it is all of them, look at the "
        "gateway. An agent that needs none does not count.",
        CRITICAL,
        count_among(f"{_CONNECTED} < 1", _ASKED),
        _NONE,
    )


def _failing_count() -> Stat:
    return _count(
        "With failing runs",
        "Agents of whose runs in 15 minutes a larger part failed than AgentErrorRateHigh allows, overrides "
        "of it left aside. If they began together, look at the model's provider.",
        NOTICE,
        beyond(_FAILED, "AgentErrorRateHigh", _ASKED),
    )


def _full_count() -> Stat:
    return _count(
        "With a full context",
        "Agents whose context is fuller than AgentContextWindowHigh allows, overrides of it left aside: they "
        "soon forget, or their runs fail. Let them summarise or begin anew.",
        NOTICE,
        beyond(_CONTEXT, "AgentContextWindowHigh", _ASKED),
    )


def _stuck_count() -> Stat:
    return _count(
        "With a stuck task",
        "Agents whose oldest task has been in progress for longer than AgentTaskStuck allows, overrides of "
        "it left aside. Look at whether they still work on it.",
        NOTICE,
        beyond(_TASK, "AgentTaskStuck", _ASKED),
    )


def _total_cost() -> Stat:
    return stat(
        "Cost of the last hour",
        "What all runs cost that ended in the last hour, as far as their cost is known. If it surprises you, "
        "sort the agents below by their cost.",
        "currencyUSD",
        now(f"sum({_COST})"),
    ).no_value("unknown")


def _all_agents() -> Table:
    longest = f"topk(500, {_SILENT} or 0 * {_ASKED})"

    def of_agent(series: str) -> str:
        return f"{series}\nand on ({_BY_AGENT})\n{longest}"

    state = words({"0": ("✗ disconnected", CRITICAL), "1": ("✓ connected", GOOD)})
    return table(
        "Agents",
        "The 500 that have been silent for longest. What an agent leaves unknown is empty. If the database "
        "was last asked long ago, the rest of the row is as old: look at whether the server can be reached.",
        [
            label("Server", "server").wide(100),
            label("Database", "datname").wide(120),
            _agent(),
            since("Last asked", of_agent(_ASKED)),
            value("Silent for", "s", of_agent(f"clamp_min({_SILENT}, 0)")).wide(100),
            value("Gateway", "none", of_agent(_CONNECTED)).mapped(state).wide(140),
            value("Runs in 15 min", "none", of_agent(_of_agent("agent_runs_15m"))).wide(120),
            value("Failed", "percent", of_agent(_FAILED), decimals=1).wide(90),
            value("Context", "percent", of_agent(_CONTEXT), decimals=1).wide(90),
            value("Tasks", "none", of_agent(_of_agent("agent_tasks_in_progress"))).wide(80),
            value("Oldest task", "s", of_agent(_TASK)).wide(110),
            value("Cost, last hour", "currencyUSD", of_agent(_COST), decimals=2).wide(120),
        ],
        empty="No agent: switch the collector file agents on (section sql, files: agents), and make "
        "the tables or views of agents.sql.",
        sorted_by="Silent for",
    )


def _signal(title: str, description: str, unit: str, series: str, alert: str, colour: str) -> Graph:
    panel = graph(
        title,
        description,
        unit,
        over_time(highest(series, _BY_AGENT), _NAME),
        threshold(alert),
    )
    return limited(panel.min(0), colour)


def _silence() -> Graph:
    return _signal(
        "Time since the last sign of life",
        "The 20 agents that were silent for longest. A slope without an end is an agent that is gone; teeth "
        "below the dashed line are an agent that lives. It does not grow while the database cannot be asked.",
        "s",
        f"clamp_min({_SILENT}, 0)",
        "AgentDown",
        CRITICAL,
    )


def _disconnections() -> Timeline:
    panel = timeline(
        "Agents without their gateway",
        "Which agents did not reach it within the time shown, and from when to when. All at once: look at "
        "the gateway, not at the agents.",
        over_time(f"min({_CONNECTED})", "worst of all agents"),
        over_time(ever_bad(_CONNECTED, _BY_AGENT), _NAME),
    )
    panel.mappings(words({"0": ("✗ disconnected", CRITICAL), "1": ("✓ connected", GOOD)})).span(12)
    return panel.no_value("No agent that has a gateway.")


def _failed_runs() -> Graph:
    return _signal(
        "Failed runs",
        "Of the runs that ended in 15 minutes, by agent; one run that fails is 100 % if it was the only one. "
        "Above the dashed line, AgentErrorRateHigh fires. Those that rise together share a provider or tool.",
        "percent",
        _FAILED,
        "AgentErrorRateHigh",
        NOTICE,
    )


def _tasks() -> Graph:
    return _signal(
        "Oldest task in progress",
        "For how long each agent has been at its oldest task. A line that climbs beyond the dashed one is a "
        "task that goes round in circles, waits, or was forgotten: then AgentTaskStuck fires.",
        "s",
        _TASK,
        "AgentTaskStuck",
        NOTICE,
    )


def _context() -> Graph:
    return _signal(
        "Context used",
        "Of what the model takes. Above the dashed line for a minute, AgentContextWindowHigh fires: the "
        "agent does not summarise by itself. A leap is one huge input, a slope a long conversation.",
        "percent",
        _CONTEXT,
        "AgentContextWindowHigh",
        NOTICE,
    )


def _cost() -> Graph:
    return _signal(
        "Cost in an hour",
        "What the runs of each agent cost that ended in the hour before. Above the dashed line, "
        "AgentCostHigh fires: more runs, longer contexts, a dearer model, or an agent that repeats itself.",
        "currencyUSD",
        _COST,
        "AgentCostHigh",
        BAD,
    )
