"""How a database is named: by a connection string, or by a file that holds one."""

from __future__ import annotations

from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr, ValidationInfo

from plimsoll.config.fields import SecretFile


def connection_string(dsn: SecretStr) -> SecretStr:
    """Accept a connection string.

    Raises:
        ValueError: it is none; it is not shown, for it may hold a password.
    """
    if not dsn.get_secret_value().strip():
        raise ValueError(
            "must not be empty; postgresql:// takes everything from the PG* environment variables"
        )
    try:
        conninfo_to_dict(dsn.get_secret_value())
    except (psycopg.Error, UnicodeError):  # the message may quote a part of the password
        raise ValueError(
            "is no connection string: postgresql://user@host:port/database or host=… user=… is allowed"
        ) from None
    return dsn


def _one_source(dsn_file: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Accept `dsn_file` where there is no `dsn`, and nothing where there is one.

    Raises:
        ValueError: both are there, or neither.
    """
    if "dsn" not in info.data:  # it is there, and bad
        return dsn_file
    if dsn_file is None and info.data["dsn"] is None:
        raise ValueError("is required where there is no dsn")
    if dsn_file is not None and info.data["dsn"] is not None:
        raise ValueError("must not stand beside dsn: only one of them can be right")
    return dsn_file


Dsn = Annotated[SecretStr, AfterValidator(connection_string)]
"""A connection string."""

DsnFile = Annotated[
    Annotated[SecretFile, AfterValidator(connection_string)] | None, AfterValidator(_one_source)
]
"""The file with one, for a section that has a field `dsn` before this one; its default is to be validated."""
