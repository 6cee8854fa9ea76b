"""Overrides come and go while alerts fire: for all others, the real Prometheus goes on as it did."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from judging import Judging, job, judging, user_file
from plimsoll.demo.service import fetch
from waiting import eventually

pytestmark = pytest.mark.long

CLOSED = "127.0.0.1:1"
JOBS = ("one", "two", "three")


def sections(*overridden: str) -> dict[str, Any]:
    """Give a file with an alert that fires for each job, and overrides for some."""
    overrides = [{"match": f'{{job="{name}"}}', "severity": "high"} for name in overridden]
    alert = {
        "metric": "up",
        "operator": "<",
        "threshold": 1,
        "severity": "low",
        "summary": "A target does not answer",
        "overrides": overrides,
    }
    return {"alerts": {"TargetDown": alert}}


def active_since(run: Judging) -> dict[str, str]:
    """Give since when each job's alert has fired."""
    alerts = json.loads(fetch(f"{run.prometheus.url}/api/v1/alerts"))["data"]["alerts"]
    return {
        alert["labels"]["job"]: alert["activeAt"]
        for alert in alerts
        if alert["labels"]["alertname"] == "TargetDown" and alert["state"] == "firing"
    }


def evaluated(run: Judging, since: datetime) -> bool:
    """Say whether the alert was judged anew."""
    groups = json.loads(fetch(f"{run.prometheus.url}/api/v1/rules"))["data"]["groups"]
    (last,) = [group["lastEvaluation"] for group in groups if group["name"] == "custom"]
    return datetime.fromisoformat(f"{last[:19]}+00:00") > since


def test_what_fires_goes_on_firing(tmp_path: Path) -> None:
    jobs = [job(name, CLOSED) for name in JOBS]
    with user_file(tmp_path, sections("one", "two")) as file, judging(file, jobs) as run:
        eventually(lambda: active_since(run).keys() == set(JOBS))
        before = active_since(run)

        run.change(sections("nobody", "one", "another", "two"))
        changed = datetime.now(UTC)
        eventually(lambda: evaluated(run, changed))
        assert active_since(run) == before

        run.change(sections("two"))
        changed = datetime.now(UTC)
        eventually(lambda: evaluated(run, changed))
        assert active_since(run).items() >= {"two": before["two"], "three": before["three"]}.items()
