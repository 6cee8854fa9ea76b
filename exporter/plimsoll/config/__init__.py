"""The configuration file: its shape, line marks, secrets and errors.

What stands in a section is the business of the part that reads it; this package knows only
how a section is written.
"""

from plimsoll.config.document import Document
from plimsoll.config.problem import ConfigError, Problem
from plimsoll.config.section import PlacedError, Section

__all__ = ["ConfigError", "Document", "PlacedError", "Problem", "Section"]
