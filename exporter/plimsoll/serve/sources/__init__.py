"""I/O, and nothing else: what the collectors read from."""


class SourceError(Exception):
    """A source could not be read. The message is for an operator and holds no secret."""
