"""I/O, and nothing else: what the collectors read from."""


class SourceError(Exception):
    """A source could not be read. The message is for an operator and holds no secret.

    Two errors with the same gist are the same trouble, even where the message tells it differently.
    """

    @property
    def gist(self) -> object:
        """What the trouble is."""
        return str(self)
