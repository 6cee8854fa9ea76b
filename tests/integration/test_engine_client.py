"""How an engine is asked, and what can go wrong with that; real ones have tests of their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from docker_proxy import Fault, Hang, cut, drop, refusal, saying
from fake_engine import FakeEngine
from fix_fake_engine import settings_for, until
from plimsoll.demo.processes import workspace
from plimsoll.serve.settings.containers import EngineSettings
from plimsoll.serve.sources.docker import Engine, EngineError, RefusedError

TLS = Path(__file__).parents[1] / "fixtures/engine/tls"

# --- which version of the API -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest", "oldest", "agreed"),
    [
        ("1.41", "1.12", "1.41"),  # Docker 20.10
        ("1.43", "1.12", "1.43"),
        ("1.44", "1.24", "1.44"),
        ("1.55", "1.44", "1.44"),  # newer than we know
        ("1.70", "1.60", "1.60"),  # it has forgotten what we know
        ("1.41", None, "1.41"),
        ("1.41", "", "1.41"),
        ("1.41.0", "1.24.0", "1.41"),
    ],
)
async def test_the_version_is_one_that_both_know(
    newest: str, oldest: str | None, agreed: str, fake: FakeEngine, client: Engine
) -> None:
    fake.version = {"ApiVersion": newest, **({"MinAPIVersion": oldest} if oldest is not None else {})}
    fake.fail(r"/containers/json", saying("[]"))

    assert await client.get("/containers/json") == []
    assert client.version == f"v{agreed}"
    assert [(asked.version, asked.path) for asked in fake.requests] == [
        ("", "/version"),
        (agreed, "/containers/json"),
    ]


async def test_an_engine_that_is_too_old(fake: FakeEngine, client: Engine) -> None:
    fake.version = {"ApiVersion": "1.40", "MinAPIVersion": "1.12"}
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert str(caught.value) == "the engine speaks version 1.40 of the API, 1.41 or later is needed"
    assert fake.asked() == ["/version"]


@pytest.mark.parametrize(
    "answer", ["", "[]", "null", "{}", '{"ApiVersion": 1.41}', '{"ApiVersion": "new"}', '{"ApiVersion": "1"}']
)
async def test_something_that_is_no_engine(answer: str, fake: FakeEngine, client: Engine) -> None:
    fake.fail("/version", saying(answer))
    with pytest.raises(EngineError, match=r"^GET /version was not answered as an engine would$"):
        await client.get("/info")


async def test_the_version_is_asked_once(fake: FakeEngine, client: Engine) -> None:
    await asyncio.gather(*(client.get("/info") for _ in range(20)))
    await client.get("/info")
    assert Counter(fake.asked()) == {"/version": 1, "/info": 21}


@pytest.mark.parametrize(
    ("components", "is_podman"),
    [(["Engine", "containerd", "runc"], False), (["Podman Engine", "Conmon"], True), ([], False)],
)
async def test_podman_is_told_from_docker(
    components: list[str], is_podman: bool, fake: FakeEngine, client: Engine
) -> None:
    fake.components = components
    await client.get("/info")
    assert client.is_podman is is_podman


async def test_whoever_comes_back_is_asked_for_its_version_again(fake: FakeEngine, client: Engine) -> None:
    await client.get("/info")
    await fake.stop()
    with pytest.raises(EngineError, match="no engine listens on unix://"):
        await client.get("/info")
    fake.version = {"ApiVersion": "1.55", "MinAPIVersion": "1.44"}
    fake.components = ["Podman Engine"]
    await fake.start()

    assert (await client.get("/info"))["NCPU"] == 4
    assert (client.version, client.is_podman) == ("v1.44", True)


# --- what goes wrong with a request -------------------------------------------------------------------------


async def test_a_refusal_is_told_in_the_engines_words(fake: FakeEngine, client: Engine) -> None:
    fake.fail("/info", refusal(500, "context canceled"))
    with pytest.raises(RefusedError) as caught:
        await client.get("/info")
    assert str(caught.value) == "GET /v1.41/info was answered with 500: context canceled"
    assert caught.value.status == 500


async def test_a_refusal_by_a_proxy(fake: FakeEngine, client: Engine) -> None:
    fake.lets_through = lambda request: not request.path.endswith("/info")
    with pytest.raises(RefusedError) as caught:
        await client.get("/info")
    assert str(caught.value) == "GET /v1.41/info was answered with 403: Forbidden"


@pytest.mark.parametrize("body", ["[]", '"no"', "{}", "null", "\xff"])
async def test_a_refusal_in_odd_words(body: str, fake: FakeEngine, client: Engine) -> None:
    async def refuse(request: Any, answer: Any) -> Any:
        response = await saying(body)(request, answer)
        response.set_status(502)
        return response

    fake.fail("/info", refuse)
    with pytest.raises(RefusedError, match=r"was answered with 502: Bad Gateway$"):
        await client.get("/info")


async def test_we_go_nowhere_else(fake: FakeEngine, client: Engine) -> None:
    async def redirect(request: Any, answer: Any) -> Any:
        response = await saying("")(request, answer)
        response.set_status(301)
        response.headers["Location"] = "http://127.0.0.1:1/elsewhere"
        return response

    fake.fail("/info", redirect)
    with pytest.raises(RefusedError, match="was answered with 301"):
        await client.get("/info")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (saying("<html>Welcome!</html>"), "GET /v1.41/info was not answered with JSON"),
        (cut, "broke off GET /v1.41/info: "),
        (drop, "broke off GET /v1.41/info: "),
    ],
    ids=["no JSON", "half", "dropped"],
)
async def test_an_answer_that_is_none(fault: Fault, message: str, fake: FakeEngine, client: Engine) -> None:
    fake.fail("/info", fault)
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert message in str(caught.value)
    assert not isinstance(caught.value, RefusedError)

    fake.heal()
    assert (await client.get("/info"))["NCPU"] == 4


@pytest.mark.parametrize("path", ["/version", "/info"])
async def test_an_engine_that_hangs(path: str, fake: FakeEngine, hasty: Engine) -> None:
    fake.fail(path, Hang())
    with pytest.raises(EngineError) as caught:
        await hasty.get("/info")
    prefix = "" if path == "/version" else "/v1.41"
    assert str(caught.value) == f"{fake.docker_host} did not answer GET {prefix}{path} within 0.3 s"

    fake.heal()
    assert (await hasty.get("/info"))["NCPU"] == 4


async def test_an_answer_without_a_body(fake: FakeEngine, client: Engine) -> None:
    """Podman answers so when it is asked for the stats of a container that has ended."""
    fake.fail("/info", saying(""))
    assert await client.get("/info") is None


async def test_at_most_16_requests_are_under_way(fake: FakeEngine, client: Engine) -> None:
    hang = Hang()
    fake.fail("/info", hang)
    asking = [asyncio.create_task(client.get("/info")) for _ in range(40)]
    await until(lambda: hang.held == 16)
    fake.heal()
    assert len(await asyncio.gather(*asking)) == 40
    assert hang.most == 16


async def test_nobody_is_there(tmp_path: Path) -> None:
    client = Engine(EngineSettings(name="local", docker_host=f"unix://{tmp_path}/no.sock"))
    with pytest.raises(EngineError, match=f"^no engine listens on unix://{tmp_path}/no.sock$"):
        await client.get("/info")
    await client.close()


async def test_a_socket_that_was_left_behind() -> None:
    with workspace() as folder, socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "s"))
        client = Engine(EngineSettings(name="local", docker_host=f"unix://{folder}/s"))
        with pytest.raises(EngineError, match=f"^no engine listens on unix://{folder}/s$"):
            await client.get("/info")
        await client.close()


async def test_a_closed_client_may_be_used_again(fake: FakeEngine, client: Engine) -> None:
    await client.get("/info")
    await client.close()
    await until(lambda: fake.connections == 0)
    assert (await client.get("/info"))["NCPU"] == 4
    assert Counter(fake.asked()) == {"/version": 2, "/info": 2}


async def test_a_broken_connection_costs_those_who_wait_nothing(fake: FakeEngine, client: Engine) -> None:
    """A handler that panics makes Docker's daemon hang up."""
    await client.get("/info")
    first, others = Hang(), Hang()
    fake.fail("/containers/first/json", first)
    fake.fail("/containers/json", others)
    fake.fail("/containers/broken/json", drop)
    held = [asyncio.create_task(client.get("/containers/first/json"))]
    held += [asyncio.create_task(client.get("/containers/json")) for _ in range(15)]
    await until(lambda: first.held + others.held == 16)
    broken = asyncio.create_task(client.get("/containers/broken/json"))
    waiting = [asyncio.create_task(client.get("/containers/json")) for _ in range(10)]
    first.release()
    await asyncio.wait({broken})
    later = asyncio.create_task(client.get("/info"))  # agrees on a version anew
    await until(lambda: others.held == 16)
    fake.heal()

    assert isinstance(broken.exception(), EngineError)
    assert await asyncio.gather(*held[1:], *waiting) == [[]] * 25
    assert (await later)["NCPU"] == 4
    await asyncio.wait(held)
    assert isinstance(held[0].exception(), RefusedError), "there is no such container"


# --- an engine on the network -------------------------------------------------------------------------------


async def test_an_engine_on_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of no concern
    async with FakeEngine() as fake:
        client = Engine(settings_for(fake))
        assert (await client.get("/info"))["NCPU"] == 4
        await client.close()


def tls_server(name: str = "server") -> ssl.SSLContext:
    """Make a server that believes whoever has a certificate of our authority's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(TLS / "ca.pem"))
    context.load_cert_chain(TLS / f"{name}.pem", TLS / f"{name}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


OURS = {"cert_file": str(TLS / "client.pem"), "key_file": str(TLS / "client.key")}


@pytest.fixture
async def secured() -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tls=tls_server()) as fake:
        yield fake


async def test_tls_with_a_certificate_of_our_own(secured: FakeEngine) -> None:
    client = Engine(settings_for(secured, tls={"ca_file": str(TLS / "ca.pem"), **OURS}))
    assert (await client.get("/info"))["NCPU"] == 4
    await client.close()


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca_file": str(TLS / "other.pem"), **OURS}, "certificate verify failed"),
        ({"ca_file": str(TLS / "ca.pem")}, "broke off GET /version"),
        ({}, "broke off GET /version"),
    ],
    ids=["another authority", "no certificate of ours", "no TLS"],
)
async def test_tls_that_does_not_come_about(tls: dict[str, str], message: str, secured: FakeEngine) -> None:
    client = Engine(settings_for(secured, **({"tls": tls} if tls else {})))
    with pytest.raises(EngineError) as caught:
        await client.get("/info")
    assert secured.docker_host in str(caught.value)
    assert message in str(caught.value)
    assert secured.requests == []
    await client.close()


async def test_tls_with_a_server_of_another_name() -> None:
    async with FakeEngine(tls=tls_server("stranger")) as fake:
        client = Engine(settings_for(fake, tls={"ca_file": str(TLS / "ca.pem"), **OURS}))
        with pytest.raises(EngineError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await client.get("/info")
        assert fake.requests == []
        await client.close()


async def test_the_files_are_read_anew(secured: FakeEngine, tmp_path: Path) -> None:
    ours = tmp_path / "ca.pem"
    ours.write_bytes((TLS / "ca.pem").read_bytes())
    client = Engine(settings_for(secured, tls={"ca_file": str(ours), **OURS}))
    ours.write_bytes((TLS / "other.pem").read_bytes())
    with pytest.raises(EngineError, match="certificate verify failed"):
        await client.get("/info")
    ours.unlink()
    with pytest.raises(EngineError, match=r"^tls: .*holds no certificates"):
        await client.get("/info")
    ours.write_bytes((TLS / "ca.pem").read_bytes())
    assert (await client.get("/info"))["NCPU"] == 4
    await client.close()


async def test_a_certificate_that_is_refused_costs_those_who_are_connected_nothing() -> None:
    served = tls_server()
    async with FakeEngine(tls=served) as fake:
        client = Engine(settings_for(fake, tls={"ca_file": str(TLS / "ca.pem"), **OURS}))
        async with aclosing(client.lines("/events", asyncio.Event(), 60)) as told:
            line = asyncio.ensure_future(anext(told))
            await until(lambda: fake.listeners == 1)
            served.load_cert_chain(TLS / "stranger.pem", TLS / "stranger.key")  # to those who connect anew
            with pytest.raises(EngineError, match="certificate is not valid"):
                await client.get("/info")
            fake.run("web")
            assert b'"create"' in await line
            served.load_cert_chain(TLS / "server.pem", TLS / "server.key")
            assert (await client.get("/info"))["NCPU"] == 4
        await client.close()
