"""A proxy before a database, for faults on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fix_postgres import Database
from proxy import Proxy, proxy_to


@pytest.fixture
def proxy(limited: Database) -> Iterator[Proxy]:
    """Run a proxy before the server of `limited`, which is `database`; there is a table `t` to measure."""
    with limited.connect() as session:
        session.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) a")
    with proxy_to(limited.server.port) as running:
        yield running
