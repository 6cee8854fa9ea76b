"""Content negotiation, as far as /metrics needs it (RFC 9110, section 12.5)."""

from __future__ import annotations

_OPENMETRICS = "application/openmetrics-text"
_TEXT = "text/plain"
_WRITTEN = {_OPENMETRICS: "1.0.0", _TEXT: "0.0.4"}
"""The formats that we write, with their versions."""


def prefers_openmetrics(accept: str) -> bool:
    """Say whether OpenMetrics 1.0 is wanted more than the text format, which is the default.

    Wildcards speak for the default.
    """
    wanted = dict.fromkeys(_WRITTEN, 0.0)
    for entry, parameters, quality in _entries(accept):
        form = _TEXT if entry in ("*/*", "text/*") else entry
        if form in wanted and parameters.get("version", _WRITTEN[form]) == _WRITTEN[form]:
            wanted[form] = max(wanted[form], quality)
    return wanted[_OPENMETRICS] > wanted[_TEXT]


def accepts_gzip(accept_encoding: str) -> bool:
    """Say whether a compressed answer is welcome."""
    return any(entry == "gzip" and quality > 0 for entry, _, quality in _entries(accept_encoding))


def _entries(header: str) -> list[tuple[str, dict[str, str], float]]:
    entries = []
    for item in header.split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        pairs = (part.lower().partition("=") for part in rest)
        parameters = {key.strip(): value.strip(' "') for key, _, value in pairs}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        entries.append((name.lower(), parameters, quality))
    return entries
