"""How the demo's guide names what the reader types, and what it says where there is no Grafana."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.demo import grafana, guide, programs
from plimsoll.demo.service import Service
from plimsoll.demo.stack import Stack
from plimsoll.shipped import shipped


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    with subprocess.Popen(["true"]) as process:
        service = Service("any", "http://127.0.0.1:1", process, tmp_path / "log")
    return Stack(service, service, service, service.url, service, None, service.url, [])


def grafana_line(stack: Stack) -> str:
    return guide.addresses(stack).partition("\nGrafana")[2].partition("\nWebhook")[0]


def test_where_there_is_no_grafana_it_says_how_to_get_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grafana, "find", lambda: None)
    line = grafana_line(stack)
    assert "https://grafana.com/grafana/download" in line
    assert line.endswith(f"read {shipped('grafana') / 'provisioning'}")


def test_where_there_is_one_its_address_comes_later(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grafana, "find", lambda: Path("/usr/sbin/grafana"))
    assert grafana_line(stack).strip() == "starts last, see below"


def test_our_own_program_is_named_by_how_it_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    python = tmp_path / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    assert programs.plimsoll() == ["bin/python", "-m", "plimsoll"]
    python.parent.mkdir()
    own = python.with_name("plimsoll")
    own.touch(mode=0o755)
    assert programs.plimsoll() == ["bin/plimsoll"]
    monkeypatch.chdir(Path(__file__).parent)
    assert programs.plimsoll() == [str(own)]
    monkeypatch.setenv("PATH", str(own.parent))
    assert programs.plimsoll() == ["plimsoll"]
