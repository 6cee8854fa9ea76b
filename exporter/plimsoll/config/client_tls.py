"""What a client needs to trust a server, and to show who it is itself."""

from __future__ import annotations

import ssl
from pathlib import Path

from plimsoll.config.section import PlacedError


def client_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Read the files, as they are now.

    Args:
        ca_file: the authorities that are trusted; None: those of the system.
        cert_file: the client's own certificate, or None.
        key_file: its key, without a passphrase, or None where there is no certificate.

    Raises:
        ValueError: one of them cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise PlacedError("holds no certificates as PEM", "ca_file") from None
    if cert_file and key_file:
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
        except OSError:
            raise ValueError("cert_file and key_file are no pair of certificate and key as PEM") from None
    return context


def _no_passphrase() -> str:
    """Refuse, where OpenSSL would ask whoever sits at the terminal."""
    raise PlacedError("is encrypted; a key without a passphrase is needed", "key_file")
