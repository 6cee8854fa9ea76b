"""What every test may ask for."""

pytest_plugins = ["fix_postgres", "fix_proxy"]
