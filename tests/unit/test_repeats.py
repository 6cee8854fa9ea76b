"""The repeat_interval of each receiver, from an Alertmanager's configuration."""

from __future__ import annotations

import time

import pytest

from plimsoll.alerts.rendering import render
from plimsoll.relay.repeats import DEFAULT_REPEAT, repeat_intervals

HOUR = 3600.0

TREE = """
global: {resolve_timeout: 5m}
route:
  receiver: default
  repeat_interval: 12h
  routes:
    - receiver: ops
      routes:
        - matchers: [severity="critical"]
          repeat_interval: 30m
          continue: true
        - receiver: storage
    - {receiver: storage, repeat_interval: 1d}
    - {receiver: night, repeat_interval: 1w2d}
receivers: [{name: default}, {name: ops}, {name: storage}, {name: night}, {name: unused}]
"""


def test_the_shortest_counts_and_is_inherited() -> None:
    assert repeat_intervals(TREE) == {
        "default": 12 * HOUR,
        "ops": 0.5 * HOUR,
        "storage": 12 * HOUR,
        "night": 9 * 24 * HOUR,
    }


def test_alertmanagers_own_default() -> None:
    assert repeat_intervals("route: {receiver: ops, routes: [{receiver: dba}]}") == {
        "ops": 4 * HOUR,
        "dba": 4 * HOUR,
    }


GROUPED = """
route:
  receiver: default
  group_interval: 10m
  repeat_interval: 5m
  routes:
    - receiver: ops
      repeat_interval: 30m
      group_interval: 1h
      routes: [{receiver: dba, repeat_interval: 2h}]
    - {receiver: night, group_interval: 1m}
"""


def test_only_a_flush_reminds() -> None:
    assert repeat_intervals(GROUPED) == {
        "default": HOUR / 6,
        "ops": HOUR,
        "dba": 2 * HOUR,
        "night": HOUR / 12,
    }
    assert repeat_intervals("route: {receiver: ops, repeat_interval: 10s}") == {"ops": HOUR / 12}


def test_the_same_text_is_read_once_and_nobody_can_change_what_came_of_it() -> None:
    text = "route: {receiver: once}"

    assert repeat_intervals(text) is repeat_intervals(str(text.encode(), "ascii"))
    with pytest.raises(TypeError):
        repeat_intervals(text)["once"] = 1.0  # type: ignore[index]


def test_a_large_one_is_read_soon() -> None:
    routes = "".join(f"    - {{receiver: team{number}, continue: true}}\n" for number in range(5000))
    began = time.process_time()

    assert len(repeat_intervals(f"route:\n  receiver: default\n  routes:\n{routes}")) == 5001
    assert time.process_time() - began < 3


def test_what_we_compile_says_what_is_taken_before_it_is_known() -> None:
    compiled = render(None).files["alertmanager/alertmanager.yml"]

    assert repeat_intervals(compiled)["default"] == DEFAULT_REPEAT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "route:",
        "- route",
        "route: [ops]",
        "route: {receiver: [ops]}",
        "route: {repeat_interval: 1h}",
        "route: {receiver: ops, repeat_interval: soon}",
        "route: {receiver: ops, routes: 5}",
        "route: {receiver: ops, routes: [5]}",
        "route: {receiver: ops",
        "route: !!python/object:os.system {}",
        "since: 2026-13-45",
        "[" * 500,
        "[" * 300 + "]" * 300,
        "[" * 100_000,
        "- " * 100_000,
        "\0",
    ],
)
def test_text_that_cannot_be_read_gives_nothing(text: str) -> None:
    assert repeat_intervals(text) == {}


def test_a_tree_that_contains_itself_comes_to_an_end() -> None:
    assert repeat_intervals("route: &a {receiver: ops, routes: [*a, *a]}") == {"ops": 4 * HOUR}
