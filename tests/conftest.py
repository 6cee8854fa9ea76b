"""What every test may ask for."""

pytest_plugins = ["fix_engines", "fix_fake_engine", "fix_inventory", "fix_postgres", "fix_proxy"]
