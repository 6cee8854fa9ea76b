"""What every test may ask for."""

pytest_plugins = ["fix_engines", "fix_postgres", "fix_proxy"]
