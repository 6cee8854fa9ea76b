"""Plimsoll measures PostgreSQL storage for Prometheus."""

from importlib.metadata import version

__version__ = version("plimsoll")
