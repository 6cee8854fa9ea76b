"""The health check of the image: what it takes for well."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from fix_web import HOST, Protected
from plimsoll.demo.processes import free_port
from plimsoll.web import health

AUTHORITY = trustme.CA()


async def complaint_about(url: str, patience: float = 5) -> str:
    return await asyncio.to_thread(health.complaint_about, url, patience)


async def test_an_answer_is_well(tmp_path: Path) -> None:
    async with Protected(tmp_path).listening() as url:
        assert await complaint_about(url) == ""
        assert await complaint_about(f"{url}/hook/a") == ""


async def test_another_status_is_not(tmp_path: Path) -> None:
    async with Protected(tmp_path).listening() as url:
        assert await complaint_about(f"{url}/missing") == f"{url}/missing: status 404"


async def test_whoever_asks_for_a_password_is_well(tmp_path: Path) -> None:
    async with Protected(tmp_path, {"prometheus": "secret"}).listening() as url:
        assert await complaint_about(url) == ""


async def test_a_certificate_for_other_names_is_well(tmp_path: Path) -> None:
    server = Protected(tmp_path)
    server.certify(AUTHORITY, AUTHORITY.issue_cert("exporter.example.com"))
    async with server.listening() as url:
        assert await complaint_about(url) == ""


@pytest.mark.parametrize("oldest", ["TLS12", "TLS13"])
async def test_whoever_demands_a_certificate_of_us_is_well(tmp_path: Path, oldest: str) -> None:
    server = Protected(tmp_path)
    server.certify(AUTHORITY)
    AUTHORITY.cert_pem.write_to_path(tmp_path / "clients.pem")
    server.configure(
        client_auth_type="RequireAndVerifyClientCert", client_ca_file="clients.pem", min_version=oldest
    )
    async with server.listening() as url:
        assert await complaint_about(url) == ""


async def test_a_server_without_tls_shakes_no_hands(tmp_path: Path) -> None:
    async with Protected(tmp_path).listening() as url:
        secure = url.replace("http:", "https:")
        assert (await complaint_about(secure)).startswith(f"{secure}: ")


async def test_nobody_there_is_not_well() -> None:
    assert "refused" in await complaint_about(f"http://{HOST}:{free_port()}")


async def test_a_server_that_hangs_is_not_well() -> None:
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        assert await complaint_about(url, 0.2) == f"{url}: timed out"


@pytest.mark.parametrize("url", ["", "127.0.0.1:9745", "http://127.0.0.1:port"])
async def test_what_is_no_address_is_told(url: str) -> None:
    assert (await complaint_about(url)).startswith(f"{url}: ")


async def test_the_status_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Protected(tmp_path).listening() as url:
        monkeypatch.setenv(health.URL, url)
        assert await asyncio.to_thread(health.main) == 0
        assert capsys.readouterr().out == ""
        monkeypatch.setenv(health.URL, f"{url}/missing")
        assert await asyncio.to_thread(health.main) == 1
        assert capsys.readouterr().out == f"{url}/missing: status 404\n"


async def test_no_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{free_port()}")
    async with Protected(tmp_path).listening() as url:
        assert await complaint_about(url) == ""
