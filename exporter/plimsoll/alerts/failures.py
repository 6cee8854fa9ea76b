"""Why a program could not be asked, in words that lead to the key of `tls_config` that mends it."""

from __future__ import annotations

import ssl

import aiohttp

_OUR_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA")
"""What stands in the alerts of a server that finds fault with a client's certificate, or misses it."""
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_AUTHORITIES = frozenset({18, 19, 20, 21})
"""X509_V_ERR_… of OpenSSL: self-signed, and without a known issuer."""
_NAMES = frozenset({62, 64})
"""Of those, for a host name and an IP address that are not the certificate's."""


def reason(error: Exception) -> str:
    """Say what went wrong on the way to an answer."""
    match error.__cause__ if isinstance(error, aiohttp.ClientError) else error:
        case ssl.SSLCertVerificationError() as refused:
            why = refused.verify_message.rstrip(".")
            return f"its certificate is refused: {why}{_hint(refused.verify_code)}"
        case ssl.SSLError(reason=str(name)) if name in _NO_TLS:
            return f"it speaks no TLS ({name}), so its URL begins with http://"
        case ssl.SSLError(reason=str(name)) if any(part in name for part in _OUR_CERTIFICATE):
            advice = _beside("cert_file and key_file name ours")
            return f"it refuses our certificate, or misses one: {name}{advice}"
    if isinstance(error, aiohttp.ClientConnectorError):  # whose own text shows the context as an object
        why = error.os_error.strerror or str(error.os_error)
        return f"Cannot connect to host {error.host}:{error.port} [{why}]"
    return str(error)


def _hint(code: int) -> str:
    if code in _AUTHORITIES:
        return _beside("ca_file names the authority that is trusted")
    if code in _NAMES:
        return _beside("server_name names another that it must have")
    return ""


def _beside(advice: str) -> str:
    return f" ({advice} in tls_config, beside its URL)"
