"""What comes of trying something."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one of the things that a configuration names."""

    subject: str
    good: bool
    message: str

    def __str__(self) -> str:
        return f"{'ok' if self.good else 'BAD':3} {self.subject}: {self.message}"
