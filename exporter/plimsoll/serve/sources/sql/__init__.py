"""The statements that are sent to PostgreSQL, one file each."""

from importlib.resources import files


def statement(name: str) -> str:
    """Give the text of `name`.sql."""
    return files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
