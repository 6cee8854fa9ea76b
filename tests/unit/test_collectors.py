"""What collectors make of the rows that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from plimsoll.serve.collectors.server import sort_out
from plimsoll.serve.collectors.tables import combine
from plimsoll.serve.settings.postgres import DatabaseSettings
from plimsoll.serve.sources.link import Row
from plimsoll.serve.sources.postgres import Reason
from plimsoll.serve.state.postgres import Database, Table, TablePass

SETTINGS = DatabaseSettings.model_validate({"include": ["app.*", "template1"], "exclude": ["app_old"]})


def test_databases_are_watched_or_counted() -> None:
    rows = [
        # oid, name, is_template, allows_connections, may_connect
        (1, "template0", True, False, True),
        (2, "template1", True, True, True),
        (3, "app", False, True, True),
        (4, "app_closed", False, False, True),
        (5, "app_old", False, True, True),
        (6, "my_app", False, True, True),
        (7, "app_denied", False, True, False),
    ]

    watched, left_out = sort_out(rows, SETTINGS)

    assert watched == (Database(3, "app", may_connect=True), Database(7, "app_denied", may_connect=False))
    assert left_out == {"template": 2, "no_connections": 1, "excluded": 2}


def test_a_database_without_a_known_privilege_is_not_connected_to() -> None:
    """has_database_privilege gives NULL for a database that was dropped meanwhile."""
    watched, _ = sort_out([(3, "app", False, True, None)], SETTINGS)

    assert watched == (Database(3, "app", may_connect=False),)


def test_without_rows_there_is_nothing() -> None:
    assert sort_out([], SETTINGS) == ((), Counter())


BEFORE, NOW = 1000.0, 2000.0


def listed(oid: int, name: str | None = None, live: int = 10, dead: int = 1) -> Row:
    return (oid, "public", name or f"t{oid}", live, dead)


def measured(oid: int, heap: int = 100, toast: int = 20, indexes: int = 3) -> Row:
    return (oid, False, heap, toast, indexes)


def table(oid: int, measured_at: float = BEFORE) -> Table:
    return Table("public", f"t{oid}", 10, 1, heap=7, toast=5, indexes=3, measured_at=measured_at)


def passed(
    former: Mapping[int, Table], rows: list[Row], sizes: list[Row], refused: Mapping[int, Reason]
) -> TablePass:
    return combine(former, rows, sizes, refused, NOW)


def test_a_measured_table_has_what_was_measured() -> None:
    result = passed({1: table(1)}, [listed(1)], [measured(1)], {})

    assert result.tables == {1: Table("public", "t1", 10, 1, 100, 20, 3, NOW)}
    assert (result.tables[1].table_size, result.tables[1].size) == (120, 123)
    assert (result.unmeasured, result.listed, result.began_at) == (Counter(), 1, NOW)


def test_an_empty_table_is_measured() -> None:
    result = passed({1: table(1)}, [listed(1, live=0, dead=0)], [measured(1, 0, 0, 0)], {})

    assert (result.tables[1].size, result.tables[1].measured_at) == (0, NOW)


def test_a_refused_table_repeats_its_sizes_under_its_new_name() -> None:
    result = passed({1: table(1)}, [listed(1, "renamed", live=500, dead=50)], [], {1: "locked"})

    assert result.tables == {1: Table("public", "renamed", 500, 50, 7, 5, 3, BEFORE)}
    assert result.unmeasured == {"locked": 1}
    assert result.listed == len(result.tables)


def test_a_table_that_stays_refused_grows_no_younger() -> None:
    result = passed({1: table(1)}, [listed(1)], [], {1: "timeout"})
    result = passed(result.tables, [listed(1)], [], {1: "timeout"})

    assert result.tables[1].measured_at == BEFORE


def test_a_dropped_table_disappears() -> None:
    former = {1: table(1), 2: table(2), 3: table(3)}

    # 2 was dropped before the list was read; 3 after it, so its sizes were NULL.
    result = passed(former, [listed(1), listed(3)], [measured(1)], {})

    assert result.tables.keys() == {1}
    assert result.unmeasured == {}
    assert result.listed == len(result.tables)


def test_a_table_that_was_never_measured_is_absent_and_counted() -> None:
    result = passed({}, [listed(1), listed(2)], [measured(1)], {2: "denied"})

    assert result.tables.keys() == {1}
    assert result.unmeasured == {"denied": 1}
    assert result.listed == len(result.tables) + 1


def test_a_new_table_under_an_old_name_inherits_nothing() -> None:
    result = passed({1: table(1)}, [listed(2, "t1")], [], {2: "locked"})

    assert result.tables == {}
    assert result.listed == len(result.tables) + 1


def test_reasons_are_counted_apart() -> None:
    refused: dict[int, Reason] = {1: "locked", 2: "locked", 3: "denied", 4: "timeout"}

    result = passed({}, [listed(oid) for oid in range(1, 6)], [measured(5)], refused)

    assert result.unmeasured == {"locked": 2, "denied": 1, "timeout": 1}
    assert result.listed == len(result.tables) + 4
