"""One attempt to hand a notification to a receiver."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Delivery(NamedTuple):
    """Who was told of which alerts (`identities`), and how it went.

    `status` is that of the receiver's answer, or None where there was none; `seconds` is how long it took.
    """

    receiver: str
    webhook_id: str
    identities: tuple[str, ...]
    result: str
    status: int | None
    at: datetime
    seconds: float
