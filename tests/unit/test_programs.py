"""What the real promtool and amtool say of a set, and what is said when they are not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plimsoll.alerts.rollout.programs import Checked, check, check_folder
from reloading import REFUSED_RULE, UNDEFINED, rendered
from support import PATH, require_program


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    require_program("promtool")
    require_program("amtool")
    monkeypatch.setenv("PATH", PATH)


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_good_set() -> None:
    """Two of its rules have one name and the same labels, as overrides have."""
    assert check(rendered("good")) == Checked([], [])


def test_nothing_to_check(tmp_path: Path) -> None:
    assert check_folder(tmp_path) == Checked([], [])


def test_what_is_bad_is_told_with_paths_of_the_set() -> None:
    problems, absent = check(rendered("bad", expression=REFUSED_RULE, receiver=UNDEFINED))
    assert absent == []
    assert problems[0].startswith(
        'promtool: rules/recording.yml: 5:11: group "bad_signals", rule 1, "bad:one:sum": '
    )
    assert "could not parse expression" in problems[0]
    assert problems[1:] == ['amtool: undefined receiver "nobody" used in route']


def test_all_files_are_told_of() -> None:
    files = rendered("bad", expression=REFUSED_RULE)
    files["rules/alerts.yml"] = files["rules/alerts.yml"].replace("vector(0)", "vector(")
    ((problem,), _) = check(files)
    assert problem.count("could not parse expression") == 3
    assert "rules/alerts.yml: " in problem
    assert "rules/recording.yml: " in problem
    assert "FAILED" not in problem


@pytest.mark.parametrize("text", ["a: [\n", "bogus: 1\nroute: {receiver: a}\nreceivers: [{name: a}]\n"])
def test_a_configuration_that_cannot_be_read(text: str) -> None:
    ((problem,), _) = check({"alertmanager/alertmanager.yml": text})
    assert problem.startswith("amtool: yaml: ")
    assert "Checking" not in problem


def test_programs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check(rendered("bad", expression=REFUSED_RULE)) == Checked([], ["promtool", "amtool"])
    assert check({"rules/alerts.yml": "groups: []"}) == Checked([], ["promtool"])


def test_names_of_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("promtool", "amtool"):
        (tmp_path / f"prometheus-{name}").symlink_to(require_program(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    problems, absent = check(rendered("bad", receiver=UNDEFINED))
    assert (len(problems), absent) == (1, [])


def test_programs_that_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "promtool", "exit 3")
    install(tmp_path, "amtool", "exit 1")
    (tmp_path / "amtool").write_bytes(b"\x7fELF no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    problems, _ = check(rendered("good"))
    assert problems[0] == "promtool: ended with status 3 and said nothing"
    assert problems[1].startswith("amtool: cannot be asked: ")


def test_a_relative_path_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("promtool", "amtool"):
        shutil.copy(require_program(name), tmp_path / name)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("PATH", os.path.relpath(tmp_path))
    assert check(rendered("good")) == Checked([], [])
