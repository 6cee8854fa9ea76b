"""One attempt to hand a notification to a receiver."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Delivery(NamedTuple):
    """Who was told of which alerts (`identities`), and how it went.

    `http_status` is that of the receiver's answer, or None where there was none; `attempted_at` is when the
    attempt began, and `seconds` is how long it took.
    """

    receiver: str
    webhook_id: str
    identities: tuple[str, ...]
    result: str
    http_status: int | None
    attempted_at: datetime
    seconds: float
