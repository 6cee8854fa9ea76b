"""What is asked of Prometheus and Alertmanager, and what is made of odd answers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from plimsoll.alerts.peer import PeerError
from plimsoll.alerts.rollout.running import Alertmanager, Limits, Prometheus, Running, config_hash
from plimsoll.alerts.rollout.wanted import ALERTMANAGER, Wanted, route_tree
from reloading import answering, rendered

RULES = "/api/v1/rules"
AT_ONCE = Limits(reload=0.2, answer=0.2)
FILES = rendered("ours")
WANTED = Wanted.of(FILES)


def loaded(*folders: str, **versions: str) -> str:
    """Give Prometheus' answer when it has read our set in these folders."""
    groups = [
        {
            "name": group,
            "file": f"{folder}{name}",
            "rules": rules(name, versions.get("version", WANTED.version)),
        }
        for folder in folders
        for name, names in WANTED.groups.items()
        for group in sorted(names)
    ]
    return json.dumps({"status": "success", "data": {"groups": groups}})


def rules(file: str, version: str) -> list[dict[str, Any]]:
    alert = {"name": "Ours", "type": "alerting"}
    info = {"name": "plimsoll:rules_info", "type": "recording", "labels": {"version": version}}
    return [alert, info] if file == "alerts.yml" else [{"name": "ours:one:sum", "type": "recording"}]


async def asked(
    kind: type[Running],
    pages: Mapping[str, str | tuple[int, str]],
    *,
    reload: bool = False,
    limits: Limits = AT_ONCE,
) -> str:
    """Give what a program is found to differ in, or the error, without its address."""
    async with answering(pages) as url, aiohttp.ClientSession() as session:
        peer = kind(session, url, limits)
        try:
            return await (peer.reload() if reload else peer.difference(WANTED)) or ""
        except PeerError as error:
            who, _, what = str(error).partition(": ")
    assert who == url
    return what


@pytest.mark.parametrize("folder", ["/etc/prometheus/plimsoll/rules/", "/x/", "rules/", ""])
async def test_the_folder_may_be_anywhere(folder: str) -> None:
    assert await asked(Prometheus, {RULES: loaded(folder)}) == ""


@pytest.mark.parametrize("second", [WANTED.version, "other-123"])
async def test_two_sets(second: str) -> None:
    groups = [
        *json.loads(loaded("/b/", version=second))["data"]["groups"],
        *json.loads(loaded("/c/"))["data"]["groups"],
    ]
    found = await asked(Prometheus, {RULES: json.dumps({"data": {"groups": groups}})})
    assert re.match(
        r"runs a second set of rules beside \w/alerts.yml: take \w/alerts.yml out of its rule", found
    )


async def test_another_version() -> None:
    found = await asked(Prometheus, {RULES: loaded("/a/", version="other-123")})
    assert found.startswith(f"runs the rules other-123 of a/alerts.yml, and not {WANTED.version}: does its ")


async def test_groups_of_another_folder_do_not_count() -> None:
    groups = json.loads(loaded("/a/"))["data"]["groups"]
    for group in groups:
        group["file"] = group["file"].replace("/a/rec", "/b/rec")
    found = await asked(Prometheus, {RULES: json.dumps({"data": {"groups": groups}})})
    assert found.startswith("lacks the groups ours_signals of recording.yml: ")


@pytest.mark.parametrize("text", ["<html>Log in</html>", "[]", "{}", '{"data": {"groups": [1]}}', "null"])
async def test_answers_of_somebody_else(text: str) -> None:
    path = f"{RULES}?exclude_alerts=true"
    expected = f"GET {path} was not answered as Prometheus would: {text}"
    assert await asked(Prometheus, {RULES: text}) == expected
    expected = f"GET /api/v2/status was not answered as Alertmanager would: {text}"
    assert await asked(Alertmanager, {"/metrics": "", "/api/v2/status": text}) == expected


@pytest.mark.parametrize(
    ("kind", "status", "text", "expected"),
    [
        (
            Prometheus,
            403,
            "Lifecycle API is not enabled.\n",
            "(it must be started with --web.enable-lifecycle)",
        ),
        (Prometheus, 405, "", "Method Not Allowed (it must be started with --web.enable-lifecycle)"),
        (Prometheus, 500, "failed to reload config: x", "failed to reload config: x (its log and"),
        (Prometheus, 503, "Service Unavailable", "503: Service Unavailable"),
        (Prometheus, 200, "x", ""),
        (Alertmanager, 500, "failed to reload config: x", "500: failed to reload config: x"),
        (Alertmanager, 403, "Forbidden", "403: Forbidden"),
        (Alertmanager, 401, "Unauthorized", "(basic_auth, beside its URL, names the user and the"),
        (Alertmanager, 404, "404 page not found", "its pages have a prefix (--web.route-prefix), its URL"),
        (Alertmanager, 301, "https://elsewhere/-/reload", "301: https://elsewhere/-/reload"),
        (Alertmanager, 500, "what is \udcff no UTF-8", "500: what is \ufffd no UTF-8"),
        (Alertmanager, 500, "x" * 9999, "500: " + "x" * 500),
    ],
)
async def test_a_refused_reload(kind: type[Running], status: int, text: str, expected: str) -> None:
    found = await asked(kind, {"/-/reload": (status, text)}, reload=True)
    assert expected in found
    assert len(found) < 700
    assert found.startswith("POST /-/reload was answered with ") or status == 200


async def test_silence() -> None:
    limits = Limits(reload=0.1, answer=0.2)
    assert await asked(Prometheus, {}, reload=True, limits=limits) == "POST /-/reload: no answer within 0.1 s"
    assert await asked(Alertmanager, {}, limits=limits) == "GET /metrics: no answer within 0.2 s"


async def test_credentials_and_prefix() -> None:
    requests: list[web.BaseRequest] = []
    async with answering({"/under/-/reload": ""}, requests) as url, aiohttp.ClientSession() as session:
        peer = Prometheus(session, url.replace("//", "//us%40er:p%3Aä@") + "/under/")
        await peer.reload()
        assert peer.url == f"{url}/under"
    kind, _, encoded = requests[0].headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(encoded).decode()) == ("Basic", "us@er:p:ä")
    assert requests[0].method == "POST"


async def test_errors_do_not_show_passwords() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PeerError) as caught:
            await Prometheus(session, "http://user:hunter2@127.0.0.1:1", AT_ONCE).reload()
    assert str(caught.value).startswith(
        "http://127.0.0.1:1: POST /-/reload: Cannot connect to host 127.0.0.1:1"
    )
    assert "hunter2" not in str(caught.value)


async def test_what_is_loaded_a_little_later_is_waited_for() -> None:
    pages: dict[str, str | tuple[int, str]] = {RULES: loaded("/a/", version="former")}
    requests: list[web.BaseRequest] = []
    async with answering(pages, requests) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PeerError, match=r"^http://\S+: runs the rules former of a/alerts\.yml"):
            await Prometheus(session, url, AT_ONCE).see(WANTED)
        assert len(requests) > 1
        pages[RULES] = loaded("/a/")
        await Prometheus(session, url, AT_ONCE).see(WANTED)


@pytest.mark.parametrize("labels", ["", '{cluster="a"}'])
async def test_the_hash_decides(labels: str) -> None:
    ours = f"# x\nalertmanager_config_hash{labels} {config_hash(FILES[ALERTMANAGER]):.14e}\n"
    assert await asked(Alertmanager, {"/metrics": ours}) == ""
    found = await asked(Alertmanager, {"/metrics": f"alertmanager_config_hash{labels} 1.2e+14\n"})
    assert found.startswith("runs another configuration: is its --config.file alertmanager/alertmanager.yml")


def test_what_a_route_tree_tells_apart() -> None:
    text = FILES[ALERTMANAGER]
    assert route_tree(text) == route_tree(
        "# more\n" + text.replace("matchers", "continue: false\n    matchers")
    )
    for other in (
        text.replace("receiver: default", "receiver: ours"),
        text + "- name: third\n",
        text.replace("matchers", "continue: true\n    matchers"),
        text + "inhibit_rules: [{equal: [a]}]\n",
        "route: {receiver: ours}\nreceivers: [{name: ours}, {name: default}]\n",
    ):
        assert route_tree(other) != route_tree(text)


@pytest.mark.parametrize("text", ["", "[", "a: b", "route: x\nreceivers: []", "- a"])
def test_no_configuration(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{ALERTMANAGER}: "):
        route_tree(text)


@pytest.mark.parametrize("text", ["{", "a", "groups: [{name: a, rules: [{alert: B}]}]"])
def test_no_set(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(rules/alerts\.yml: |a set has .* one version)"):
        Wanted.of({**FILES, "rules/alerts.yml": text})
