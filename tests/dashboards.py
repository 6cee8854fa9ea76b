"""Reads what a dashboard's JSON asks for and links to: panels, queries, variables, annotations, links.

It is Grafana's classic model, as a file of `grafana/dashboards` has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"

Json = Mapping[str, Any]
Kind = Literal["prometheus", "sql", "other"]

_SQL = frozenset({"postgres", "grafana-postgresql-datasource"})


@dataclass(frozen=True)
class Query:
    """Something that is asked of a datasource."""

    ref: str
    kind: Kind
    text: str
    instant: bool = False
    """Whether Prometheus is asked for one moment, not for a range."""
    interval: str | None = None
    """The least step of a range."""
    legend: str | None = None


@dataclass(frozen=True)
class Link:
    """A link, and where it stands."""

    place: str
    url: str


@dataclass(frozen=True)
class Variable:
    """A variable of a dashboard."""

    json: Json

    @property
    def name(self) -> str:
        return str(self.json["name"])

    @property
    def type(self) -> str:
        return str(self.json["type"])

    @property
    def is_multi(self) -> bool:
        """Whether several values may be chosen."""
        return bool(self.json.get("multi"))

    @property
    def has_all(self) -> bool:
        return bool(self.json.get("includeAll"))

    @property
    def all_value(self) -> str | None:
        """What stands for All; without it, all values do."""
        return self.json.get("allValue") or None

    @property
    def query(self) -> Query | None:
        """What gives its values, if a datasource does."""
        if self.type != "query":
            return None
        asked = self.json["query"]
        text = str(asked.get("query") or asked.get("rawSql") if isinstance(asked, Mapping) else asked)
        return Query(self.name, kind_of(self.json.get("datasource")), text, instant=True)

    @property
    def own_values(self) -> list[str]:
        """Give the values of one that no datasource is asked for."""
        options = self.json.get("options") or ()
        if options:
            return [str(option["value"]) for option in options if option["value"] != "$__all"]
        return [part.strip() for part in str(self.json.get("query") or "").split(",")]


class Panel:
    """A panel that shows something; a row is none."""

    def __init__(self, json: Json) -> None:
        self.json = json
        self.title = str(json.get("title", ""))
        self.type = str(json["type"])

    @cached_property
    def queries(self) -> list[Query]:
        """Give what it asks, whether hidden or not: what is hidden may serve an expression."""
        return [self._query(target) for target in self.json.get("targets") or ()]

    def _query(self, target: Json) -> Query:
        kind = kind_of(target.get("datasource") or self.json.get("datasource"))
        text = target.get("rawSql") if kind == "sql" else target.get("expr")
        instant = bool(target.get("instant")) and not target.get("range")
        interval = target.get("interval") or self.json.get("interval")
        return Query(target["refId"], kind, str(text or ""), instant, interval, target.get("legendFormat"))

    @cached_property
    def links(self) -> list[Link]:
        """Give the links of the panel itself and those of its values."""
        return [Link(place, str(link.get("url", ""))) for place, link in self._all_links()]

    @property
    def data_links(self) -> list[Link]:
        """Give the links of its values only."""
        return [link for link in self.links if link.place != self.title]

    def _all_links(self) -> Iterator[tuple[str, Json]]:
        for link in self.json.get("links") or ():
            yield self.title, link
        config = self.json.get("fieldConfig") or {}
        for link in (config.get("defaults") or {}).get("links") or ():
            yield f"{self.title}, values", link
        for override in config.get("overrides") or ():
            for changed in override["properties"]:
                if changed["id"] == "links":
                    for link in changed["value"]:
                        yield f"{self.title}, {override['matcher'].get('options')}", link

    @property
    def names(self) -> set[str]:
        """Give what its fields are called beside their own names."""
        config = self.json.get("fieldConfig") or {}
        changes = [each for override in config.get("overrides") or () for each in override["properties"]]
        found = {str(each["value"]) for each in changes if each["id"] == "displayName"}
        for change in self.json.get("transformations") or ():
            options = change.get("options") or {}
            found |= {str(name) for name in (options.get("renameByName") or {}).values()}
            if alias := options.get("alias"):
                found.add(str(alias))
        return found


class Dashboard:
    """A dashboard."""

    def __init__(self, json: Json) -> None:
        self.json = json
        self.uid = str(json.get("uid", ""))
        self.title = str(json.get("title", ""))

    @classmethod
    def read(cls, file: Path) -> Dashboard:
        return cls(json.loads(file.read_text("utf-8")))

    @cached_property
    def everything(self) -> list[Json]:
        """Give the JSON of all panels, of rows and of what is within rows, too."""
        found: list[Json] = []
        for panel in self.json.get("panels") or ():
            found += [panel, *(panel.get("panels") or ())]
        return found

    @cached_property
    def panels(self) -> list[Panel]:
        return [Panel(panel) for panel in self.everything if panel["type"] != "row"]

    def panel(self, title: str) -> Panel:
        """Give the only panel with a title."""
        found = [panel for panel in self.panels if panel.title == title]
        assert len(found) == 1, f"{len(found)} panels are called {title!r}: {[p.title for p in self.panels]}"
        return found[0]

    @cached_property
    def variables(self) -> dict[str, Variable]:
        listed = (self.json.get("templating") or {}).get("list") or ()
        return {str(variable["name"]): Variable(variable) for variable in listed}

    @cached_property
    def annotations(self) -> list[Query]:
        """Give what annotations ask; their `ref` is their name."""
        listed = (self.json.get("annotations") or {}).get("list") or ()
        return [_annotation(each) for each in listed if not each.get("builtIn")]

    @cached_property
    def links(self) -> list[Link]:
        """Give all links: of the dashboard, of panels and of values."""
        own = [Link("dashboard", str(link.get("url") or "")) for link in self.json.get("links") or ()]
        return [*own, *(link for panel in self.panels for link in panel.links)]


def _annotation(json: Json) -> Query:
    target = json.get("target") or {}
    text = json.get("expr") or json.get("rawQuery") or target.get("expr") or target.get("rawSql") or ""
    return Query(str(json["name"]), kind_of(json.get("datasource")), str(text), interval=json.get("step"))


def kind_of(datasource: Json | None) -> Kind:
    """Say what language a datasource speaks."""
    kind = (datasource or {}).get("type")
    return "prometheus" if kind == "prometheus" else "sql" if kind in _SQL else "other"


def files() -> list[Path]:
    """List the committed dashboards."""
    return sorted(FOLDER.glob("*.json"))
