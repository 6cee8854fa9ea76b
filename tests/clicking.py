"""Follows links on dashboards: fills them in as Grafana does, and reads them as Alertmanager's form does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from boards import Board

_VARIABLE = re.compile(r"\$\{([^}:]+)(?::(\w+))?\}")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*(?:,|$)')


class Form(NamedTuple):
    """A page of Alertmanager that a link leads to."""

    page: str
    matchers: list[dict[str, Any]]
    comment: str

    def holds_for(self, labels: Mapping[str, str]) -> bool:
        """Say whether a silence made of it would hold for an alert; all matchers are equalities here."""
        assert all(each["isEqual"] and not each["isRegex"] for each in self.matchers)
        return all(labels.get(each["name"], "") == each["value"] for each in self.matchers)


def filled(url: str, board: Board, row: Mapping[str, str], value: str, text: str = "") -> str:
    """Fill in a link of a table.

    Args:
        url: as the dashboard has it.
        board: whose variables have their values.
        row: what its columns show, by the names that the data source gives them.
        value: the one that the link is on.
        text: what is shown for that.
    """

    def replaced(found: re.Match[str]) -> str:
        name, format_ = found[1], found[2]
        if name.startswith("__data.fields."):
            plain = row[name.removeprefix("__data.fields.")]
        elif name in ("__value.raw", "__value.text"):
            plain = value if name == "__value.raw" else text
        elif name == "__url_time_range":
            return "from=now-24h&to=now"
        elif format_ == "queryparam":
            return "&".join(f"var-{name}={quote(each, safe='')}" for each in board.choices[name].values)
        else:
            plain = board.choices[name].values[0]
        assert format_ in (None, "percentencode"), found[0]
        return quote(plain, safe="" if format_ else ";/?:@&=+$,#")

    return _VARIABLE.sub(replaced, url)


def form(url: str) -> Form:
    """Read an address of Alertmanager's, as its own pages do (ui/app/src/Utils/Filter.elm)."""
    route = urlsplit(urlsplit(url).fragment)
    parameters = parse_qs(route.query, strict_parsing=True)
    (asked,) = parameters["filter"]
    (comment,) = parameters["comment"]
    return Form(route.path, matchers(asked), comment)


def matchers(text: str) -> list[dict[str, Any]]:
    """Read `{name="value", …}`, whose values are strings as in JSON, as the API takes them."""
    assert text.startswith("{")
    assert text.endswith("}")
    inner, found, position = text[1:-1], [], 0
    while position < len(inner):
        each = _MATCHER.match(inner, position)
        assert each, f"{inner[position:]!r} is no matcher"
        position = each.end()
        found.append(
            {
                "name": each[1],
                "value": json.loads(each[3]),
                "isRegex": "~" in each[2],
                "isEqual": "!" not in each[2],
            }
        )
    assert found, "nothing is named"
    assert not inner.rstrip().endswith(","), "a comma at the end"
    return found


def text_of(panel: Mapping[str, Any], column: str, value: str) -> str:
    """Give what is shown for a value by the mappings of a column."""
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == column:
            for changed in override["properties"]:
                if changed["id"] == "mappings":
                    shown = changed["value"][0]["options"].get(value)
                    return shown["text"] if shown else value
    return value
