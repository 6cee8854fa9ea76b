"""The one connection to the history's database: bounded in time, and made anew after any trouble."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.waiting import wait_async

from plimsoll.relay.history import HistoryError
from plimsoll.relay.history.transaction import begin

_STATEMENT_TIMEOUT = 8.0
_PARAMETERS: dict[str, Any] = {
    "application_name": "plimsoll relay",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    # The kernel, not us, finds out that a peer has vanished; within half a minute.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
}


class _Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    _LOOK_AGAIN = 60.0
    """Seconds after which it is asked whether an answer has come that nobody told of."""

    async def wait(self, gen: PQGen[Any], *_: Any, **__: Any) -> Any:
        """Wait for an operation; when cancelled stop at once, where psycopg would wait for the server."""
        # Without an interval psycopg asks again and again, and keeps a processor busy while the server works.
        return await wait_async(gen, self.pgconn.socket, interval=self._LOOK_AGAIN)


class Link:
    """One transaction after another, over a connection that is kept between them."""

    patience = 10.0
    """Seconds for a transaction as a whole, with connecting and waiting for those before it."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def transaction(self, *, bounded: bool = True) -> AsyncIterator[_Connection]:
        """Give a connection on which a transaction has begun: it is committed, or ends with the connection.

        It takes no longer than `patience`; if it is not `bounded`, its statements take as long as they take.

        Raises:
            HistoryError: the database is away, does not answer in time, or refuses something.
        """
        try:
            async with asyncio.timeout(self.patience if bounded else None), self._turn, self._lost_on_error():
                connection = await self._begun(_STATEMENT_TIMEOUT if bounded else 0)
                yield connection
                await connection.execute("COMMIT")
        except TimeoutError:
            raise HistoryError(f"the database did not answer within {self.patience:g} s") from None
        except (OSError, psycopg.Error) as error:
            raise HistoryError(self._clean(error)) from None

    async def close(self) -> None:
        """Close the connection, if there is one. A later transaction makes another."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    @contextlib.asynccontextmanager
    async def _lost_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self.close()
            raise

    async def _begun(self, statement_timeout: float) -> _Connection:
        """Begin, on a new connection if the server has closed the one that was kept."""
        if self._connection:
            try:
                await begin(self._connection, statement_timeout)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
                await self.close()
            else:
                return self._connection
        self._connection = await self._connected()
        await begin(self._connection, statement_timeout)
        return self._connection

    async def _connected(self) -> _Connection:
        return await _Connection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None, **_PARAMETERS
        )

    def _clean(self, error: BaseException) -> str:
        """Give an error's message on one line, without what it quotes of rows, and without the password."""
        message = " ".join(_said(error).split()) or type(error).__name__
        password = conninfo_to_dict(self._conninfo).get("password")
        return message.replace(str(password), "***") if password else message


def _said(error: BaseException) -> str:
    if not isinstance(error, psycopg.Error) or not error.diag.message_primary:
        return str(error)
    if isinstance(error, psycopg.errors.DependentObjectsStillExist):
        return f"{error.diag.message_primary}: {error.diag.message_detail}"
    return error.diag.message_primary
