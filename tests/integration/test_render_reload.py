"""`plimsoll render --reload` as users run it: real programs take what a file gives, or keep what they had."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.alerts.rendering import render
from plimsoll.cli import FAILED, GOOD, main
from plimsoll.demo.service import Service
from programs import LIFECYCLE
from reloading import alertmanager, prometheus, receivers_of, rules_of
from support import require_program

OPS = "alerts: {Own: {metric: up, operator: '<', threshold: 1, severity: low, summary: Down, webhook: ops}}\n"


def write(file: Path, judge: Service, telling: Service, text: str = "") -> None:
    file.write_text(
        f"prometheus: {{url: '{judge.url}'}}\n"
        f"alertmanager: {{urls: ['{telling.url}']}}\n"
        "webhooks:\n"
        "  default: {url: 'http://127.0.0.1:1/'}\n" + text,
        "utf-8",
    )


def test_a_file_is_taken_into_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(require_program("promtool")).parent))
    file, output = tmp_path / "plimsoll.yml", tmp_path / "rendered"
    command = ["render", f"--config.file={file}", f"--output={output}"]
    assert main(["render", f"--output={output}"]) == GOOD
    with (
        prometheus(tmp_path / "judge", output, LIFECYCLE) as judge,
        alertmanager(tmp_path / "telling", output / "alertmanager" / "alertmanager.yml") as telling,
    ):
        write(file, judge, telling, f"  ops: {{url: 'http://127.0.0.1:1/ops'}}\n{OPS}")
        assert main([*command, "--reload"]) == GOOD, capsys.readouterr().err
        version = (output / "accepted").readlink()
        assert f"in force as {output}/{version}" in capsys.readouterr().out
        assert "custom" in rules_of(judge)
        assert receivers_of(telling) == {"default", "ops"}

        telling.process.kill()
        telling.process.wait()
        write(file, judge, telling)
        assert main([*command, "--reload"]) == FAILED
        assert telling.url in capsys.readouterr().err
        assert (output / "current").readlink() == (output / "accepted").readlink() == version
        assert "custom" in rules_of(judge)
    assert (output / "rules" / "alerts.yml").read_text("utf-8") != render(file).files["rules/alerts.yml"]
