"""Every log line can be read by a machine. A process of its own logs, since logging is set up for all."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from plimsoll import logs

SCRIPT = """
import logging, sys
import structlog
from plimsoll import logs

early = structlog.get_logger("plimsoll.early")
logs.configure(*sys.argv[1:])
early.debug("a detail")
early.info("it's \\"quoted\\"", path="C:\\\\dir", text="two\\nshort lines", empty="")
early.bind(server="main ⚓").warning("=odd=", error='say "x"')
logging.getLogger("library").warning("from %s", "a library")
try:
    raise ZeroDivisionError("boom\\nboom")
except ZeroDivisionError:
    structlog.get_logger().exception("it broke")
"""
PAIR = re.compile(r'([A-Za-z_]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?: |$)')


def run(level: str, log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, level, log_format],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def parse_logfmt(line: str) -> dict[str, str]:
    """Read a line of key=value pairs, of which nothing may be left over."""
    assert PAIR.sub("", line) == "", f"no logfmt: {line}"
    pairs = {}
    for key, text in PAIR.findall(line):
        assert key not in pairs
        quoted = text.startswith('"')
        pairs[key] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text[1:-1]) if quoted else text
    return pairs


def read(level: str, log_format: str) -> list[dict[str, object]]:
    parse = json.loads if log_format == "json" else parse_logfmt
    return [dict(parse(line)) for line in run(level, log_format)]


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_each_line_has_a_time_a_level_and_a_message(log_format: str) -> None:
    lines = read("debug", log_format)

    assert [line["level"] for line in lines] == ["debug", "info", "warning", "warning", "error"]
    assert [line["msg"] for line in lines] == [
        "a detail",
        'it\'s "quoted"',
        "=odd=",
        "from a library",
        "it broke",
    ]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line["ts"]))


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_values_come_through(log_format: str) -> None:
    _, info, warning, _, error = read("debug", log_format)

    assert (info["text"], info["empty"]) == ("two\nshort lines", "")
    assert (warning["server"], warning["error"]) == ("main ⚓", 'say "x"')
    assert "ZeroDivisionError: boom\nboom" in str(error["exception"])


@pytest.mark.parametrize("log_format", logs.FORMATS)
@pytest.mark.parametrize(("level", "count"), [("debug", 5), ("info", 4), ("warn", 3), ("error", 1)])
def test_the_level_leaves_out_what_is_below(level: str, count: int, log_format: str) -> None:
    assert len(read(level, log_format)) == count


def test_logfmt_begins_with_the_time() -> None:
    for line in run("info", "logfmt"):
        assert re.match(r"ts=\S+ level=(info|warning|error) msg=", line)
