"""A dashboard as it would be seen in Grafana: variables have values, and panels give what was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from asking import Answer, History, Prometheus
from dashboards import FOLDER, Dashboard, Panel, Query, Variable
from interpolation import Choice, Period, fill, moment, seconds_of

ABOUT: dict[str, dict[str, str]] = {
    "container": {"name": "shop-web-1"},
    "table": {"server": "main", "datname": "shop", "schemaname": "public", "relname": "events_2026_09"},
}
"""On what pages about one thing are opened: something that has all that they show."""


@dataclass(frozen=True)
class Data:
    """What is asked: a world that has stopped."""

    prometheus: Prometheus
    history: History

    @property
    def now(self) -> float:
        """When it stopped."""
        return self.prometheus.at

    def ask(self, query: Query, filled: str, period: Period) -> Answer:
        """Ask what a panel asks, with everything filled in."""
        if query.kind == "sql":
            return self.history.ask(filled)
        assert query.kind == "prometheus", f"{query} is of a datasource that cannot be asked"
        if query.instant:
            return self.prometheus.instant(filled, period.end)
        return self.prometheus.range(filled, period)

    def options(self, query: Query, filled: str, period: Period) -> list[str]:
        """Give what a variable offers, before its regular expression."""
        if query.kind == "sql":
            return self.history.options(filled)
        return self.prometheus.options(filled, period)


class Board:
    """A dashboard in front of data; as it opens, it shows all of everything."""

    def __init__(self, dashboard: Dashboard, data: Data, picked: Mapping[str, str] | None = None) -> None:
        self.dashboard = dashboard
        self.data = data
        self._picked = dict(picked or {})

    @classmethod
    def open(cls, name: str, data: Data) -> Board:
        """Open the file of a name such as `storage`; a page about one thing, on one of them."""
        return cls(Dashboard.read(FOLDER / f"{name}.json"), data, ABOUT.get(name))

    def pick(self, **values: str) -> Board:
        """Choose one value of each of some variables."""
        assert values.keys() <= self.dashboard.variables.keys()
        return Board(self.dashboard, self.data, {**self._picked, **values})

    def pick_first(self) -> Board:
        """Choose the first value of each variable, as far as there is one."""
        board = self
        for name in self.dashboard.variables:
            if board.options[name]:
                board = board.pick(**{name: board.options[name][0]})
        return board

    # --- time -------------------------------------------------------------------------------------------

    def period(self, panel: Panel | None = None, query: Query | None = None) -> Period:
        """Give the time that the dashboard shows, or a panel that has a time of its own."""
        now, given = self.data.now, self.dashboard.json.get("time") or {"from": "now-6h", "to": "now"}
        start, end = moment(given["from"], now), moment(given["to"], now)
        json = panel.json if panel else {}
        if own := json.get("timeFrom"):
            start, end = now - seconds_of(own.removeprefix("now-")), now
        if shift := json.get("timeShift"):
            start, end = start - seconds_of(shift), end - seconds_of(shift)
        interval = query.interval if query else None
        least = seconds_of(interval) if interval and "$" not in interval else 15
        return Period.of_panel(start, end, points=json.get("maxDataPoints") or 1000, least=least)

    # --- variables --------------------------------------------------------------------------------------

    @cached_property
    def options(self) -> dict[str, list[str]]:
        """Give the values that each variable offers, given what is chosen of those before it."""
        return self._offered[0]

    @cached_property
    def choices(self) -> dict[str, Choice]:
        """Give what is chosen of each variable."""
        return self._offered[1]

    @cached_property
    def _offered(self) -> tuple[dict[str, list[str]], dict[str, Choice]]:
        options: dict[str, list[str]] = {}
        choices: dict[str, Choice] = {}
        for name, variable in self.dashboard.variables.items():
            options[name] = self._options(variable, choices)
            choices[name] = self._choice(variable, options[name])
        return options, choices

    def _options(self, variable: Variable, choices: Mapping[str, Choice]) -> list[str]:
        if variable.type == "datasource":
            return [f"plimsoll-{variable.json['query']}"]
        if variable.type in ("textbox", "constant"):
            return [str(variable.json.get("query") or "")]
        if (query := variable.query) is None:
            return variable.own_values
        period = self.period()
        found = self.data.options(query, fill(query.text, query.kind, choices, period), period)
        return _matched(found, variable.json.get("regex") or "")

    def _choice(self, variable: Variable, options: list[str]) -> Choice:
        several = variable.is_multi or variable.has_all
        picked = self._picked.get(variable.name)
        if picked is not None:
            return Choice((picked,), several)
        if variable.has_all:
            return Choice(tuple(options), several, variable.all_value)  # maybe none, and All is all of none
        return Choice(tuple(options[:1]) or ("",), several)

    # --- panels -----------------------------------------------------------------------------------------

    def fill(self, query: Query, panel: Panel | None = None) -> str:
        """Fill in a query."""
        return fill(query.text, query.kind, self.choices, self.period(panel, query))

    def ask(self, query: Query, panel: Panel | None = None) -> Answer:
        """Ask what a panel, or an annotation, asks."""
        return self.data.ask(query, self.fill(query, panel), self.period(panel, query))

    def answers(self, title: str) -> dict[str, Answer]:
        """Give what the panel with a title gets, by refId."""
        panel = self.dashboard.panel(title)
        return {query.ref: self.ask(query, panel) for query in panel.queries}

    def answer(self, title: str, ref: str | None = None) -> Answer:
        """Give what a panel gets for one of its queries, or for its only one."""
        answers = self.answers(title)
        assert ref or len(answers) == 1, f"{title} asks {list(answers)}"
        return answers[ref] if ref else next(iter(answers.values()))

    def value(self, title: str, ref: str | None = None, **labels: str) -> float:
        """Give the only value that a panel shows, or that with some labels."""
        return self.answer(title, ref).value(**labels)

    def rows(self, title: str, ref: str | None = None) -> list[dict[str, object]]:
        """Give the rows that a panel gets from the history."""
        return self.answer(title, ref).rows

    def over(self, start: str) -> Board:
        """Show another time, such as `now-7d`."""
        json = {**self.dashboard.json, "time": {"from": start, "to": "now"}}
        return Board(Dashboard(json), self.data, self._picked)


def at(data: Data, now: float) -> Data:
    """Look at data as of another moment."""
    return replace(data, prometheus=data.prometheus._replace(at=now))


def _matched(values: list[str], pattern: str) -> list[str]:
    """Apply a variable's regular expression: it selects, and a group is what is taken."""
    if not pattern:
        return values
    expression = re.compile(pattern.strip("/"))
    found = [match for match in map(expression.search, values) if match]
    taken = [match.groupdict().get("value") or (match[1] if match.groups() else match[0]) for match in found]
    return list(dict.fromkeys(taken))
