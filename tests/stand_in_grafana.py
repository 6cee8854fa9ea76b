"""A program in Grafana's place: it takes what Grafana takes, and answers any page with what it made of that.

As a script it is the program. It refuses what Grafana would refuse, and what it would only complain about in
its log, or show as an empty page.
"""

from __future__ import annotations

import configparser
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

HEALTH = "/api/health"

_SCRIPT = """\
#!/bin/sh
exec {python} {stand_in} {subcommand} "$@"
"""


def install(program: Path, home: Path, *, script: str | None = None) -> Path:
    """Put it, or another script, where a program of Grafana's would be, with its files in `home`."""
    program.parent.mkdir(parents=True, exist_ok=True)
    (home / "conf").mkdir(parents=True, exist_ok=True)
    (home / "conf" / "defaults.ini").touch()
    subcommand = "server" if program.name == "grafana-server" else ""
    ours = _SCRIPT.format(python=sys.executable, stand_in=Path(__file__).absolute(), subcommand=subcommand)
    program.write_text(script or ours)
    program.chmod(0o755)
    return program


def _main(command: str, *arguments: str) -> None:
    assert command == "server", f"there is no command {command}"
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert (Path(flags["homepath"]) / "conf" / "defaults.ini").is_file(), "no home"
    settings = _settings(Path(flags["config"]))
    report = {
        "flags": flags,
        "settings": settings,
        "environment": dict(os.environ),
        **_provisioned(Path(settings["paths"]["provisioning"])),
        "home": json.loads(Path(settings["dashboards"]["default_home_dashboard_path"]).read_text())["uid"],
    }
    _serve(settings["server"], report)


def _settings(file: Path) -> dict[str, dict[str, str]]:
    """Read grafana.ini, where triple quotes protect a value."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(file.read_text("utf-8"))
    return {
        name: {key: value.removeprefix('"""').removesuffix('"""') for key, value in section.items()}
        for name, section in parser.items()
        if name != parser.default_section
    }


def _provisioned(folder: Path) -> dict[str, Any]:
    from provisioning import read

    providers = read(folder / "dashboards", "providers")
    files = [path for each in providers for path in Path(each["options"]["path"]).glob("*.json")]
    return {
        "datasources": read(folder / "datasources", "datasources"),
        "dashboards": sorted(json.loads(path.read_text("utf-8"))["uid"] for path in files),
    }


def _serve(server: dict[str, str], report: dict[str, Any]) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"database": "ok"} if self.path == HEALTH else report).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    listening = HTTPServer((server["http_addr"], int(server["http_port"])), Handler)
    sys.stdout.write('logger=http.server level=info msg="HTTP Server Listen"\n')
    sys.stdout.flush()
    listening.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
