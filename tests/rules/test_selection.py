"""One rule judges each series, by the threshold that `explain` names: Prometheus itself is asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from plimsoll.alerts.explain import branch_for
from plimsoll.alerts.matchers import Matchers
from plimsoll.alerts.rendering import Rendered, make_plan, render
from support import require_program, said_by

VALUES = ("", "a", "b", "a|b", "ab")
LABELS = ("x", "y", "z")
SERIES = [
    {label: value for label, value in zip(LABELS, values, strict=True) if value}
    for values in product(VALUES, repeat=len(LABELS))
]
CONFIGURATIONS = 12
"""In one run of promtool, whose start takes longer than the rest."""

matcher = st.one_of(
    st.tuples(st.sampled_from(LABELS), st.sampled_from(["=", "!="]), st.sampled_from(VALUES)),
    st.tuples(
        st.sampled_from(LABELS),
        st.sampled_from(["=~", "!~"]),
        st.sampled_from(["a", "a|b", "a.*", ".*b", "", ".+", "a\\\\|b"]),
    ),
)
matchers = st.lists(matcher, min_size=1, max_size=3).map(
    lambda found: "{" + ",".join(f'{label}{operator}"{value}"' for label, operator, value in found) + "}"
)


def text_of(lists: Sequence[Sequence[str]]) -> str:
    """Write a file with one alert for each list of overrides; every branch has a threshold of its own."""
    alerts: dict[str, Any] = {}
    for number, overrides in enumerate(lists):
        alerts[f"Alert{number}"] = {
            "metric": "metric",
            "operator": ">",
            "threshold": -1,
            "severity": "low",
            "summary": "A test",
            "overrides": [{"match": match, "threshold": -2 - index} for index, match in enumerate(overrides)],
        }
    return yaml.safe_dump({"alerts": alerts})


def usable(overrides: Sequence[str]) -> list[str]:
    """Leave out what the compiler refuses: matchers that are impossible, or never reached."""
    kept: list[Matchers] = []
    for match in map(Matchers.parse, overrides):
        if not match.is_impossible and not any(other.covers(match) for other in kept):
            kept.append(match)
    return [str(match) for match in kept]


def own_rules(rendered: Rendered) -> list[dict[str, Any]]:
    rules = [rule for group in rendered.groups for rule in group["rules"] if "alert" in rule]
    return [rule for rule in rules if rule["alert"].startswith("Alert")]


def expressions(rendered: Rendered) -> list[tuple[str, float, str]]:
    """Give alert, threshold and PromQL of every rule for the metric."""
    return [
        (rule["alert"], float(rule["annotations"]["threshold"]), rule["expr"]) for rule in own_rules(rendered)
    ]


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # to shrink a failure would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lists=st.lists(st.lists(matchers, max_size=5), min_size=CONFIGURATIONS, max_size=CONFIGURATIONS))
def test_one_rule_judges_each_series(lists: list[list[str]], tmp_path: Path) -> None:
    file = tmp_path / "plimsoll.yml"
    file.write_text(text_of([usable(overrides) for overrides in lists]), "utf-8")
    plan = make_plan(file)
    wanted: dict[tuple[str, float], list[dict[str, str]]] = {}
    for labels in SERIES:
        for alert in plan.alerts:
            threshold = branch_for(alert, labels).threshold.value
            wanted.setdefault((alert.name, threshold), []).append(labels)

    rendered = render(file)
    identities = [(rule["alert"], *rule["labels"].items()) for rule in own_rules(rendered)]
    assert len(set(identities)) == len(identities), "Prometheus would take one for the other at a reload"
    tests = [
        {
            "expr": expr,
            "eval_time": "0m",
            "exp_samples": [
                {"labels": shown("metric", labels), "value": 0}
                for labels in wanted.get((alert, threshold), [])
            ],
        }
        for alert, threshold, expr in expressions(rendered)
    ]
    case = {
        "interval": "1m",
        "input_series": [{"series": shown("metric", labels), "values": "0"} for labels in SERIES],
        "promql_expr_test": tests,
    }
    checked = tmp_path / "test.yml"
    checked.write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}), "utf-8")
    said_by(require_program("promtool"), "test", "rules", checked)


def shown(metric: str, labels: dict[str, str]) -> str:
    return metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
