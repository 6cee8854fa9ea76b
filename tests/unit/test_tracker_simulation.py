"""Alerts that are known to the second, programs that fail in many ways, and what the tracker makes of it.

Prometheus, Alertmanager and the history are modelled as far as they matter to the tracker; times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import Phase, example, given, note, settings
from hypothesis import strategies as st

from plimsoll.relay.alert import Alert
from plimsoll.relay.lives.life import Life
from plimsoll.relay.lives.look import Firing, Judge, Look, Notice
from plimsoll.relay.lives.runs import Run, split
from plimsoll.relay.lives.tracker import Tracker

TICK = 5
LOOK = 15
EVALUATION = 30
FLUSH = 20
RESEND = 60
RESOLVE = 240
LOOKBACK = 300
GRACE = 300
BEHIND = 60
BUSY = 3600
"""Until then things happen."""
QUIET = BUSY + 2 * LOOKBACK + 2 * GRACE + 2 * LOOK
"""Until then, from when all runs well, everything has to come to an end."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Interval(NamedTuple):
    first: int
    end: int

    def holds(self, time: int) -> bool:
        return self.first <= time < self.end


@dataclass(frozen=True)
class Story:
    """When each alert's condition holds, for how long it has to, who tells of it; and when who is away."""

    conditions: tuple[tuple[Interval, ...], ...]
    pending_for: int = 0
    is_silenced: bool = False
    prometheus: tuple[Interval, ...] = ()
    reading: int = 0
    """Seconds that Prometheus reads its data after a start, and neither answers nor evaluates."""
    alertmanagers: tuple[tuple[Interval, ...], ...] = ((),)
    relay: tuple[Interval, ...] = ()


def moment(time: float) -> datetime:
    return EPOCH + timedelta(seconds=time)


def seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()


def is_up(outages: Sequence[Interval], time: int) -> bool:
    return not any(outage.holds(time) for outage in outages)


def started(outages: Sequence[Interval], time: int) -> int:
    return max((outage.end for outage in outages if outage.end <= time), default=-86400)


def labels_of(number: int) -> dict[str, str]:
    return {"alertname": f"Alert{number}", "severity": "high"}


@cache
def identity_of(number: int) -> str:
    return Alert(labels_of(number), None, EPOCH).identity


class Sent(NamedTuple):
    number: int
    starts_at: int
    ends_at: int


@cache
def alert_of(sent: Sent) -> Alert:
    """Give it as Alertmanager does: with a more exact time than a sample has, which is in milliseconds."""
    return Alert(labels_of(sent.number), {"summary": "s"}, moment(sent.starts_at + 0.000456), "f")


@dataclass
class Rule:
    """One alert in Prometheus; what is not written to disk is lost with a restart."""

    samples: list[int] = field(default_factory=list)
    is_stale: bool = False
    pending_since: int | None = None
    fires_since: int | None = None
    sent_at: int = -RESEND
    resolved: tuple[int, int] | None = None

    def restart(self) -> None:
        self.pending_since = self.fires_since = self.resolved = None
        self.sent_at = -RESEND

    def evaluate(self, time: int, pending_for: int, *, holds: bool) -> None:
        if holds:
            self.pending_since = time if self.pending_since is None else self.pending_since
            if self.fires_since is None and time - self.pending_since >= pending_for:
                self.fires_since, self.sent_at = time, -RESEND
        else:
            if self.fires_since is not None:
                self.resolved, self.sent_at = (self.fires_since, time), -RESEND
            self.pending_since = self.fires_since = None
        self.is_stale = self.fires_since is None
        if self.fires_since is not None:
            self.samples.append(time)

    def sent(self, number: int, time: int) -> Sent | None:
        if time - self.sent_at < RESEND:
            return None
        if self.fires_since is not None:
            self.sent_at = time
            return Sent(number, self.fires_since, time + RESOLVE)
        if self.resolved and time - self.resolved[1] < 900:
            self.sent_at = time
            return Sent(number, *self.resolved)
        return None


class Prometheus:
    def __init__(self, story: Story) -> None:
        self._story = story
        self.rules = [Rule() for _ in story.conditions]
        self._was_up = True

    def is_ready(self, time: int) -> bool:
        outages = self._story.prometheus
        return is_up(outages, time) and time - started(outages, time) >= self._story.reading

    def tick(self, time: int) -> list[Sent]:
        if not self.is_ready(time):
            for rule in self.rules:
                rule.restart()
            return []
        if time % EVALUATION:
            return []
        for rule, conditions in zip(self.rules, self._story.conditions, strict=True):
            holds = any(interval.holds(time) for interval in conditions)
            rule.evaluate(time, self._story.pending_for, holds=holds)
        sent = [rule.sent(number, time) for number, rule in enumerate(self.rules)]
        return [each for each in sent if each]

    def judge(self, time: int) -> Judge | None:
        if not self.is_ready(time):
            return None
        firing, pending = set(), set()
        for number, rule in enumerate(self.rules):
            if rule.samples and not rule.is_stale and time - rule.samples[-1] < LOOKBACK:
                firing.add(identity_of(number))
            elif rule.pending_since is not None:
                pending.add(identity_of(number))
        return Judge(moment(started(self._story.prometheus, time)), frozenset(firing), frozenset(pending))

    def runs(self, since: float, until: int) -> list[Run]:
        found = []
        for number, rule in enumerate(self.rules):
            samples = [seconds_of(sample) for sample in rule.samples if since - LOOKBACK < sample <= until]
            found += [Run(labels_of(number), *span) for span in split(samples, LOOKBACK)]
        return sorted(found, key=lambda run: run.first)


def seconds_of(time: int) -> float:
    return EPOCH.timestamp() + time


class Alertmanager:
    def __init__(self, outages: Sequence[Interval]) -> None:
        self.outages = outages
        self.alerts: dict[int, Sent] = {}
        self._told: set[int] = set()

    def tick(self, time: int, sent: Sequence[Sent]) -> None:
        if not is_up(self.outages, time):
            self.alerts.clear()
            self._told.clear()
            return
        for each in sent:
            known = self.alerts.get(each.number)
            if known and each.starts_at <= known.ends_at:
                each = each._replace(starts_at=min(known.starts_at, each.starts_at))
            self.alerts[each.number] = each

    def listed(self, time: int) -> list[Alert]:
        return [alert_of(each) for each in self.alerts.values() if each.ends_at > time]

    def webhooks(self, time: int) -> Iterator[Firing | Notice]:
        """Tell what changed since it was told last; it is told when somebody takes it."""
        if not is_up(self.outages, time) or time % FLUSH:
            return
        for number, each in self.alerts.items():
            if each.ends_at > time and number not in self._told:
                self._told.add(number)
                yield Firing(alert_of(each), moment(time))
            elif each.ends_at <= time and number in self._told:
                self._told.remove(number)
                yield Notice(alert_of(each), moment(each.ends_at))


class History:
    """Keeps when something was seen last to a minute only, as the store does."""

    def __init__(self) -> None:
        self.ended: dict[str, datetime] = {}
        self.unresolved: dict[str, Life] = {}
        self.covered_until: datetime | None = None

    def exchange(self, lives: Mapping[str, Life], covered_until: datetime | None) -> None:
        written = {}
        for key, life in lives.items():
            known = self.unresolved.get(key)
            is_written = not known or known.alert != life.alert
            late = known and life.last_seen - known.last_seen >= timedelta(seconds=BEHIND)
            written[key] = life if known is None or is_written or late else known
        self.unresolved = written
        self.covered_until = covered_until or self.covered_until


@dataclass
class Relay:
    """Goes its rounds as `rounds.py` does."""

    history: History
    tracker: Tracker = field(default_factory=lambda: Tracker(timedelta(seconds=GRACE)))
    covered_until: datetime | None = None
    firing: list[Firing] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.covered_until = self.history.covered_until
        self.tracker.remember(self.history.unresolved.values(), self.covered_until, self.history.ended)

    def look(self, time: int, prometheus: Prometheus, peers: Sequence[Alertmanager]) -> list[Life]:
        up = [peer for peer in peers if is_up(peer.outages, time)]
        judge = prometheus.judge(time)
        since = seconds(self.covered_until) if self.covered_until else time
        look = Look(
            moment(time),
            listed=[alert for peer in up for alert in peer.listed(time)],
            alertmanager_started_at=min((moment(started(p.outages, time)) for p in up), default=None),
            judge=judge,
            firing=self.firing,
            notices=self.notices,
            runs=prometheus.runs(since, time) if judge else (),
        )
        self.firing, self.notices = [], []
        ended = self.tracker.judge(look)
        if judge:
            self.covered_until = moment(time)
        return ended


class Ended(NamedTuple):
    life: Life
    at: int


@dataclass
class Outcome:
    story: Story
    ended: list[Ended]
    unresolved: Mapping[str, Life]
    samples: list[list[int]]

    def ended_of(self, number: int) -> list[Ended]:
        return [each for each in self.ended if each.life.alert.identity == identity_of(number)]

    def lives(self, number: int) -> list[Life]:
        return [each.life for each in self.ended_of(number)]


def span(life: Life) -> tuple[float, float]:
    assert life.ended
    return seconds(life.alert.starts_at), seconds(life.ended.at)


def play(story: Story) -> Outcome:
    prometheus, history = Prometheus(story), History()
    peers = [Alertmanager(outages) for outages in story.alertmanagers]
    relay: Relay | None = None
    ended: list[Ended] = []
    for time in range(0, QUIET, TICK):
        sent = prometheus.tick(time)
        for peer in peers:
            peer.tick(time, sent)
        if not is_up(story.relay, time):
            relay = None
            continue
        relay = relay or Relay(history)
        for peer in () if story.is_silenced else peers:
            for each in peer.webhooks(time):
                if isinstance(each, Firing):
                    relay.firing.append(each)
                else:
                    relay.notices.append(each)
        if time % LOOK == 0:
            over = relay.look(time, prometheus, peers)
            ended += [Ended(life, time) for life in over]
            history.ended |= {life.alert.identity: life.ended.at for life in over if life.ended}
            history.exchange(relay.tracker.unresolved, relay.covered_until)
            relay.tracker.remember(history.unresolved.values(), relay.covered_until, history.ended)
    assert relay is not None
    return Outcome(story, ended, relay.tracker.unresolved, [rule.samples for rule in prometheus.rules])


# --- stories ----------------------------------------------------------------------------------------------


def intervals(
    most: int, longest: int, apart: int, begin: int = 600
) -> st.SearchStrategy[tuple[Interval, ...]]:
    """Some times that are apart from each other, in the order of time."""

    def arranged(pairs: list[tuple[int, int]]) -> tuple[Interval, ...]:
        found, time = [], begin
        for pause, length in pairs:
            first = time + pause * TICK
            end = min(first + length * TICK, BUSY)
            if first < end:
                found.append(Interval(first, end))
            time = end + apart
        return tuple(found)

    pair = st.tuples(st.integers(0, 200), st.integers(1, longest // TICK))
    return st.lists(pair, max_size=most).map(arranged)


def conditions(apart: int) -> st.SearchStrategy[tuple[tuple[Interval, ...], ...]]:
    return st.lists(intervals(4, 2000, apart, begin=0), min_size=1, max_size=3).map(tuple)


outages = intervals(2, 900, apart=TICK)
calm_stories = st.builds(
    Story,
    conditions(apart=EVALUATION),
    st.sampled_from([0, 60, 300]),
    st.booleans(),
    alertmanagers=st.just(((), ())),
)
stories = st.builds(
    Story,
    conditions(apart=LOOKBACK + EVALUATION),
    st.sampled_from([0, 60, 300]),
    st.booleans(),
    outages,
    st.sampled_from([0, 30, 400]),
    st.lists(outages, min_size=1, max_size=2).map(tuple),
    outages,
)

thoroughly = settings(max_examples=120, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@thoroughly
@given(calm_stories)
def test_without_faults_lives_are_what_prometheus_found(story: Story) -> None:
    outcome = play(story)

    for number, samples in enumerate(outcome.samples):
        true = [
            (seconds(first), seconds(last)) for first, last in split(map(seconds_of, samples), EVALUATION)
        ]
        lives = outcome.lives(number)
        note(f"{[span(life) for life in lives]} {samples}")
        assert len(lives) == len(true)
        for life, (first, last) in zip(lives, true, strict=True):
            begin, end = span(life)
            assert begin == pytest.approx(first, abs=1)
            assert last <= end <= last + EVALUATION + LOOK
            assert life.alert.annotations


def misses_a_restart(story: Story) -> bool:
    """Say whether Prometheus restarted again before the relay could see it fire once more.

    Only the last restart is known, so what fired between the two seems to begin there, and what had fired
    before to end when the relay saw it last.
    """
    takes = story.reading + story.pending_for + EVALUATION + LOOK
    return any(
        not any(is_up(story.relay, time) for time in range(one.end + takes, other.first, LOOK))
        for one, other in pairwise(story.prometheus)
    )


FIRES_AFTER_A_NOTICE = Story(
    ((Interval(0, 1040),),),
    prometheus=(Interval(600, 605),),
    reading=400,
    alertmanagers=((Interval(885, 1275),),),
    relay=(Interval(600, 605),),
)
BEGINS_ANEW_AT_THE_FIRST_LOOK = Story(
    ((Interval(820, 1815),),),
    prometheus=(Interval(1300, 1380),),
    alertmanagers=((Interval(1270, 1275),),),
    relay=(Interval(600, 1305),),
)


@thoroughly
@given(stories)
@example(FIRES_AFTER_A_NOTICE)
@example(BEGINS_ANEW_AT_THE_FIRST_LOOK)
def test_whatever_fails_lives_stay_true(story: Story) -> None:
    """They are apart, end, have all that Prometheus found, and end only when their alerts do."""
    outcome = play(story)
    all_is_known = not misses_a_restart(story)

    assert not outcome.unresolved
    for number, samples in enumerate(outcome.samples):
        spans = [span(life) for life in outcome.lives(number)]
        note(f"{spans} {samples}")
        assert all(begin <= end for begin, end in spans)
        assert all(end < begin for (_, end), (begin, _) in pairwise(spans))
        for sample in samples if all_is_known else ():
            assert any(begin - 1 <= sample <= end + BEHIND for begin, end in spans), sample
        for interval in story.conditions[number] if all_is_known else ():
            within = [each for each in outcome.ended_of(number) if interval.holds(int(span(each.life)[0]))]
            assert len(within) <= 1
            assert not any(interval.holds(each.at) for each in within)
