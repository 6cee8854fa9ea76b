"""`--web.config.file` on real sockets: TLS, client certificates and passwords, good and bad."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs
from structlog.typing import EventDict

from fix_web import HOST, Protected, get, serial_of, trusting

AUTHORITY = trustme.CA()
OTHER_AUTHORITY = trustme.CA()
VERIFIED = "RequireAndVerifyClientCert"
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
OTHER_ISSUER = "unable to get local issuer certificate"
REFUSED = "web configuration refused, the former one stays in force"
"""What is logged."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does, no library complains: a flood of bad handshakes fills no log."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def server(tmp_path: Path) -> Protected:
    server = Protected(tmp_path)
    server.certify(AUTHORITY)
    return server


def expired(authority: trustme.CA, name: str = HOST) -> trustme.LeafCert:
    return authority.issue_cert(name, not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=90))


async def hangs_up(url: str, client: ssl.SSLContext, reason: str) -> None:
    """Check that the client finds a reason to ask nothing."""
    with pytest.raises(aiohttp.ClientSSLError, match=f"(?i){reason}"):
        await get(url, client)


async def refused(url: str, client: ssl.SSLContext, reason: str) -> None:
    """Check that the server gives no answer, and why: it is told where debugging is logged."""
    with capture_logs() as entries, pytest.raises(aiohttp.ClientError):
        await get(url, client)
    assert {entry["reason"] for entry in entries} == {reason}


# --- the server's certificate ------------------------------------------------------------------------------


async def test_a_client_that_trusts_the_authority_gets_an_answer(server: Protected) -> None:
    async with server.listening() as url:
        assert url.startswith(f"https://{HOST}:")
        assert await get(url, trusting(AUTHORITY)) == (200, "Hello")


async def test_a_client_of_another_authority_hangs_up(server: Protected) -> None:
    async with server.listening() as url:
        await hangs_up(url, trusting(OTHER_AUTHORITY), "unable to get local issuer|self.signed")
        assert await get(url, trusting(AUTHORITY)) == (200, "Hello")


async def test_a_certificate_for_another_name_is_refused(server: Protected) -> None:
    server.certify(AUTHORITY, AUTHORITY.issue_cert("exporter.example.com"))
    async with server.listening() as url:
        await hangs_up(url, trusting(AUTHORITY), "ip address mismatch")


async def test_an_expired_certificate_is_refused(server: Protected) -> None:
    server.certify(AUTHORITY, expired(AUTHORITY))
    async with server.listening() as url:
        await hangs_up(url, trusting(AUTHORITY), "certificate has expired")


async def test_a_replaced_certificate_is_served_to_new_connections(
    server: Protected, logged: list[EventDict]
) -> None:
    async with server.listening() as url:
        former = await serial_of(url, AUTHORITY)
        server.certify(AUTHORITY)

        assert await serial_of(url, AUTHORITY) != former
        assert [entry["event"] for entry in logged] == ["web configuration loaded"]


async def test_a_certificate_without_its_key_leaves_the_former_in_force(
    server: Protected, logged: list[EventDict]
) -> None:
    new = AUTHORITY.issue_cert(HOST)
    async with server.listening() as url:
        former = await serial_of(url, AUTHORITY)
        server.write("server.pem", new.cert_chain_pems[0].bytes()[:200])
        assert await serial_of(url, AUTHORITY) == former
        server.write("server.pem", new.cert_chain_pems[0].bytes())
        assert [await serial_of(url, AUTHORITY) for _ in range(3)] == [former] * 3
        server.write("server.key", new.private_key_pem.bytes())
        assert await serial_of(url, AUTHORITY) != former

    assert [entry["event"] for entry in logged] == [REFUSED, REFUSED, "web configuration loaded"]
    assert ["no pair" in entry.get("problems", "") for entry in logged] == [True, True, False]


async def test_a_certificate_that_comes_after_its_name_is_found(
    server: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a volume brings one file sooner than another: nothing that was looked at has changed."""
    monkeypatch.setattr("plimsoll.web.following._RETRY", 0.0)
    async with server.listening() as url:
        former = await serial_of(url, AUTHORITY)
        server.configure(cert_file="new.pem", key_file="new.key")
        assert await serial_of(url, AUTHORITY) == former
        server.certify(AUTHORITY, name="new")
        assert await serial_of(url, AUTHORITY) != former


# --- protocols ---------------------------------------------------------------------------------------------


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Give a client that speaks one version only, however weak."""
    context = trusting(AUTHORITY)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("least", "spoken"),
    [
        ("TLS12", ssl.TLSVersion.TLSv1),
        ("TLS12", ssl.TLSVersion.TLSv1_1),
        ("TLS13", ssl.TLSVersion.TLSv1_2),
    ],
)
async def test_a_weak_protocol_is_refused(server: Protected, least: str, spoken: ssl.TLSVersion) -> None:
    server.configure(min_version=least)
    async with server.listening() as url:
        await refused(url, speaking(spoken), "UNSUPPORTED_PROTOCOL")
        assert await get(url, trusting(AUTHORITY)) == (200, "Hello")


async def test_the_least_version_is_spoken(server: Protected) -> None:
    async with server.listening() as url:
        assert await get(url, speaking(ssl.TLSVersion.TLSv1_2)) == (200, "Hello")


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\xff\xff", b"\0" * 99]
)
async def test_what_is_no_tls_is_hung_up_on(server: Protected, sent: bytes) -> None:
    async with server.listening() as url:
        reader, writer = await asyncio.open_connection(HOST, int(url.rpartition(":")[2]))
        writer.write(sent)
        writer.write_eof()
        assert b"Hello" not in await reader.read()
        writer.close()
        assert await get(url, trusting(AUTHORITY)) == (200, "Hello")


# --- client certificates -----------------------------------------------------------------------------------


@pytest.fixture
def verifying(server: Protected) -> Protected:
    server.write("clients.pem", AUTHORITY.cert_pem.bytes())
    server.configure(client_auth_type=VERIFIED, client_ca_file="clients.pem")
    return server


async def test_a_client_with_a_certificate_gets_an_answer(verifying: Protected) -> None:
    async with verifying.listening() as url:
        assert await get(url, trusting(AUTHORITY, AUTHORITY.issue_cert("prometheus"))) == (200, "Hello")


async def test_a_client_without_a_certificate_is_refused(verifying: Protected) -> None:
    async with verifying.listening() as url:
        await refused(url, trusting(AUTHORITY), NO_CERTIFICATE)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (OTHER_AUTHORITY.issue_cert("prometheus"), OTHER_ISSUER),
        (expired(AUTHORITY, "prometheus"), "certificate has expired"),
    ],
    ids=["another authority", "expired"],
)
async def test_a_client_with_a_bad_certificate_is_refused(
    verifying: Protected, certificate: trustme.LeafCert, reason: str
) -> None:
    async with verifying.listening() as url:
        await refused(url, trusting(AUTHORITY, certificate), reason)


async def test_a_certificate_may_be_left_to_the_client(verifying: Protected) -> None:
    verifying.configure(client_auth_type="VerifyClientCertIfGiven", client_ca_file="clients.pem")
    bad = trusting(AUTHORITY, OTHER_AUTHORITY.issue_cert("prometheus"))
    async with verifying.listening() as url:
        assert await get(url, trusting(AUTHORITY)) == (200, "Hello")
        assert await get(url, trusting(AUTHORITY, AUTHORITY.issue_cert("prometheus"))) == (200, "Hello")
        await refused(url, bad, OTHER_ISSUER)


async def test_a_replaced_authority_is_asked_about_new_connections(verifying: Protected) -> None:
    ours, theirs = (ca.issue_cert("prometheus") for ca in (AUTHORITY, OTHER_AUTHORITY))
    async with verifying.listening() as url:
        assert await get(url, trusting(AUTHORITY, ours)) == (200, "Hello")
        verifying.write("clients.pem", OTHER_AUTHORITY.cert_pem.bytes())
        assert await get(url, trusting(AUTHORITY, theirs)) == (200, "Hello")
        await refused(url, trusting(AUTHORITY, ours), "self-signed certificate in certificate chain")


async def test_a_session_does_not_outlive_its_authority(verifying: Protected) -> None:
    client = trusting(AUTHORITY, AUTHORITY.issue_cert("prometheus"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # whose session is there as soon as it is connected
    async with verifying.listening() as url:
        port = int(url.rpartition(":")[2])
        first, _ = await asyncio.to_thread(handshake, client, port, None)
        _, reused = await asyncio.to_thread(handshake, client, port, first)
        assert reused
        verifying.write("clients.pem", OTHER_AUTHORITY.cert_pem.bytes())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(handshake, client, port, first)


def handshake(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool | None]:
    """Connect, and give the session and whether it is the former one."""
    with (
        socket.create_connection((HOST, port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as secured,
    ):
        return secured.session, secured.session_reused


# --- what stays in force -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "basic_auth_users:\n", "tls_server_config: {cert_fi", "\0"])
async def test_half_a_file_takes_no_protection_away(
    verifying: Protected, text: str, logged: list[EventDict]
) -> None:
    async with verifying.listening() as url:
        verifying.write("web.yml", text.encode())
        assert await get(url, trusting(AUTHORITY, AUTHORITY.issue_cert("prometheus"))) == (200, "Hello")
        await refused(url, trusting(AUTHORITY), NO_CERTIFICATE)
    assert [entry["event"] for entry in logged] == [REFUSED]


async def test_a_route_that_demands_something_else_is_asked_for_no_password(tmp_path: Path) -> None:
    server = Protected(tmp_path, users={"ada": "lovelace"})
    async with server.listening() as url:
        assert await get(url) == (401, "Unauthorized\n")
        assert await get(f"{url}/hook/ops") == (200, "Hook")
        assert (await get(f"{url}/hook/ops/more"))[0] == 401
        assert (await get(f"{url}/hook/../"))[0] == 401


async def test_every_page_is_protected(tmp_path: Path) -> None:
    server = Protected(tmp_path, users={"ada": "lovelace"})
    async with server.listening() as url:
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/nowhere"):
            assert (await get(url + path))[0] == 401
