"""Runs VictoriaMetrics, vmagent and vmalert as docs/scaling.md says, where a test wants them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from plimsoll.demo.service import LOOPBACK, Command, Listener, Service
from support import require_program

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


def run(
    name: str, directory: Path, changes: Mapping[str, str], *flags: str
) -> AbstractContextManager[Service]:
    """Run one of them.

    Args:
        name: of the program.
        directory: where its log stands.
        changes: what to put in the place of what in its flags; each must stand there.
        flags: further ones.
    """
    program = Path(require_program(name))
    told = flags_of(name)
    assert not [old for old in changes if not any(old in flag for flag in told)]
    own = [changed(flag, changes) for flag in told]

    def command(port: int) -> Command:
        return [program, *own, *flags, f"-httpListenAddr={LOOPBACK}:{port}"]

    log = directory / f"{name}.log"
    return Listener(name, command, log, announcement="starting http server at", ready="/health").running(0)


def flags_of(name: str) -> list[str]:
    """Give the flags that the page has for a program."""
    text = block("commands").replace("\\\n", " ")
    (line,) = (words for words in map(shlex.split, text.splitlines()) if words[:1] == [name])
    return line[1:]


def block(name: str) -> str:
    """Give the block of the page below a comment."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"{PAGE} has no block {name}"
    return found[1]


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Put some things in the place of others."""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def write_scraping(file: Path, exporter: str) -> None:
    """Write vmagent's configuration as the page has it, with our exporter for its target, at every second."""
    configuration = yaml.safe_load(block("vmagent"))
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    (job,) = (job for job in configuration["scrape_configs"] if job["job_name"] == "plimsoll")
    job["static_configs"] = [{"targets": [exporter]}]
    configuration["scrape_configs"] = [job]
    file.write_text(yaml.safe_dump(configuration))
