"""What collectors make of the rows that they read."""

from __future__ import annotations

from collections import Counter

from plimsoll.serve.collectors.server import sort_out
from plimsoll.serve.settings.postgres import DatabaseSettings
from plimsoll.serve.state.postgres import Database

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
