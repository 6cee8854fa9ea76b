"""One PostgreSQL server: connections that are bounded, and reads that cannot harm it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Literal

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from plimsoll.serve.settings import ServerSettings
from plimsoll.serve.sources import SourceError
from plimsoll.serve.sources.addresses import addresses
from plimsoll.serve.sources.link import Link, Row
from plimsoll.serve.sources.places import Farewell, Places

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


class PostgresError(SourceError):
    """The server, or a database, could not be read. The message never holds a password."""


class StatementRefusedError(PostgresError):
    """One statement failed for a cause that lies in what it touched; the connection is still good."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class PostgresServer:
    """Reads from one server as its settings allow, within the places that it has for us."""

    def __init__(self, settings: ServerSettings, places: Places) -> None:
        self._settings = settings
        self._places = places

    @property
    def is_crowded(self) -> bool:
        """Whether our own healthy work holds every place, so that nobody could ask how the server is."""
        return self._places.held_by_work >= self._places.limit

    @contextlib.asynccontextmanager
    async def connect(
        self, datname: str | None = None, *, long_work: bool = False
    ) -> AsyncIterator[Connection]:
        """Connect to `datname`, or to the database of the DSN, as soon as there is a place.

        Raises:
            PostgresError: it was not possible within connect_timeout.
        """
        async with self._places.take(long_work=long_work) as farewells:
            parameters = {**_DEFAULTS, **self._settings.parameters}
            if datname is not None:
                parameters["dbname"] = datname
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    link = await self._open(parameters, farewells)
            except TimeoutError:
                raise PostgresError(f"no connection within {self._settings.connect_timeout:g} s") from None
            except (OSError, psycopg.Error) as error:
                raise PostgresError(self._clean(error)) from None
            yield Connection(link, self._settings, self._clean)

    async def _open(self, parameters: Mapping[str, str], farewells: list[Farewell]) -> Link:
        """Try each address of each host in turn, as libpq does."""
        failures = []
        candidates = await addresses(parameters)
        for address in candidates:
            link = Link(pq.PGconn.connect_start(make_conninfo(**{**parameters, **address}).encode()))
            farewells.append(link.leave)
            try:
                async with asyncio.timeout(self._settings.connect_timeout / len(candidates)):
                    await link.establish()
            except (TimeoutError, psycopg.Error) as error:
                failures.append(error)
            else:
                return link
        raise failures[-1]

    def _clean(self, error: BaseException) -> str:
        """Give an error's message on one line, without the password."""
        message = " ".join(str(error).split()) or type(error).__name__
        password = self._settings.parameters.get("password")
        return message.replace(password, "***") if password else message


class Connection:
    """An open connection to one database. Every read is a transaction of its own."""

    def __init__(self, link: Link, settings: ServerSettings, clean: Callable[[BaseException], str]) -> None:
        self._cursor = psycopg.AsyncClientCursor(link)
        self._link = link
        self._bound = settings.statement_timeout + _GRACE
        self._begin = (
            "BEGIN READ ONLY;"
            f"SET LOCAL statement_timeout = {_milliseconds(settings.statement_timeout)};"
            f"SET LOCAL lock_timeout = {_milliseconds(settings.lock_timeout)};"
        )
        self._clean = clean

    async def read(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one SELECT in a read-only transaction and give its rows.

        The transaction's statements travel together, in one message of the simple protocol: one round
        trip, nothing prepared, and nothing left on the session that a pooler could pass on.

        Raises:
            StatementRefusedError: a lock, a timeout or a missing privilege; the connection can be used again.
            PostgresError: the connection is lost, or the server does not answer.
        """
        try:
            async with asyncio.timeout(self._bound):
                return await self._transaction(statement, parameters)
        except TimeoutError:
            raise PostgresError(f"no answer within {self._bound:g} s") from None
        except psycopg.Error as error:
            raise self._described(error) from None

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
        return await self._cursor.fetchall()

    def _described(self, error: psycopg.Error) -> PostgresError:
        message = self._clean(error)
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
