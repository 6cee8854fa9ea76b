"""One PostgreSQL server: connections that are bounded, and reads that cannot harm it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import psycopg
import structlog
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from plimsoll.serve.settings.postgres import Host, ServerSettings
from plimsoll.serve.sources import SourceError
from plimsoll.serve.sources.addresses import addresses
from plimsoll.serve.sources.link import Link, Row
from plimsoll.serve.sources.places import Place, Places
from plimsoll.serve.sources.rows import DECLARE, MOST_BYTES, Answer, answer_of, joined, said_of
from plimsoll.serve.sources.sql import statement

_log = structlog.get_logger(__name__)
Result = TypeVar("Result")

Reason = Literal["locked", "denied", "timeout", "failed"]
"""Why a statement was refused for what it touched."""

_DEFAULTS = {
    "application_name": "plimsoll",
    "client_encoding": "UTF8",
    # The kernel, not us, finds out that a peer has vanished; within half a minute.
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_GRACE = 2.0
"""Seconds that a server may take beyond its statement_timeout before we give it up."""
_TO_END = 3.0
"""Seconds for ending a backend from outside."""
_BACKEND = statement("backend")
_END = statement("end_backend")
_PORTION = 100
"""Rows that are fetched at a time."""
_LOADED = 2000
"""Rows of an answer that are made Python's at a time."""


class PostgresError(SourceError):
    """The server, or a database, could not be read. The message never holds a password."""


class StatementRefusedError(PostgresError):
    """One statement failed for a cause that lies in what it touched; the connection is still good."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class PostgresServer:
    """Reads from one server as its settings allow, within the places that each of its hosts has for us."""

    def __init__(self, settings: ServerSettings, places: Mapping[Host, Places] | None = None) -> None:
        self._settings = settings
        self._places = places or {host: Places(settings.max_connections) for host in settings.hosts}

    @property
    def is_crowded(self) -> bool:
        """Whether our own healthy work holds every place, so that nobody could ask how the server is."""
        return all(self._places[host].all_at_work for host in self._settings.hosts)

    @contextlib.asynccontextmanager
    async def connect(
        self, datname: str | None = None, *, long_work: bool = False, patience: float | None = None
    ) -> AsyncIterator[Connection]:
        """Connect to `datname`, or to the database of the DSN, as soon as there is a place.

        Raises:
            PostgresError: no host could be connected to within connect_timeout, or there is no place, and for
                `patience` seconds none has become free.
        """
        hosts = [(host, self._places[host]) for host in self._settings.hosts]
        async with contextlib.AsyncExitStack() as held:
            link = await self._connect(held, hosts, datname, long_work=long_work, patience=patience)
            yield Connection(link, self._settings, self._clean)

    async def settle(self, seconds: float) -> None:
        """Wait `seconds` until the given-up backends have gone, and end those that stay."""
        await asyncio.gather(*(self._places[host].settle(seconds) for host in self._settings.hosts))

    async def _connect(
        self,
        held: contextlib.AsyncExitStack,
        hosts: Sequence[tuple[Host, Places]],
        datname: str | None = None,
        *,
        long_work: bool = False,
        patience: float | None = None,
    ) -> Link:
        """Try each host in turn, but wait for a place at the last one only."""
        complaints = []
        for host, places in hosts:
            if host != hosts[-1][0] and not places.is_free(long_work=long_work):
                complaints.append(f"{host.name} has no connection left for us")
                continue
            async with contextlib.AsyncExitStack() as attempt:
                taking = places.take(long_work=long_work, patience=patience)
                try:
                    place = await attempt.enter_async_context(taking)
                except TimeoutError:
                    complaints.append(f"no connection is free: {places.state}")
                    continue
                try:
                    async with asyncio.timeout(self._settings.connect_timeout):
                        link = await self._open(host, datname, place)
                except TimeoutError:
                    complaints.append(f"no connection within {self._settings.connect_timeout:g} s")
                except (OSError, psycopg.Error) as error:
                    complaints.append(self._clean(error))
                else:
                    place.at_work = True
                    place.end = partial(self._end, host, link)
                    held.push_async_exit(attempt.pop_all())
                    return link
        raise PostgresError("; ".join(complaints))

    async def _open(self, host: Host, datname: str | None, place: Place) -> Link:
        """Log in at the first address that can be reached, and at no other: a place is one connection."""
        database = {} if datname is None else {"dbname": datname}
        candidates = await addresses(host)
        failure: Exception = OSError(f"the host name {host.name} has no address")
        for address in candidates:
            parameters = {**_DEFAULTS, **self._settings.parameters, **database, **address}
            link = Link(pq.PGconn.connect_start(make_conninfo(**parameters).encode()))
            place.farewells.append(link.leave)
            try:
                async with asyncio.timeout(self._settings.connect_timeout / len(candidates)):
                    await link.reach()
            except (TimeoutError, psycopg.Error) as error:
                failure = error
            else:
                await link.establish()
                return link
        raise failure

    async def _end(self, host: Host, link: Link) -> None:
        """End a backend over another connection: the probe's, or where there is no other place, one more."""
        if link.backend is None:
            return
        pid, started = link.backend
        places = self._places[host].for_ending
        with contextlib.suppress(PostgresError, TimeoutError):
            async with asyncio.timeout(_TO_END), contextlib.AsyncExitStack() as held:
                other = Connection(await self._connect(held, [(host, places)]), self._settings, self._clean)
                told = await other.read(_END, {"pid": pid, "started": started})
                if told and not link.was_told_to_end:
                    link.was_told_to_end = True
                    _log.warning(
                        "a query went on although it was cancelled; its backend was told to end",
                        server=self._settings.name,
                        pid=pid,
                    )

    def _clean(self, error: BaseException) -> str:
        """Give an error's message on one line, without the password, unless that is no secret anyway."""
        message = " ".join(str(error).split()) or type(error).__name__
        parameters = dict(self._settings.parameters)
        password = parameters.pop("password", None)
        return (
            message.replace(password, "***") if password and password not in parameters.values() else message
        )


class Connection:
    """An open connection to one database. Every read is a transaction of its own."""

    def __init__(self, link: Link, settings: ServerSettings, clean: Callable[[BaseException], str]) -> None:
        self._cursor = psycopg.AsyncClientCursor(link)
        self._link = link
        self._statement_timeout = settings.statement_timeout
        self._bound = settings.statement_timeout + _GRACE
        timeout = _milliseconds(settings.statement_timeout)
        limits = (
            f"SET LOCAL statement_timeout = {timeout};"
            f"SET LOCAL lock_timeout = {_milliseconds(settings.lock_timeout)};"
        )
        # Unless told not to, a backend copies all statistics that it looks at, to show the same ones again.
        statistics = "SET LOCAL stats_fetch_consistency = none;" if link.info.server_version >= 150000 else ""
        # A database's owner may have put functions of his own before PostgreSQL's, to run as us.
        self._begin = f"BEGIN READ ONLY;SET LOCAL search_path = pg_catalog;{statistics}{limits}"
        # Its statements travel one by one: were we stopped in between, it would stand open.
        self._begin_cursor = (
            f"BEGIN READ ONLY;SET LOCAL idle_in_transaction_session_timeout = {timeout};"
            f"SET LOCAL cursor_tuple_fraction = 1;{limits}{_BACKEND}"
        )
        self._clean = clean

    @property
    def datname(self) -> str:
        """The database that it leads to."""
        return self._link.info.dbname

    async def read(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one SELECT in a read-only transaction and give its rows.

        The transaction's statements travel together, in one message of the simple protocol: one round
        trip, nothing prepared, and nothing left on the session that a pooler could pass on.

        Raises:
            StatementRefusedError: a lock, a timeout or a missing privilege; the connection can be used again.
            PostgresError: the connection is lost, or the server does not answer.
        """
        try:
            return await self._read(statement, parameters)
        except UnicodeDecodeError:
            self._link.tolerate()
            self._cursor = psycopg.AsyncClientCursor(self._link)
            return await self._read(statement, parameters)

    async def _read(self, statement: str, parameters: Mapping[str, Any] | None) -> list[Row]:
        try:
            return await self._in_time(self._transaction(statement, parameters))
        except psycopg.Error as error:
            raise self._described(error) from None

    async def select(self, query: str, row_limit: int) -> Answer:
        """Run a query that somebody else wrote, and read one row more than `row_limit` at most.

        Rows come in portions, and no more than one portion beyond `MOST_BYTES` is ever held.

        It is the query of a cursor, which must be one SELECT, and travels alone in a message of the extended
        protocol, which must be one statement: so it cannot end the transaction, nor begin one that writes.
        Afterwards everything is rolled back and unlocked, so that no setting that a function changed, and no
        advisory lock, reaches a pooler's next client. Names are looked up along the search_path of the role,
        as its author has tried it.

        Raises:
            StatementRefusedError: the query cannot be run; the connection can be used again.
            PostgresError: the connection is lost, or the server does not answer.
        """
        try:
            return await self._from_cursor(query, row_limit)
        except psycopg.Error as error:
            raise self._described(error, said_of(error, query)) from None

    async def _from_cursor(self, query: str, row_limit: int) -> Answer:
        cursor = psycopg.AsyncRawCursor(self._link)
        try:
            await self._in_time(self._begin_telling_who())
            end = time.monotonic() + self._statement_timeout
            # The extended protocol is what `binary` brings about: there are no rows yet.
            await self._in_time(cursor.execute(f"{DECLARE}{query}".encode(), binary=True))
            return await self._fetch(cursor, row_limit + 1, end)
        finally:
            if self._link.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await self._in_time(self._link.execute("ROLLBACK;SELECT pg_catalog.pg_advisory_unlock_all()"))
                self._link.backend = None

    async def _begin_telling_who(self) -> None:
        """Begin, and learn which backend it is: behind a pooler not always the same."""
        self._link.backend = None
        cursor = await self._link.execute(self._begin_cursor.encode())
        while cursor.description is None and cursor.nextset():
            pass
        self._link.backend = await cursor.fetchone()

    async def _fetch(self, cursor: psycopg.AsyncRawCursor[Row], wanted: int, end: float) -> Answer:
        """Fetch rows until there are no more, or enough or too much. The server times each portion anew."""
        portions: list[Answer] = []
        while wanted > 0 and sum(portion.size for portion in portions) <= MOST_BYTES:
            if portions and time.monotonic() > end:
                raise StatementRefusedError("all rows together took longer than statement_timeout", "timeout")
            asked = min(_PORTION, wanted)
            await self._in_time(cursor.execute(f"FETCH FORWARD {asked} FROM plimsoll".encode()))
            portions.append(answer_of(cursor))
            wanted = wanted - asked if len(portions[-1].rows) == asked else 0
        return joined(portions)

    async def _in_time(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(self._bound):
                return await work
        except TimeoutError:
            raise PostgresError(f"no answer within {self._bound:g} s") from None

    async def _transaction(self, statement: str, parameters: Mapping[str, Any] | None) -> list[Row]:
        text = self._cursor.mogrify(statement, parameters)
        try:
            await self._cursor.execute(f"{self._begin}{text};COMMIT".encode())
        except psycopg.Error:
            if not self._link.closed:
                await self._link.execute("ROLLBACK")
            raise
        while self._cursor.description is None and self._cursor.nextset():
            pass
        rows: list[Row] = []
        while portion := await self._cursor.fetchmany(_LOADED):
            rows += portion
            await asyncio.sleep(0)  # others have their turn: the rows of many tables take a while
        return rows

    def _described(self, error: psycopg.Error, message: str | None = None) -> PostgresError:
        message = message or self._clean(error)
        match error:
            case psycopg.errors.LockNotAvailable():
                return StatementRefusedError(message, "locked")
            case psycopg.errors.QueryCanceled():
                return StatementRefusedError(message, "timeout")
            case psycopg.errors.InsufficientPrivilege():
                return StatementRefusedError(message, "denied")
            case _ if self._link.closed:
                return PostgresError(message)
            case _:  # a damaged file, say
                return StatementRefusedError(message, "failed")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def array(oids: Iterable[int]) -> str:
    """Write object ids as the text of a PostgreSQL array."""
    return "{" + ",".join(map(str, oids)) + "}"
