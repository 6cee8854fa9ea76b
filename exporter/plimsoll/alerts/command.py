"""`plimsoll render`: the user's file becomes the rules and routes that Prometheus and Alertmanager run."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import NamedTuple

from plimsoll.alerts.rendering import Rendered, prometheus_rule, render
from plimsoll.alerts.rollout.programs import check
from plimsoll.alerts.rollout.releases import ReleaseError, publish
from plimsoll.alerts.rollout.service import RolloutError, take_into_service
from plimsoll.alerts.settings import Programs

_URL = re.compile(r"(?<=- url: )\S+")


class Outcome(NamedTuple):
    """What is said of a run, and whether it was good."""

    good: bool
    text: str


def write(config_file: Path | None, output: Path, *, reload: bool) -> Outcome:
    """Render into a directory, and let Prometheus and Alertmanager load it.

    Raises:
        ConfigError: the user's file is bad, or a file that it names for reaching those programs.
    """
    rendered = render(config_file)
    programs = Programs.read(config_file) if reload else None
    checked = check(rendered.files)
    if checked.problems:
        return Outcome(False, "\n".join((*checked.problems, "nothing was changed")))
    try:
        if programs:
            version = asyncio.run(
                take_into_service(
                    output,
                    rendered.files,
                    prometheus=programs.prometheus,
                    alertmanager=programs.alertmanager,
                )
            )
        else:
            version = publish(output, rendered.files)
    except (ReleaseError, RolloutError) as error:
        return Outcome(False, str(error))
    done = "in force" if reload else "written"
    return Outcome(
        True, _with_absent(f"{_counted(rendered)}: {done} as {output}/versions/{version}", checked.absent)
    )


def resource(config_file: Path | None) -> Outcome:
    """Give all rules as the resource PrometheusRule.

    Raises:
        ConfigError: the user's file is bad.
    """
    rendered = render(config_file)
    checked = check(rendered.files)
    return (
        Outcome(False, "\n".join(checked.problems))
        if checked.problems
        else Outcome(True, prometheus_rule(rendered))
    )


def verify(config_file: Path | None, output: Path | None) -> Outcome:
    """Say whether the file is good and, with a directory, whether that holds what the file gives.

    Raises:
        ConfigError: the user's file is bad.
    """
    rendered = render(config_file)
    checked = check(rendered.files)
    if checked.problems:
        return Outcome(False, "\n".join(checked.problems))
    if output and not (output / "current").is_dir():
        return Outcome(False, f"nothing is rendered in {output}")
    if output and (differences := list(_differences(rendered.files, output))):
        return Outcome(
            False, "\n".join((f"{output} is not what the file gives; render it anew:", *differences))
        )
    return Outcome(True, _with_absent(f"{_counted(rendered)}: good", checked.absent))


def _differences(files: Mapping[str, str], output: Path) -> Iterator[str]:
    """Tell differing lines, without URLs: those of webhooks often hold a token."""
    for name, text in files.items():
        path = output / name
        present = path.read_text("utf-8", errors="replace") if path.is_file() else ""
        present, text = _URL.sub(_masked, present), _URL.sub(_masked, text)
        yield from unified_diff(
            present.splitlines(), text.splitlines(), str(path), f"{name} as it should be", lineterm="", n=1
        )


def _masked(url: re.Match[str]) -> str:
    """Show that a URL differs, but not how."""
    return f"(URL {hashlib.sha256(url[0].encode()).hexdigest()[:8]})"


def _counted(rendered: Rendered) -> str:
    alerts = [
        alert for alert in rendered.plan.alerts if any(branch.enabled.value for branch in alert.branches)
    ]
    overrides = sum(len(alert.overrides) for alert in alerts)
    receivers = ", ".join(rendered.plan.routing.receivers) or "nobody"
    return f"{len(alerts)} alerts, {overrides} overrides, told to {receivers}"


def _with_absent(text: str, absent: list[str]) -> str:
    return "\n".join((text, *(f"(not checked with {program}, which is not on PATH)" for program in absent)))
