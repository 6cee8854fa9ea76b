"""Sets of rules and routes reach the real Prometheus and Alertmanager, or the former set goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from plimsoll.alerts.rollout.releases import ReleaseError, opened, publish
from plimsoll.alerts.rollout.running import Alertmanager, Limits
from plimsoll.alerts.rollout.service import RolloutError, take_into_service
from plimsoll.alerts.rollout.wanted import Wanted
from plimsoll.alerts.settings import OpenedAlertmanager, OpenedPrometheus
from plimsoll.demo.processes import free_port
from plimsoll.demo.service import Service, fetch
from programs import LIFECYCLE
from reloading import (
    REFUSED_RULE,
    UNDEFINED,
    alertmanager,
    answering,
    prometheus,
    receivers_of,
    reload,
    rendered,
    rules_of,
)

NOBODY = "http://127.0.0.1:1"
SOON = Limits(reload=10, answer=0.5)

KILLED_AT = """\
import asyncio, json, os, signal, sys
from pathlib import Path
from plimsoll.alerts.rollout.service import take_into_service
from plimsoll.alerts.settings import OpenedAlertmanager, OpenedPrometheus

steps, directory, url, others, files = json.loads(sys.argv[1])

SEEN_BY_OTHERS = ("socket.connect", "os.rename", "os.symlink", "os.mkdir", "shutil.rmtree")

def count(event, arguments):
    global steps
    if event in SEEN_BY_OTHERS:
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    sys.addaudithook(count)
    prometheus, alertmanager = OpenedPrometheus(url=url), OpenedAlertmanager(urls=others)
    await take_into_service(Path(directory), files, prometheus=prometheus, alertmanager=alertmanager)

asyncio.run(main())
"""


def take(
    directory: Path, files: Mapping[str, str], prometheus: str, alertmanagers: Sequence[str], limits: Limits
) -> str:
    """Take a set into service."""
    return asyncio.run(
        take_into_service(
            directory,
            files,
            prometheus=OpenedPrometheus(url=prometheus),
            alertmanager=OpenedAlertmanager.model_construct(urls=tuple(alertmanagers)),  # or nobody
            limits=limits,
        )
    )


@dataclass
class Stack:
    """A directory of sets, and the programs that run on it."""

    directory: Path
    prometheus: Service
    alertmanagers: list[Service]
    urls: list[str] = field(default_factory=list)

    def take(self, files: Mapping[str, str], limits: Limits = SOON, prometheus: str | None = None) -> str:
        urls = self.urls or [service.url for service in self.alertmanagers]
        return take(self.directory, files, prometheus or self.prometheus.url, urls, limits)

    def refused(self, files: Mapping[str, str], limits: Limits = SOON, prometheus: str | None = None) -> str:
        with pytest.raises(RolloutError) as caught:
            self.take(files, limits, prometheus)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return str(caught.value)

    def check_that_all_run(self, name: str) -> None:
        """See that a set is linked and accepted, and that all run it, also when they read it again."""
        for _ in range(2):
            assert rules_of(self.prometheus) == {"alert_table", name, f"{name}_signals"}
            for service in self.alertmanagers:
                assert receivers_of(service) == {"default", name}
            for service in (self.prometheus, *self.alertmanagers):
                reload(service)
        with opened(self.directory) as releases:
            assert releases.current
            assert releases.current == releases.accepted
            assert f"{name}:one:sum" in releases.files(releases.current)["rules/recording.yml"]


@contextmanager
def stack(folder: Path, *flags: str, alertmanagers: int = 1) -> Iterator[Stack]:
    """Run programs on a set `first` that is published, and accepted if they may be reloaded."""
    directory = folder / "published"
    publish(directory, rendered("first"))
    with ExitStack() as running:
        rules = running.enter_context(prometheus(folder / "prometheus", directory, *flags))
        routes = [
            running.enter_context(
                alertmanager(folder / f"alertmanager{number}", _link(directory, folder, number))
            )
            for number in range(alertmanagers)
        ]
        yield Stack(directory, rules, routes)


def _link(directory: Path, folder: Path, number: int) -> Path:
    """Give each Alertmanager a folder of its own, for templates of its own."""
    own = folder / f"configuration{number}"
    own.mkdir()
    (own / "alertmanager.yml").symlink_to(directory / "alertmanager" / "alertmanager.yml")
    return own / "alertmanager.yml"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path, LIFECYCLE) as one:
        one.take(rendered("first"))
        one.check_that_all_run("first")
        yield one


def test_a_set_is_taken_into_service(running: Stack) -> None:
    version = running.take(rendered("second"))
    running.check_that_all_run("second")
    assert running.take(rendered("second")) == version, "it is no other one"
    running.take(rendered("first"))
    running.check_that_all_run("first")


def test_rules_that_prometheus_refuses(running: Stack) -> None:
    message = running.refused(rendered("bad", expression=REFUSED_RULE))
    assert re.fullmatch(
        rf"{running.prometheus.url}: POST /-/reload was answered with 500: failed to reload config: .*"
        r" \(its log and `promtool check rules` say more\)\n"
        r"the former set, \S+Z-\w{12}, is in force again",
        message,
    )
    running.check_that_all_run("first")
    running.take(rendered("second"))
    running.check_that_all_run("second")


def test_a_configuration_that_alertmanager_refuses(running: Stack) -> None:
    message = running.refused(rendered("bad", receiver=UNDEFINED))
    assert re.fullmatch(
        rf"{running.alertmanagers[0].url}: POST /-/reload was answered with 500: failed to reload config: "
        r'undefined receiver "nobody" used in route\nthe former set, \S+, is in force again',
        message,
    )
    running.check_that_all_run("first")
    running.take(rendered("second"))
    running.check_that_all_run("second")


def test_both_say_what_they_refuse(running: Stack) -> None:
    message = running.refused(rendered("bad", expression=REFUSED_RULE, receiver=UNDEFINED))
    assert [line.partition(": ")[0] for line in message.splitlines()[:2]] == [
        running.prometheus.url,
        running.alertmanagers[0].url,
    ]
    running.check_that_all_run("first")


def test_the_set_before_is_linked_though_none_was_accepted(tmp_path: Path) -> None:
    with stack(tmp_path, LIFECYCLE) as running:
        assert "the former set" in running.refused(rendered("bad", expression=REFUSED_RULE))
        assert (running.directory / "rules" / "alerts.yml").read_text() == rendered("first")[
            "rules/alerts.yml"
        ]
        running.take(rendered("first"))
        running.check_that_all_run("first")


def test_the_accepted_set_is_linked_rather_than_the_one_before(running: Stack) -> None:
    publish(running.directory, rendered("between"))
    running.refused(rendered("bad", expression=REFUSED_RULE))
    running.check_that_all_run("first")


def test_one_of_two_alertmanagers_refuses(tmp_path: Path) -> None:
    with stack(tmp_path, LIFECYCLE, alertmanagers=2) as running:
        running.take(rendered("first"))
        (tmp_path / "configuration1" / "own.tmpl").write_text("{{ define")
        message = running.refused(rendered("second", templates="own.tmpl"))
        assert message.startswith(f"{running.alertmanagers[1].url}: POST /-/reload was answered with 500: ")
        assert running.alertmanagers[0].url not in message
        running.check_that_all_run("first")
        (tmp_path / "configuration1" / "own.tmpl").unlink()
        running.take(rendered("second", templates="own.tmpl"))
        running.check_that_all_run("second")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["silent", "gone"])
def test_nothing_is_changed_when_alertmanager_is_down(tmp_path: Path, number: signal.Signals) -> None:
    with stack(tmp_path, LIFECYCLE) as running, ExitStack() as again:
        running.take(rendered("first"))
        down = running.alertmanagers.pop()
        running.urls = [down.url]
        down.process.send_signal(number)
        if number == signal.SIGKILL:
            down.process.wait()
        message = running.refused(rendered("second"))
        what = "no answer within 0.5 s" if number == signal.SIGSTOP else "Cannot connect to host .*"
        assert re.fullmatch(rf"{down.url}: GET /metrics: {what}\nnothing was changed", message)
        running.check_that_all_run("first")
        if number == signal.SIGSTOP:
            down.process.send_signal(signal.SIGCONT)
        else:
            configuration = tmp_path / "configuration0" / "alertmanager.yml"
            port = int(down.address.rpartition(":")[2])
            (tmp_path / "alertmanager0" / "log").unlink()
            down = again.enter_context(alertmanager(tmp_path / "alertmanager0", configuration, port=port))
        running.alertmanagers.append(down)
        running.take(rendered("second"))
        running.check_that_all_run("second")


def test_nothing_is_changed_when_prometheus_is_down(running: Stack) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    message = running.refused(rendered("second"), prometheus=closed)
    assert re.match(rf"{closed}: GET /api/v1/rules\S* Cannot connect", message)
    running.check_that_all_run("first")
    running.take(rendered("second"))
    running.check_that_all_run("second")


def test_a_first_set_is_not_published_to_those_who_are_down(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RolloutError, match="get it without --reload"):
        take(tmp_path, rendered("first"), closed, [], SOON)
    assert not (tmp_path / "current").is_symlink()


def test_a_first_set_that_is_refused_stays_linked(tmp_path: Path) -> None:
    with prometheus(tmp_path / "prometheus", tmp_path / "published", LIFECYCLE) as service:
        running = Stack(tmp_path / "published", service, [])
        message = running.refused(rendered("bad", expression=REFUSED_RULE))
        assert re.search(r"\nthere is no other set to go back to: \S+ stays linked$", message)
        assert rules_of(service) == set()
        running.take(rendered("first"))
        running.check_that_all_run("first")


def test_somebody_who_cannot_start_with_a_set_is_helped(running: Stack) -> None:
    """A run that was killed left a bad set, with which Alertmanager then did not start."""
    publish(running.directory, rendered("bad", receiver=UNDEFINED))
    running.urls = [f"http://127.0.0.1:{free_port()}"]
    message = running.refused(rendered("second"))
    assert re.search(
        r"the former set, \S+, is linked again, but not in force everywhere:\n.*Cannot con", message
    )
    running.check_that_all_run("first")


def test_prometheus_that_may_not_be_reloaded(tmp_path: Path) -> None:
    with stack(tmp_path) as running:
        message = running.refused(rendered("second"))
        lines = message.splitlines()
        assert lines[0] == (
            f"{running.prometheus.url}: POST /-/reload was answered with 403: Lifecycle API is not enabled. "
            "(it must be started with --web.enable-lifecycle)"
        )
        assert re.fullmatch("the former set, .*, is linked again, but not in force everywhere:", lines[1])
        assert lines[2] == lines[0]
        assert receivers_of(running.alertmanagers[0]) == {"default", "first"}
        assert rules_of(running.prometheus) == {"alert_table", "first", "first_signals"}
    with prometheus(tmp_path / "again", running.directory, LIFECYCLE) as allowed:
        configuration = tmp_path / "configuration0" / "alertmanager.yml"
        with alertmanager(tmp_path / "other", configuration) as telling:
            running = Stack(running.directory, allowed, [telling])
            running.take(rendered("second"))
            running.check_that_all_run("second")


def test_prometheus_that_has_other_rule_files(tmp_path: Path) -> None:
    publish(tmp_path / "other", rendered("first"))
    with prometheus(tmp_path / "prometheus", tmp_path / "other", LIFECYCLE) as service:
        message = Stack(tmp_path / "published", service, []).refused(rendered("second"))
        ours, version = rendered("second"), r"first-\w{12}"
        wanted = re.search(r"second-\w{12}", ours["rules/alerts.yml"])
        assert wanted
        assert re.match(
            rf"{service.url}: runs the rules {version} of \S+/other/rules/alerts\.yml, and not {wanted[0]}: "
            r"does its rule_files list rules/\*\.yml of the output directory",
            message,
        )


def test_prometheus_that_has_no_rule_files(tmp_path: Path) -> None:
    with prometheus(tmp_path / "prometheus", tmp_path / "nothing", LIFECYCLE) as service:
        message = Stack(tmp_path / "published", service, []).refused(rendered("first"))
        assert message.startswith(f"{service.url}: runs no rules of plimsoll, and not first-")


def test_prometheus_that_lacks_a_file(tmp_path: Path) -> None:
    some = ("rules/alerts.yml",)
    with prometheus(tmp_path / "prometheus", tmp_path / "published", LIFECYCLE, rule_files=some) as service:
        message = Stack(tmp_path / "published", service, []).refused(rendered("first"))
        assert message.startswith(f"{service.url}: lacks the groups first_signals of recording.yml: ")


def test_prometheus_that_runs_two_sets(tmp_path: Path) -> None:
    publish(tmp_path / "shipped", rendered("first"))
    both = ("published/rules/*.yml", "shipped/rules/*.yml")
    with prometheus(tmp_path / "prometheus", tmp_path, LIFECYCLE, rule_files=both) as service:
        message = Stack(tmp_path / "published", service, []).refused(rendered("first"))
        assert re.match(
            r".*: runs a second set of rules beside \S+/published/rules/alerts\.yml: "
            r"take \S+/shipped/rules/alerts\.yml out of its rule_files\n",
            message,
        )


def test_alertmanager_that_has_another_configuration(tmp_path: Path) -> None:
    publish(tmp_path / "other", rendered("first"))
    configuration = tmp_path / "other" / "alertmanager" / "alertmanager.yml"
    with (
        prometheus(tmp_path / "prometheus", tmp_path / "published", LIFECYCLE) as rules,
        alertmanager(tmp_path / "alertmanager", configuration) as routes,
    ):
        message = Stack(tmp_path / "published", rules, [routes]).refused(rendered("second"))
        assert message.startswith(f"{routes.url}: runs another configuration: is its --config.file ")


async def test_alertmanager_whose_hash_is_hidden(tmp_path: Path) -> None:
    """Receivers and routes are compared then, as the real one repeats them."""
    files = rendered("first")
    publish(tmp_path, files)
    configuration = tmp_path / "alertmanager" / "alertmanager.yml"
    with alertmanager(tmp_path / "store", configuration) as service:
        status = fetch(f"{service.url}/api/v2/status")
        assert re.search(r"^alertmanager_config_hash \S+$", fetch(f"{service.url}/metrics"), re.MULTILINE)
    async with (
        answering({"/metrics": "", "/api/v2/status": status}) as url,
        aiohttp.ClientSession() as session,
    ):
        hidden = Alertmanager(session, url)
        assert await hidden.difference(Wanted.of(files)) == ""
        assert "runs another configuration" in await hidden.difference(Wanted.of(rendered("second")))


def test_two_at_once_do_not_mix(running: Stack) -> None:
    with opened(running.directory), pytest.raises(ReleaseError, match="another plimsoll is changing it"):
        running.take(rendered("second"))
    running.check_that_all_run("first")


@pytest.mark.parametrize("bad", ["rules/alerts.yml", "alertmanager/alertmanager.yml"])
def test_a_set_that_cannot_be_recognized(tmp_path: Path, bad: str) -> None:
    files = rendered("first")
    del files[bad]
    with pytest.raises(RolloutError, match=r"a set has alertmanager/alertmanager\.yml, and one version"):
        take(tmp_path, files, NOBODY, [], SOON)


def kill(running: Stack, step: int, files: Mapping[str, str]) -> bool:
    """Take a set into service, and kill that before its n-th step; tells whether it had so many."""
    urls = [service.url for service in running.alertmanagers]
    arguments = [step, str(running.directory), running.prometheus.url, urls, files]
    command = [sys.executable, "-c", KILLED_AT, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == -signal.SIGKILL:
        return True
    assert not done.stderr or "RolloutError: " in done.stderr
    return False


@pytest.mark.long
def test_killed_at_any_step(running: Stack) -> None:
    """Before each thing that the programs could see, in turn."""
    steps, seen = itertools.count(1), set()
    for step in steps:
        killed = kill(running, step, rendered(f"set{step}"))
        seen.add(check_that_all_take_what_is_linked(running) == f"set{step}")
        if not killed:
            break
        running.take(rendered(f"next{step}"))
        running.check_that_all_run(f"next{step}")
    assert next(steps) > 15
    assert seen == {True, False}


@pytest.mark.long
def test_killed_with_a_bad_set(running: Stack) -> None:
    """Prometheus goes on with the whole former set, and the next good one is taken."""
    for step in itertools.count(1, 3):
        killed = kill(running, step, rendered(f"set{step}", expression=REFUSED_RULE))
        former = f"next{step - 3}" if step > 1 else "first"
        assert rules_of(running.prometheus) == {"alert_table", former, f"{former}_signals"}
        if not killed:
            break
        running.take(rendered(f"next{step}"))
        running.check_that_all_run(f"next{step}")
    running.check_that_all_run(former)


def check_that_all_take_what_is_linked(running: Stack) -> str:
    """See that what is linked is one set, which all take, and give its name."""
    for service in (running.prometheus, *running.alertmanagers):
        reload(service)
    groups = rules_of(running.prometheus)
    (name,) = (group.removesuffix("_signals") for group in groups if group.endswith("_signals"))
    assert groups == {"alert_table", name, f"{name}_signals"}
    for service in running.alertmanagers:
        assert receivers_of(service) == {"default", name}
    return name
