"""A server that misbehaves costs its own samples: /metrics answers in time, and connections never pile up."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database, OwnPostgres, connection_limit, fresh_database
from plimsoll.demo import processes
from plimsoll.demo.postgres import PostgresServer
from proxy import Proxy, proxy_to
from serving import Serving, serving
from waiting import eventually


@pytest.fixture
def database(newest_database: Database) -> Database:
    """What goes wrong on the wire does not depend on the release; see `each_release` for what may."""
    return newest_database


@pytest.fixture
def each_release(postgres: PostgresServer) -> Iterator[Database]:
    """Give a fresh database on each release, whose server lets the exporter connect twice and not thrice."""
    with connection_limit(postgres, 2):
        yield from fresh_database(postgres)


def succeeded(exporter: Serving) -> bool:
    return set(exporter.scrape().all("plimsoll_collector_success").values()) == {1}


@contextmanager
def accepting_nothing() -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that accepts connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def accept() -> None:
        try:
            while True:
                accepted.append(listener.accept()[0])
        except OSError:
            return

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1], accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in accepted:
            connection.close()


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    with accepting_nothing() as (port, accepted):
        mute = {"name": "mute", "dsn": f"host=127.0.0.1 port={port} user=u", "connect_timeout": "500ms"}
        with serving({"postgres": {"servers": [mute]}}, tmp_path) as exporter:
            for _ in range(4):
                page = exporter.scrape(timeout=3)
                assert page.get("pg_up", server="mute") == 0
            assert page.get("plimsoll_collector_success", collector="server") == 0
            assert len(accepted) == 2, "given-up connections whose other end lives on keep their places"


def test_a_mute_server_that_comes_to_life(limited: Database, proxy: Proxy, tmp_path: Path) -> None:
    proxy.hold()
    with serving(limited.config(port=proxy.port, connect_timeout="300ms"), tmp_path) as exporter:
        assert exporter.scrape(timeout=3).get("pg_up") == 0
        assert exporter.scrape(timeout=3).get("pg_up") == 0
        proxy.release()
        eventually(lambda: succeeded(exporter))
        assert not exporter.messages("too many connections")


def test_a_hanging_host_does_not_hide_the_next_one(limited: Database, tmp_path: Path) -> None:
    """A primary that froze, and a standby that took over: one connection string names both."""
    with accepting_nothing() as (port, accepted):
        hosts = {"host": "127.0.0.1,127.0.0.1", "port": f"{port},{limited.server.port}"}
        dsn = psycopg.conninfo.make_conninfo(limited.dsn("postgres"), **hosts)
        config = limited.config(dsn=dsn, connect_timeout="300ms")
        with serving(config, tmp_path) as exporter:
            assert [exporter.scrape().get("pg_up") for _ in range(4)] == [1, 1, 1, 1]
            assert len(accepted) == 2
            assert not exporter.messages("too many connections")


def test_a_resolver_that_hangs(limited: Database, tmp_path: Path) -> None:
    """It keeps neither the other servers waiting, nor the process from ending."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\n"
        "real = socket.getaddrinfo\n"
        "def slow(host, *rest, **more):\n"
        "    if host == 'hangs.invalid':\n"
        "        time.sleep(60)\n"
        "    return real(host, *rest, **more)\n"
        "socket.getaddrinfo = slow\n"
    )
    config = limited.config()
    for number in range(8):
        config["postgres"]["servers"].append({"name": f"slow{number}", "dsn": "host=hangs.invalid"})
    with serving(config, tmp_path, env={"PYTHONPATH": str(tmp_path)}) as exporter:
        for _ in range(2):
            page = exporter.scrape(timeout=2)
            assert page.get("pg_up", server="main") == 1
            assert page.get("pg_up", server="slow0") == 0
        exporter.signal(signal.SIGTERM)
        assert exporter.process.wait(10) == 0


def test_the_good_server_beside_a_mute_one_is_complete(limited: Database, tmp_path: Path) -> None:
    with limited.connect() as session:
        session.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) a")
    with accepting_nothing() as (port, _):
        config = limited.config()
        config["postgres"]["servers"].append({"name": "mute", "dsn": f"host=127.0.0.1 port={port} user=u"})
        with serving(config, tmp_path) as exporter:
            page = exporter.scrape(timeout=2)
    assert page.get("pg_up", server="mute") == 0
    assert page.get("pg_up", server="main") == 1
    assert page.tables()["t"] > 0


def test_an_answer_that_stops_half_way(limited: Database, proxy: Proxy, tmp_path: Path) -> None:
    config = limited.config(port=proxy.port, statement_timeout="300ms")
    with serving(config, tmp_path) as exporter:
        before = exporter.scrape()
        proxy.hold(after_bytes=700)  # beyond the log-in, within a result
        for _ in range(3):
            page = exporter.scrape(timeout=3)
            assert page.tables() == before.tables(), "the last sizes are repeated"
        assert page.get("pg_up") == 0
        proxy.release()
        eventually(lambda: succeeded(exporter))
        assert not exporter.messages("too many connections")


@pytest.mark.parametrize("after_bytes", [0, 100, 500, 900])
def test_a_connection_cut_at_any_point(
    limited: Database, proxy: Proxy, tmp_path: Path, after_bytes: int
) -> None:
    with serving(limited.config(port=proxy.port), tmp_path) as exporter:
        before = exporter.scrape()
        proxy.hold(after_bytes)
        with ThreadPoolExecutor() as pool:
            scrape = pool.submit(exporter.scrape)
            assert proxy.holding.wait(10)
            proxy.cut()
            assert scrape.result().tables() == before.tables()
        eventually(lambda: succeeded(exporter))


def test_a_server_frozen_in_the_middle_of_a_collection(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    """SIGSTOP for the whole server: its kernel still accepts connections that nobody will ever serve."""
    server = own_postgres()
    database = Database(server, "postgres")
    with database.connect() as session:
        session.execute("ALTER ROLE plimsoll CONNECTION LIMIT 2")  # on a server that nobody else uses
        session.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) a")
    quick = {"connect_timeout": "300ms", "statement_timeout": "300ms"}
    with proxy_to(server.port) as proxy:
        config = database.config(port=proxy.port, **quick)
        with serving(config, tmp_path) as exporter, ThreadPoolExecutor() as pool:
            assert succeeded(exporter)
            before = exporter.scrape().tables()
            proxy.hold(after_bytes=700)
            scrape = pool.submit(exporter.scrape, timeout=3)
            assert proxy.holding.wait(10)
            with frozen(server):
                proxy.release()
                assert scrape.result().tables() == before
                for _ in range(3):
                    page = exporter.scrape(timeout=3)
                    assert page.get("pg_up") == 0
                    assert page.tables() == before
            eventually(lambda: succeeded(exporter))
            assert not exporter.messages("too many connections")


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Stop the postmaster and its children, as a hanging disk would, and let them go on."""
    pids = [server.pid, *processes.children(server.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_server_killed_and_started_again(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    server = own_postgres()
    database = Database(server, "postgres")
    with database.connect() as session:
        session.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) a")
    with serving(database.config(), tmp_path) as exporter:
        before = exporter.scrape()
        server.kill()
        page = exporter.scrape()
        assert page.get("pg_up") == 0
        assert page.tables() == before.tables()
        server.start()
        eventually(lambda: succeeded(exporter))
        assert exporter.scrape().get("pg_up") == 1


def test_a_server_out_of_connections(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    server = own_postgres(max_connections="10")
    database = Database(server, "postgres")
    with serving(database.config(), tmp_path) as exporter:
        assert succeeded(exporter)
        with ExitStack() as crowd:
            fill(database, crowd)
            assert exporter.scrape().get("pg_up") == 0
            (line,) = exporter.messages("collection failed")
            assert "too many clients" in line["error"] or "remaining connection slots" in line["error"]
        eventually(lambda: succeeded(exporter))
        assert exporter.scrape().get("pg_up") == 1


def fill(database: Database, crowd: ExitStack) -> None:
    """Open connections until the server refuses one."""
    with suppress(psycopg.OperationalError):
        while True:
            crowd.enter_context(database.connect())


def test_a_database_without_connect(each_release: Database, tmp_path: Path) -> None:
    other = f"{each_release.name}_shut"
    with each_release.connect() as session:
        session.execute(f"CREATE DATABASE {other}")
        session.execute(f"REVOKE CONNECT ON DATABASE {other} FROM public")
    try:
        with serving(each_release.config(), tmp_path) as exporter:
            page = exporter.scrape()
            exporter.scrape()
            assert page.get("pg_database_size_bytes", datname=other), "pg_monitor may ask for its size"
            assert page.get("plimsoll_collector_success", collector="tables", datname=other) == 0
            assert page.get("plimsoll_collector_success", collector="tables", datname=each_release.name) == 1
            (line,) = exporter.messages(f"no privilege CONNECT on database {other}")
            assert line["datname"] == other
    finally:
        with each_release.connect() as session:
            session.execute(f"DROP DATABASE {other}")


def test_with_one_connection_our_own_work_does_not_look_like_an_outage(
    newest_database: Database, tmp_path: Path
) -> None:
    """While a pass over the tables holds it, nobody can ask whether the server is up: no sample, not 0."""
    config = newest_database.config(max_connections=1, lock_timeout="30s", statement_timeout="30s")
    with newest_database.connect(autocommit=False) as holder, serving(config, tmp_path) as exporter:
        holder.execute("LOCK TABLE pg_catalog.pg_namespace IN ACCESS EXCLUSIVE MODE")
        assert exporter.scrape(timeout=2).get("pg_up") == 1, "it was asked before the pass began"
        assert exporter.scrape(timeout=2).get("pg_up") is None
        holder.rollback()
        eventually(lambda: exporter.scrape().get("pg_up") == 1)


def test_many_databases_share_the_two_connections(limited: Database, tmp_path: Path) -> None:
    names = [f"{limited.name}_{number}" for number in range(12)]
    with limited.connect() as session:
        for name in names:
            session.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        config = limited.config(databases={"include": [f"{limited.name}.*"]})
        with serving(config, tmp_path) as exporter:
            for _ in range(5):
                assert succeeded(exporter), exporter.messages("failed")
    finally:
        with limited.connect() as session:
            for name in names:
                session.execute(f"DROP DATABASE {name}")


def test_a_table_dropped_between_listing_and_measuring(each_release: Database, tmp_path: Path) -> None:
    """A table comes and goes at any moment while sizes are read, and is never shown with 0 bytes."""
    done = threading.Event()

    def churn() -> None:
        with each_release.connect() as session:
            while not done.is_set():
                session.execute("CREATE TABLE brief AS SELECT generate_series(1, 1000) a")
                session.execute("SELECT pg_sleep(0.03 * random())")
                session.execute("DROP TABLE brief")
                session.execute("SELECT pg_sleep(0.03 * random())")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        with serving(each_release.config(), tmp_path) as exporter:
            pages = [exporter.scrape() for _ in range(100)]
    finally:
        done.set()
        thread.join()
    sizes = [page.tables().get("brief") for page in pages]
    assert 0 not in sizes
    assert None in sizes, "it was caught absent"
    assert any(sizes), "and present"


def test_fifty_scrapes_at_once_are_one_collection(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    server = own_postgres(log_connections="on")
    database = Database(server, "postgres")
    with database.connect() as session:
        session.execute("CREATE TABLE t (a int)")
    with proxy_to(server.port) as proxy:
        config = database.config(port=proxy.port)
        with serving(config, tmp_path) as exporter:
            proxy.hold()
            with ThreadPoolExecutor(50) as pool:
                scrapes = [pool.submit(exporter.scrape) for _ in range(50)]
                eventually(lambda: clients_of(exporter) == 50)
                exporter.fetch("/-/healthy")  # answered after all that was accepted before it
                proxy.release()
                pages = [scrape.result() for scrape in scrapes]
    assert all(page.get("pg_up") == 1 and "t" in page.tables() for page in pages)
    log = server.log.read_text()
    assert (
        log.count("connection authorized: user=plimsoll") == 3
    )  # the probe, the databases, the tables of one


def clients_of(exporter: Serving) -> int:
    """Count the connections to the exporter's port that its side has open."""
    port = f"{int(exporter.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port}") and row[3] == "01" for row in rows)
