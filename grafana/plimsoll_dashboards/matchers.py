"""Matchers that PromQL makes of labels: text in a label of its own, which a link can hang on."""

from __future__ import annotations

_BREAK = r"\x1f"
"""Stands in no name."""


def extended(
    alerts: str, label: str, name: str, text: str, *, so_far: str = "(.*)", own: str = "(.*)"
) -> str:
    """Write a label of alerts anew, of what it has so far ($1) and of another label ($2).

    Args:
        alerts: PromQL.
        label: what is written.
        name: the other label.
        text: what is written into it.
        so_far: what it must have so far; else it stays as it is.
        own: what the other label must have.
    """
    joined = f"label_join({alerts},\n'step', '{_BREAK}', '{label}', '{name}')"
    return f"label_replace({joined}, '{label}', '{text}', 'step', '(?s){so_far}{_BREAK}{own}')"
