"""What every test may ask for, and in which order they run."""

import pytest

pytest_plugins = [
    "fix_engines",
    "fix_fake_engine",
    "fix_inventory",
    "fix_postgres",
    "fix_proxy",
    "fix_outages",
    "fix_dashboards",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is long: begun last, it would let all other processes wait for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
