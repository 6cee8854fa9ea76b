"""What a query of a collector file may do to a server, and what comes back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from fix_postgres import Database, fresh_database
from plimsoll.demo.postgres import PostgresServer as Postgres
from plimsoll.serve.settings.postgres import ServerSettings
from plimsoll.serve.sources.postgres import Connection, PostgresServer, StatementRefusedError
from plimsoll.serve.sources.rows import MOST_BYTES, Answer

LIMIT = 10
FUNCTIONS = """
CREATE FUNCTION leaves() RETURNS int LANGUAGE plpgsql AS 'BEGIN COMMIT; RETURN 1; END';
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1';
CREATE FUNCTION unlocks() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$  -- to be run while planning
BEGIN PERFORM set_config('transaction_read_only', 'off', true); DELETE FROM t; RETURN 1; END
$$;
"""


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[Database]:
    """Give a database on each release in turn, one for all tests: a query that harms it fails its test."""
    for database in fresh_database(postgres):
        with database.connect() as session:
            session.execute("CREATE TABLE t AS SELECT generate_series(1, 10) a")
            session.execute("CREATE SEQUENCE s")
            session.execute("CREATE VIEW secret AS SELECT 1")
            session.execute(FUNCTIONS)
            session.execute("GRANT ALL ON t, s TO plimsoll")
            session.execute("GRANT ALL ON SCHEMA public TO plimsoll")
        yield database


@pytest.fixture
def own_database(postgres: Postgres) -> Iterator[Database]:
    """Give a database that a test may change."""
    yield from fresh_database(postgres)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    settings = ServerSettings.model_validate(
        {"name": "main", "dsn": database.dsn(), "statement_timeout": "500ms", "lock_timeout": "100ms"}
    )
    async with PostgresServer(settings).connect() as connection:
        yield connection


async def refusal(connection: Connection, query: str, row_limit: int = LIMIT) -> StatementRefusedError:
    """Have a query refused; then nothing was written, no transaction is open, and the connection is good."""
    with pytest.raises(StatementRefusedError) as caught:
        await connection.select(query, row_limit)
    await is_unharmed(connection)
    return caught.value


async def is_unharmed(connection: Connection) -> None:
    assert connection._link.info.transaction_status.name == "IDLE"
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    answer = await connection.select(f"SELECT count(*), ({tables}) FROM t", LIMIT)
    assert answer.rows == (("10", "1"),)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("INSERT INTO t VALUES (1) RETURNING a", "syntax error"),
        ("WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w", "data-modifying statements"),
        ("SELECT nextval('s')", "read-only transaction"),
        ("SELECT a FROM t FOR UPDATE", "read-only transaction"),
        ("SELECT a INTO u FROM t", "INTO"),
        ("COMMIT", "syntax error"),
        ("SELECT 1; COMMIT", "cannot insert multiple commands"),
        ("SELECT 1; COMMIT; DROP TABLE t", "cannot insert multiple commands"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "read-write mode"),
        ("DO $$ BEGIN COMMIT; DELETE FROM t; END $$", "syntax error"),
        ("SELECT leaves()", "invalid transaction termination"),
        ("SELECT writes()", "read-only transaction"),
        ("SELECT unlocks()", "read-write mode"),
        ("SELECT $1", "supplies 0 parameters"),
        ("SHOW server_version", "syntax error"),
        ("", "syntax error"),
    ],
)
async def test_a_query_cannot_write_nor_leave_its_transaction(
    connection: Connection, query: str, told: str
) -> None:
    assert told in str(await refusal(connection, query))


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SELECT 1;", "1"),
        ("SELECT 1 -- done", "1"),
        ("/* first */ SELECT 1", "1"),
        ("WITH w AS (SELECT 1 AS a) SELECT a FROM w", "1"),
        ("VALUES (1)", "1"),
        ("TABLE t LIMIT 1", "1"),
        ("SELECT '100 %s %(a)s %%' LIMIT 7 % 4", "100 %s %(a)s %%"),
        ("SELECT 'ü🐘'", "ü🐘"),
        ("SELECT NULL::int", None),
        ("SELECT true", "t"),
        ("SELECT 12345678901234567890.5", "12345678901234567890.5"),
    ],
)
async def test_a_select_is_answered(connection: Connection, query: str, row: str | None) -> None:
    assert (await connection.select(query, LIMIT)).rows == ((row,),)
    await is_unharmed(connection)


async def test_columns_have_names_and_types(connection: Connection) -> None:
    query = 'SELECT 1::bigint AS "Größe", true AS b, now() AS at, ARRAY[t] AS own FROM t LIMIT 0'

    answer = await connection.select(query, LIMIT)

    assert answer == Answer(("Größe", "b", "at", "own"), ("int8", "bool", "timestamptz", ""), ())


async def test_one_row_more_than_the_limit_is_read(connection: Connection) -> None:
    """The server computes no more: the row after it would divide by zero."""
    query = f"SELECT 1 / ({LIMIT + 2} - i) FROM (SELECT generate_series(1, 1000000000) i) s"

    assert len((await connection.select(query, LIMIT)).rows) == LIMIT + 1


@pytest.mark.parametrize("rows", [0, 99, 100, 101, 250, 251, 252])
async def test_portions_become_one_answer(connection: Connection, rows: int) -> None:
    answer = await connection.select(f"SELECT i, 'of ' || i FROM generate_series(1, {rows}) i", 250)

    assert answer.columns == ("i", "?column?")
    assert answer.rows == tuple((str(i), f"of {i}") for i in range(1, min(rows, 251) + 1))
    assert answer.size == sum(len(value) for row in answer.rows for value in row if value)
    await is_unharmed(connection)


async def test_too_much_is_not_read(connection: Connection) -> None:
    """Rows have 64 KiB, so 257 are too much; the server computes no more than the portion they are in."""
    query = "SELECT repeat('x', 65536), 1 / (301 - i) FROM (SELECT generate_series(1, 1000000000) i) s"

    answer = await connection.select(query, 10_000)

    assert len(answer.rows) == 300
    assert answer.size > MOST_BYTES
    await is_unharmed(connection)


async def test_portions_have_no_more_time_together(connection: Connection) -> None:
    """Each is in time, for 100 rows take 0.2 s, but a hundred of them would not be."""
    started = time.monotonic()
    error = await refusal(connection, "SELECT pg_sleep(0.002) FROM generate_series(1, 100000)", 10_000)

    assert (error.reason, str(error)) == ("timeout", "all rows together took longer than statement_timeout")
    assert time.monotonic() - started < 5


async def test_a_slow_query_is_ended_by_the_server(connection: Connection) -> None:
    error = await refusal(connection, "SELECT pg_sleep(60)")

    assert (error.reason, str(error)) == ("timeout", "canceling statement due to statement timeout")


async def test_a_lock_is_not_waited_for(connection: Connection, database: Database) -> None:
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementRefusedError, match="lock timeout") as caught:
            await connection.select("SELECT a FROM t", LIMIT)

    assert caught.value.reason == "locked"
    await is_unharmed(connection)


async def test_a_missing_privilege_has_its_reason(connection: Connection) -> None:
    with pytest.raises(StatementRefusedError, match="permission denied") as caught:
        await connection.select("SELECT * FROM secret", LIMIT)

    assert caught.value.reason == "denied"


async def test_an_error_names_its_line(connection: Connection) -> None:
    error = await refusal(connection, "SELECT\n  1,\n  nothing\nFROM t")

    assert (error.reason, str(error)) == ("failed", 'column "nothing" does not exist (line 3 of the query)')
    error = await refusal(connection, "SELECT nothing FROM t\n")
    assert str(error) == 'column "nothing" does not exist'


async def test_an_error_while_rows_are_read(connection: Connection) -> None:
    error = await refusal(connection, "SELECT\n1 / (3 - a) FROM t")

    assert (error.reason, str(error)) == ("failed", "division by zero")


async def test_no_setting_outlives_a_query(connection: Connection) -> None:
    """A transaction pooler would hand it on to other clients."""
    await connection.select("SELECT set_config('search_path', 'evil', false)", LIMIT)
    await connection.select("SELECT set_config('statement_timeout', '1h', false)", LIMIT)

    cursor = connection._link.cursor()
    await cursor.execute(
        "SELECT current_setting('search_path'), current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'),"
        " (SELECT count(*) FROM pg_prepared_statements),"
        " (SELECT count(*) FROM pg_cursors WHERE name = 'plimsoll')"
    )
    assert await cursor.fetchall() == [('"$user", public', "0", "0", 0, 0)]


@pytest.mark.parametrize("query", ["SELECT pg_advisory_lock(1)", "SELECT pg_advisory_lock(1), 1 / 0"])
async def test_no_advisory_lock_outlives_a_query(
    connection: Connection, database: Database, query: str
) -> None:
    """A rollback does not end those of a session."""
    with contextlib.suppress(StatementRefusedError):
        await connection.select(query, LIMIT)

    with database.connect() as session:
        locked = session.execute("SELECT pg_try_advisory_lock(1), pg_advisory_unlock(1)").fetchone()
    assert locked == (True, True)


async def test_the_search_path_is_the_role_s_own(own_database: Database) -> None:
    with own_database.connect() as session:
        session.execute("CREATE SCHEMA app")
        session.execute("CREATE TABLE app.only_there AS SELECT 7 AS a")
        session.execute("GRANT USAGE ON SCHEMA app TO plimsoll; GRANT SELECT ON app.only_there TO plimsoll")
        session.execute(f"ALTER ROLE plimsoll IN DATABASE {own_database.name} SET search_path = app")
    server = PostgresServer(ServerSettings.model_validate({"name": "main", "dsn": own_database.dsn()}))

    async with server.connect() as own:
        assert (await own.select("SELECT a FROM only_there", LIMIT)).rows == (("7",),)
        assert own.datname == own_database.name
