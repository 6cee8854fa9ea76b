"""Makes thousands of tables, each with an index and TOAST, and changes a hundredth of them."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

from bench.database import BenchServer
from waiting import eventually

_AT_ONCE = 500
"""Tables per transaction: fewer commit more often, more make the session slow."""

# Sizes differ from table to table. The long value is stored in TOAST as it is.
_CREATE = """\
DO $$ BEGIN FOR i IN {first}..{last} LOOP
  EXECUTE format('CREATE TABLE %I (id bigint PRIMARY KEY, payload text STORAGE EXTERNAL)', 't' || i);
  EXECUTE format('INSERT INTO %I SELECT n, repeat(''x'', CASE n WHEN 0 THEN 4000 ELSE 40 END)'
                 ' FROM generate_series(0, %s) n', 't' || i, i % 300);
END LOOP; END $$"""

# So many that heap, index and TOAST all get another page.
_CHANGE = """\
DO $$ DECLARE i integer; BEGIN FOREACH i IN ARRAY ARRAY{numbers} LOOP
  EXECUTE format('INSERT INTO %I SELECT {start} + n, repeat(''x'', CASE WHEN n < 3 THEN 4000 ELSE 40 END)'
                 ' FROM generate_series(1, 400) n', 't' || i);
END LOOP; END $$"""


class ManyTables:
    """The tables t1, t2 and so on."""

    def __init__(self, server: BenchServer) -> None:
        self._server = server
        self.number = 0
        self._turn = itertools.count(1)

    def grow_to(self, number: int) -> None:
        """Create more tables."""
        firsts = range(self.number + 1, number + 1, _AT_ONCE)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda first: self._create(first, min(first + _AT_ONCE - 1, number)), firsts))
        self.number = number
        with self._server.connect() as session:
            session.execute("VACUUM ANALYZE pg_class, pg_index, pg_namespace, pg_attribute")
            session.execute("CHECKPOINT")

    def change(self, share: float = 0.01) -> set[str]:
        """Let a share of the tables grow, others than last time, and say which; statistics know it then."""
        turn = next(self._turn)
        step = round(1 / share)
        numbers = range(1 + turn % step, self.number + 1, step)
        with self._server.connect() as session:
            session.execute(_CHANGE.format(numbers=list(numbers), start=turn * 1000))
            pid = session.info.backend_pid
        # A session reports what it did when it ends, at the latest.
        query = "SELECT FROM pg_stat_activity WHERE pid = %s"
        eventually(lambda: not self._server.session.execute(query, [pid]).fetchall())
        return {f"t{number}" for number in numbers}

    def _create(self, first: int, last: int) -> None:
        with self._server.connect() as session:
            session.execute(_CREATE.format(first=first, last=last))
