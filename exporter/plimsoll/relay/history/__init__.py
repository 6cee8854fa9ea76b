"""The lasting history of alerts and deliveries, in PostgreSQL."""


class HistoryError(Exception):
    """The history could not be read or written. The message is for an operator and holds no secret."""
