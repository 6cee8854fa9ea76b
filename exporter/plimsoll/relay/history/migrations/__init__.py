"""The versions of the schema: NNNN_name.up.sql makes the next one of the one before, .down.sql goes back."""

from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """The way to a version of the schema and back, as SQL."""

    version: int
    name: str
    up: str
    down: str


def migrations() -> tuple[Migration, ...]:
    """Give all of them, the first first; the versions count from 1."""
    return tuple(_read())


def _read() -> Iterator[Migration]:
    texts = {each.name: each for each in files(__name__).iterdir() if each.name.endswith(".sql")}
    for file in sorted(name for name in texts if name.endswith(".up.sql")):
        stem = file.removesuffix(".up.sql")
        number, _, name = stem.partition("_")
        down = texts[f"{stem}.down.sql"]
        yield Migration(int(number), name, texts[file].read_text("utf-8"), down.read_text("utf-8"))
