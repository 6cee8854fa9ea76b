"""Notifications of a real Alertmanager, through a real relay, to receivers that fail."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from standardwebhooks import WebhookVerificationError

from plimsoll.demo.service import Service
from relaying import (
    SECRET,
    TOKEN,
    Answer,
    Post,
    Receiver,
    deliveries,
    follow,
    receiver,
    relaying,
)
from reloading import alertmanager, reload
from sending import QUIET, Inbox
from serving import Serving
from waiting import eventually
from ways import Way, flush, total, write_ways

NOBODY = "http://127.0.0.1:1"
"""Where no Prometheus answers: forwarding does not care."""

NEW_SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
TIMEOUT = 2.0
REMINDED = {"repeat_interval": "6s"}

RETRIED: dict[str, tuple[list[Answer], dict[str, float]]] = {
    "failing": ([500, 503, 500], {"failed": 3}),
    "closing": (["close"], {"unreachable": 1}),
    "hanging": (["hang"], {"timeout": 1}),
    "throttling": ([429], {"throttled": 1}),
    "redirecting": ([302, 307], {"redirected": 2}),
}
"""What receivers answer before they are well, and what the metrics say of that."""

UNREACHED = {"unknown": 404, "inactive": 410}
"""Receivers whom the relay does not tell, as it calls them, and what it answers."""

SHARED = ["ops", *RETRIED, "refusing", "reminded", "rotated", "guarded", "returning"]


@dataclass
class World:
    """An Alertmanager, two relays, and a receiver for each name."""

    alertmanager: Service
    tokens: Path
    """Where the token stands that Alertmanager shows."""
    relay: Serving
    mortal: Serving
    directory: Path
    """Where the relays' directories are."""
    receivers: dict[str, Receiver] = field(default_factory=dict)

    def send(self, way: str, *, resolved: bool = False, age: float = 5.0) -> None:
        """Let an alert fire, which is told at once if it began some time ago, or let it resolve."""
        left = 0.0 if resolved else 300.0
        Inbox(self.alertmanager.url).send({"alertname": "Trouble", "way": way}, age=age, left=left)

    def wait_for(self, way: str, status: str, times: int = 1) -> list[Post]:
        """Wait until a receiver has been told so often, and give the posts, all signed."""
        led = self.receivers[way]
        eventually(lambda: len(led.told("Trouble", status)) >= times, 60)
        posts = led.told("Trouble", status)
        assert len(posts) == times
        return posts

    def check_resolves(self, way: str, *, secret: str = SECRET) -> None:
        """Let the alert resolve, which is told once; nothing more has been."""
        before = len(self.receivers[way].posts)
        self.send(way, resolved=True)
        (post,) = self.wait_for(way, "resolved")
        post.verify(secret)
        assert len(self.receivers[way].posts) == before + 1

    def flushes_failed(self) -> float:
        """Give how often Alertmanager gave a notification up until its next flush."""
        return total(self.alertmanager.url, "alertmanager_notifications_failed_total", integration="webhook")

    def requests_failed(self) -> float:
        """Give how often Alertmanager tried in vain."""
        name = "alertmanager_notification_requests_failed_total"
        return total(self.alertmanager.url, name, integration="webhook")

    def refused(self, reason: str) -> float:
        """Give how many requests the relay refused."""
        return self.relay.scrape().get("plimsoll_webhook_requests_refused_total", reason=reason) or 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("delivery")
    file = directory / "alertmanager.yml"
    file.write_text(QUIET)
    with ExitStack() as stack:
        service = stack.enter_context(alertmanager(directory / "alertmanager", file))
        names = [*SHARED, *UNREACHED, "mortal", "direct"]
        receivers = {name: stack.enter_context(receiver()) for name in names}
        urls = {name: receivers[name].url for name in [*SHARED, "inactive"]}
        relay = stack.enter_context(
            relaying(directory / "relay", urls, [service.url], NOBODY, timeout=f"{TIMEOUT:g}s")
        )
        follow(relay, directory / "relay", inactive={"active": False})
        mortal = stack.enter_context(running_mortal(directory, receivers["mortal"], service))
        write_ways(
            file,
            Way("ops", [f"{relay.url}/webhook/ops", receivers["direct"].url]),
            *(
                Way(name, [f"{relay.url}/webhook/{name}"], REMINDED if name == "reminded" else {})
                for name in [*SHARED[1:], *UNREACHED]
            ),
            Way("mortal", [f"{mortal.url}/webhook/mortal"]),
        )
        reload(service)
        yield World(service, directory / "token", relay, mortal, directory, receivers)


def running_mortal(
    directory: Path, led: Receiver, service: Service, *flags: str
) -> AbstractContextManager[Serving]:
    return relaying(directory / "mortal", {"mortal": led.url}, [service.url], NOBODY, *flags)


def test_firing_and_resolved_arrive_once_as_alertmanager_wrote_them(world: World) -> None:
    inbox, ops, direct = Inbox(world.alertmanager.url), world.receivers["ops"], world.receivers["direct"]
    alerts = [{"alertname": "Trouble", "way": "ops", "server": server} for server in ("a", "<b>")]
    inbox.send(*alerts, annotations={"summary": 'größer & "so" \u2028'})
    world.wait_for("ops", "firing")
    flush(world.alertmanager.url, 4)
    assert len(ops.posts) == 1
    inbox.send(*alerts, age=1, left=0)
    world.wait_for("ops", "resolved")
    eventually(lambda: len(direct.posts) == 2)
    for post, original in zip(ops.posts, direct.posts, strict=True):
        post.verify()
        assert post.body == original.body
        assert len(post.alerts) == 2
        assert post.headers["content-type"] == original.headers["content-type"]
    firing, resolved = ops.posts
    assert firing.id != resolved.id
    eventually(lambda: deliveries(world.relay, "ops") == {"delivered": 2})


@pytest.mark.parametrize("way", RETRIED)
def test_what_fails_is_retried_at_once(world: World, way: str) -> None:
    answers, counted = RETRIED[way]
    led = world.receivers[way]
    led.answers.extend(answers)
    flushes, requests = world.flushes_failed(), world.requests_failed()
    world.send(way)
    posts = world.wait_for(way, "firing", len(answers) + 1)
    check_retries(posts)
    if "timeout" in counted:  # more than a second later
        assert posts[0].headers["webhook-timestamp"] < posts[1].headers["webhook-timestamp"]
    eventually(lambda: deliveries(world.relay, way) == {**counted, "delivered": 1})
    world.check_resolves(way)
    assert set(led.paths) == {"/"}  # nobody went where a redirect led
    assert world.flushes_failed() == flushes
    assert world.requests_failed() == requests + len(answers)
    eventually(lambda: deliveries(world.relay, way) == {**counted, "delivered": 2})
    samples = world.relay.scrape()
    last = [
        samples.get(f"plimsoll_webhook_last_{end}_timestamp_seconds", receiver=way) or 0
        for end in ("failure", "success")
    ]
    assert posts[0].at < last[0] < last[1]
    assert samples.get("plimsoll_webhook_in_flight", receiver=way) == 0


def check_retries(posts: Sequence[Post]) -> None:
    """One notification, several times: the same identity, and each signed when it was sent."""
    assert len({post.id for post in posts}) == 1
    assert len({post.body for post in posts}) == 1
    for post in posts:
        post.verify()
        assert -1 < post.at - int(post.headers["webhook-timestamp"]) < 2 + TIMEOUT


def test_what_is_refused_waits_for_the_next_flush(world: World) -> None:
    flushes, requests = world.flushes_failed(), world.requests_failed()
    world.receivers["refusing"].answers.extend([400, 422])
    world.send("refusing")
    check_retries(world.wait_for("refusing", "firing", 3))
    world.check_resolves("refusing")
    assert (world.flushes_failed() - flushes, world.requests_failed() - requests) == (2, 2)
    eventually(lambda: deliveries(world.relay, "refusing") == {"refused": 2, "delivered": 2})


def test_a_relay_killed_meanwhile_delivers_after_its_start(world: World) -> None:
    led = world.receivers["mortal"]
    led.answers.append("hang")
    world.send("mortal")
    world.wait_for("mortal", "firing")
    world.mortal.process.kill()
    world.mortal.process.wait()
    address = f"--web.listen-address={urlsplit(world.mortal.url).netloc}"
    with running_mortal(world.directory, led, world.alertmanager, address) as relay:
        check_retries(world.wait_for("mortal", "firing", 2))
        eventually(lambda: deliveries(relay, "mortal") == {"delivered": 1})
        world.check_resolves("mortal")
        eventually(lambda: deliveries(relay, "mortal") == {"delivered": 2})


def test_a_reminder_is_another_notification_and_its_retry_is_not(world: World) -> None:
    world.send("reminded", age=0)
    (first,) = world.wait_for("reminded", "firing")
    world.receivers["reminded"].answers.append(500)
    _, *reminders = world.wait_for("reminded", "firing", 3)
    check_retries(reminders)
    assert reminders[0].id != first.id
    assert reminders[0].body == first.body
    world.check_resolves("reminded")
    eventually(lambda: deliveries(world.relay, "reminded") == {"failed": 1, "delivered": 3})


def test_what_comes_back_with_its_former_start_is_another_notification(world: World) -> None:
    """As when Prometheus cannot reach Alertmanager for a while, which then takes the alert for resolved."""
    start = datetime.now(UTC)
    send_again(world, start, left=2)
    (first,) = world.wait_for("returning", "firing")
    (resolved,) = world.wait_for("returning", "resolved")
    world.receivers["returning"].answers.append(500)
    send_again(world, start, left=300)
    _, *later = world.wait_for("returning", "firing", 3)
    check_retries(later)
    assert later[0].body == first.body
    assert len({first.id, resolved.id, later[0].id}) == 3
    eventually(lambda: deliveries(world.relay, "returning") == {"failed": 1, "delivered": 3})


def send_again(world: World, start: datetime, left: float) -> None:
    """Send an alert that began at some time and fires for some more seconds."""
    alert = {
        "labels": {"alertname": "Trouble", "way": "returning"},
        "startsAt": start.isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(seconds=left)).isoformat(),
    }
    Inbox(world.alertmanager.url)._ask("POST", "/api/v2/alerts", [alert])


@pytest.mark.parametrize("reason", UNREACHED)
def test_whom_the_relay_does_not_tell_is_told_once_it_does(world: World, reason: str) -> None:
    flushes, requests = world.flushes_failed(), world.requests_failed()
    world.send(reason)
    eventually(lambda: world.refused(reason) >= 2, 60)
    assert f"unexpected status code {UNREACHED[reason]}" in world.alertmanager.log.read_text()
    assert not world.receivers[reason].posts
    webhook = {"url": world.receivers[reason].url, "secret": SECRET, "active": True}
    follow(world.relay, world.directory / "relay", **{reason: webhook})
    world.wait_for(reason, "firing")
    world.check_resolves(reason)
    assert world.flushes_failed() - flushes == world.requests_failed() - requests == world.refused(reason)
    eventually(lambda: deliveries(world.relay, reason) == {"delivered": 2})


def test_another_token_holds_from_the_reload_on(world: World) -> None:
    directory = world.directory / "relay"
    refused = world.refused("token")
    try:
        (directory / "token").write_text("another")
        follow(world.relay, directory)
        world.send("guarded")
        eventually(lambda: world.refused("token") > refused, 60)
        assert not world.receivers["guarded"].posts
        world.tokens.write_text("another")
        world.wait_for("guarded", "firing")
        world.check_resolves("guarded")
    finally:
        (directory / "token").write_text(TOKEN)
        follow(world.relay, directory)
        world.tokens.write_text(TOKEN)
    eventually(lambda: deliveries(world.relay, "guarded") == {"delivered": 2})


def test_secrets_are_exchanged_one_after_another(world: World) -> None:
    directory = world.directory / "relay"
    follow(world.relay, directory, rotated={"secret": [SECRET, NEW_SECRET]})
    world.send("rotated")
    (post,) = world.wait_for("rotated", "firing")
    post.verify(SECRET)
    post.verify(NEW_SECRET)
    follow(world.relay, directory, rotated={"secret": NEW_SECRET})
    world.check_resolves("rotated", secret=NEW_SECRET)
    with pytest.raises(WebhookVerificationError):
        world.receivers["rotated"].posts[-1].verify(SECRET)
    eventually(lambda: deliveries(world.relay, "rotated") == {"delivered": 2})
