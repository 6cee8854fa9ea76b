"""How Prometheus and Alertmanager are reached, and what is said where that fails before any answer."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import ValidationError

from plimsoll.alerts.access import OpenedAccess, OpenedTls
from plimsoll.alerts.peer import Peer, PeerError
from plimsoll.demo.processes import free_port
from reloading import answering

AUTHORITY = trustme.CA()
OWN = AUTHORITY.issue_cert("relay")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Give the files of a client: an authority, a certificate and its key."""
    contents = {
        "ca_file": AUTHORITY.cert_pem.bytes(),
        "cert_file": OWN.cert_chain_pems[0].bytes(),
        "key_file": OWN.private_key_pem.bytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def refusal(files: dict[str, str]) -> str:
    with pytest.raises(ValidationError) as refused:
        OpenedTls.model_validate(files)
    (error,) = refused.value.errors()
    return error["msg"].removeprefix("Value error, ")


def test_files_are_read(files: dict[str, str]) -> None:
    context = OpenedTls.model_validate(files).context
    assert len(context.get_ca_certs()) == 1
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_a_key_with_a_passphrase_is_refused(files: dict[str, str]) -> None:
    key = load_pem_private_key(Path(files["key_file"]).read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    Path(files["key_file"]).write_bytes(encrypted)
    assert refusal(files) == "is encrypted; a key without a passphrase is needed"


def test_the_key_of_another_certificate_is_refused(files: dict[str, str]) -> None:
    Path(files["key_file"]).write_bytes(AUTHORITY.issue_cert("relay").private_key_pem.bytes())
    assert refusal(files) == "cert_file and key_file are no pair of certificate and key as PEM"


async def test_a_user_is_named_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p:ä ⚓\n", "utf-8")
    user = {"username": "us@er", "password_file": str(tmp_path / "password")}
    access = OpenedAccess.model_validate({"basic_auth": user})
    requests: list[web.BaseRequest] = []
    async with answering({"/": "Hello"}, requests) as url, aiohttp.ClientSession() as session:
        assert await Peer(session, url, access=access).ask("GET", "/") == "Hello"
    scheme, _, encoded = requests[0].headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", "us@er:p:ä ⚓")
    assert "⚓" not in repr(access)


async def failure(url: str, files: dict[str, str]) -> str:
    access = OpenedAccess.model_validate({"tls_config": files})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PeerError) as failed:
            await Peer(session, url, access=access).ask("GET", "/")
    return str(failed.value)


async def test_whoever_speaks_no_tls(files: dict[str, str]) -> None:
    async with answering({"/": "Hello"}) as url:
        url = url.replace("http:", "https:")
        told = await failure(url, files)
    assert told.startswith(f"{url}: GET /: it speaks no TLS (")
    assert told.endswith("), so its URL begins with http://")


async def test_where_nobody_listens(files: dict[str, str]) -> None:
    """The client's own text shows the certificates as an object."""
    port = free_port()
    told = await failure(f"https://127.0.0.1:{port}", files)
    assert told == (
        f"https://127.0.0.1:{port}: GET /: Cannot connect to host 127.0.0.1:{port}"
        f" [Connect call failed ('127.0.0.1', {port})]"
    )
