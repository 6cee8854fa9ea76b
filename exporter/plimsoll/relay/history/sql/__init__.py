"""The statements that are sent to the history's database, one file each."""

from importlib.resources import files


def query(name: str) -> str:
    """Give the text of `name`.sql."""
    return files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
