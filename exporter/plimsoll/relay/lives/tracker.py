"""Follows alerts from look to look: which fire, which life is over, and since when.

No witness is believed alone. Alertmanager takes an alert for resolved when Prometheus is away, forgets all of
them when it restarts, and never tells that a silenced alert has resolved. Prometheus that has restarted lets
alerts wait for their `for` once more. So an alert is over when a settled Alertmanager does not list it and a
settled Prometheus does not show it: at once where a notice said so, else when it has been gone for a grace.

Times are compared by their difference: none that somebody makes up is too far away for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from plimsoll.alerts.shape import SEVERITIES
from plimsoll.relay.alert import CHANGING_LABELS, Alert
from plimsoll.relay.lives.life import Acknowledgement, End, Life
from plimsoll.relay.lives.look import Judge, Look

_SAME = timedelta(seconds=1)
"""Moments so close are the same one: a sample has its time in milliseconds, the alert in nanoseconds."""

_RECOVERY = timedelta(hours=1)
"""How long after a restart of Prometheus an alert that fires again may be one that fired before."""

_REMEMBERED = timedelta(days=1)
"""How long the end of a life is remembered, so that late news of it do not begin another."""

_BEHIND = timedelta(minutes=1)
"""How far the history may be behind with when it saw an alert last."""


class _Evidence(NamedTuple):
    """An alert fired from its start to `last`, by a run (`is_exact` is false), or somebody's word.

    A run may be cut at its start, or be made of two that are close to each other. `is_end` says that it was
    resolved at `last`.
    """

    alert: Alert
    last: datetime
    is_exact: bool = True
    is_end: bool = False

    @property
    def order(self) -> tuple[datetime, bool]:
        """Runs come before what started after them: not before what started with their last sample."""
        return (self.alert.starts_at if self.is_exact else self.last + _SAME), self.is_end


class Tracker:
    """The lives that are not over, and when those ended that are.

    Args:
        grace: how long an alert must be gone, and a program must have run, before that counts.
    """

    def __init__(self, grace: timedelta) -> None:
        self.grace = grace
        self._lives: dict[str, Life] = {}
        self._starts: dict[str, datetime] = {}
        """When each began, by the last witness who knew exactly: a restart of Prometheus changes that."""
        self._judged: dict[str, datetime] = {}
        """When Prometheus itself last showed each as firing."""
        self._notices: dict[str, datetime] = {}
        """When each ended by what Alertmanager told."""
        self._over: dict[str, datetime] = {}
        self._ended: list[Life] = []
        self._met: tuple[datetime, datetime] | None = None
        """When this Prometheus was started, and when it first answered: it may take long to read its data."""
        self._known_until: datetime | None = None
        """What ended until then is in the history, even if its end is not remembered here."""

    @property
    def unresolved(self) -> Mapping[str, Life]:
        """The lives that are not over, by identity."""
        return self._lives

    def remember(
        self, lives: Iterable[Life], covered_until: datetime | None, ended: Mapping[str, datetime]
    ) -> None:
        """Learn what the history knows: more than we, perhaps, from before a restart, or from another relay.

        Args:
            lives: those that are not over.
            covered_until: up to when somebody has looked, who saw then what was seen just before.
            ended: when alerts resolved of late, by identity.
        """
        self._known_until = self._known_until or covered_until
        for key, at in ended.items():
            self._over[key] = max(at, self._over.get(key, at))
        for each in lives:
            life = _caught_up(each, covered_until)
            key = life.alert.identity
            if known := self._lives.get(key):
                self._lives[key] = replace(
                    known,
                    alert=_since(known.alert, life.alert.starts_at),
                    acknowledgement=known.acknowledgement or life.acknowledgement,
                )
            elif not self._is_over(key, life.alert.starts_at, life.last_seen):
                self._lives[key] = life

    def acknowledge(self, acknowledgements: Mapping[str, Acknowledgement | None]) -> None:
        """Note who has taken each alert, by identity; None is nobody."""
        for key, acknowledgement in acknowledgements.items():
            if life := self._lives.get(key):
                self._lives[key] = replace(life, acknowledgement=acknowledgement)

    def judge(self, look: Look) -> list[Life]:
        """Take in what is known, and give the lives that have ended."""
        self._come_back(look.at)
        for evidence in sorted(_evidence(look), key=lambda evidence: evidence.order):
            self._see(evidence, look.judge)
        self._look_for_the_gone(look)
        self._forget(look.at)
        ended, self._ended = self._ended, []
        return ended

    def _come_back(self, now: datetime) -> None:
        """Take nothing for seen, or over, in the future: a clock may have been ahead for a moment."""
        ahead = [(key, life) for key, life in self._lives.items() if life.last_seen > now]
        self._lives |= {key: replace(life, last_seen=now) for key, life in ahead}
        self._over |= {key: now for key, at in self._over.items() if at > now}
        self._known_until = min(self._known_until, now) if self._known_until else None

    def _see(self, evidence: _Evidence, judge: Judge | None) -> None:
        alert, last, is_exact, is_end = evidence
        key = alert.identity
        life = self._lives.get(key)
        if self._is_over(key, alert.starts_at, last) or (life is None and self._is_known(evidence)):
            return
        if life is not None and self._is_another(life, evidence, judge):
            self._end(key, self._end_before(life, alert.starts_at))
            life = None
        self._lives[key] = self._continued(life, evidence) if life else Life(alert, last)
        if is_exact:
            self._starts[key] = max(alert.starts_at, self._starts.get(key, alert.starts_at))
        else:
            self._judged[key] = max(last, self._judged.get(key, last))
        if is_end:
            self._notices[key] = last

    def _is_over(self, key: str, first: datetime, last: datetime) -> bool:
        """Say whether news are late ones of a life that is over; if it goes on for long, it was not over."""
        over = self._over.get(key)
        return over is not None and first <= over and last - over <= self.grace

    def _is_known(self, evidence: _Evidence) -> bool:
        """Say whether somebody has looked through this run before."""
        return not evidence.is_exact and self._known_until is not None and evidence.last <= self._known_until

    def _is_another(self, life: Life, evidence: _Evidence, judge: Judge | None) -> bool:
        """Say whether what fires is another life than the known one.

        It fires anew, and neither because it is judged otherwise, nor because Prometheus has restarted since.
        A run that is near goes on: it may be cut, and the history may be behind.
        """
        key, first = evidence.alert.identity, evidence.alert.starts_at
        gap = first - max(life.last_seen, self._starts.get(key, life.last_seen))
        is_exact = evidence.is_exact and not _is_judged_otherwise(life.alert, evidence.alert)
        if judge is None or gap <= (_SAME if is_exact else self.grace):
            return False
        recovered = timedelta(0) <= first - judge.started_at <= _RECOVERY
        return not (recovered and self._has_restarted(life, judge))

    def _has_restarted(self, life: Life, judge: Judge) -> bool:
        """Say whether Prometheus has restarted since it showed an alert as firing."""
        return judge.started_at > self._judged.get(life.alert.identity, life.last_seen)

    def _continued(self, life: Life, evidence: _Evidence) -> Life:
        """Let a life go on: with the texts and the severity of whoever saw it last and knows them."""
        alert, last, is_exact, _ = evidence
        known = life.alert
        over = self._over.get(alert.identity)
        is_of_another = known.starts_at - last > _SAME or (over is not None and alert.starts_at <= over)
        if not is_of_another:
            known = _since(known, alert.starts_at)
        is_newer = (last, _gravity(alert)) >= (life.last_seen, _gravity(known))
        if is_newer and (is_exact or known.annotations is None):
            known = replace(alert, starts_at=known.starts_at)
        return replace(life, alert=known, last_seen=max(last, life.last_seen))

    def _end_before(self, life: Life, begin: datetime) -> End:
        told = self._told_of(life)
        return End(told, told=True) if told and told < begin else End(life.last_seen, told=False)

    def _told_of(self, life: Life) -> datetime | None:
        """Give when a notice says that a life ended, unless it was seen long after that, or fired after all.

        While Prometheus is away, Alertmanager takes for resolved what then fires as soon as it is back.
        """
        key = life.alert.identity
        told = self._notices.get(key)
        if told is None or told < max(
            self._starts.get(key, life.alert.starts_at), self._judged.get(key, told)
        ):
            return None
        return told if life.last_seen - told <= self.grace else None

    def _look_for_the_gone(self, look: Look) -> None:
        settled_since = self._settled_since(look)
        if look.judge is None or settled_since is None or look.at < settled_since:
            return
        there = {alert.identity for alert in look.listed} | look.judge.firing
        for key, life in list(self._lives.items()):
            waits = key in look.judge.pending and self._has_restarted(life, look.judge)
            if key in there or waits:
                continue
            if told := self._told_of(life):
                self._end(key, End(told, told=True))
            elif look.at - max(life.last_seen, settled_since) >= self.grace:
                self._end(key, End(life.last_seen, told=False))

    def _settled_since(self, look: Look) -> datetime | None:
        """Give since when absence means something; None while somebody does not answer.

        One that has just started knows little: Alertmanager has lost what was not yet sent again, and
        Prometheus makes alerts wait for their `for` once more.
        """
        judge, started_at = look.judge, look.alertmanager_started_at
        if judge and (self._met is None or self._met[0] != judge.started_at):
            self._met = judge.started_at, look.at
        if judge is None or started_at is None or self._met is None:
            return None
        return max(started_at, *self._met) + self.grace

    def _end(self, key: str, end: End) -> None:
        life = self._lives.pop(key)
        end = end._replace(at=max(end.at, life.alert.starts_at))
        self._ended.append(replace(life, ended=end))
        self._over[key] = end.at
        for notes in (self._starts, self._judged, self._notices):
            notes.pop(key, None)

    def _forget(self, now: datetime) -> None:
        for key in [key for key, at in self._over.items() if abs(now - at) > _REMEMBERED]:
            del self._over[key]


def _evidence(look: Look) -> list[_Evidence]:
    return [
        *(_Evidence(Alert(run.labels, None, run.first), run.last, is_exact=False) for run in look.runs),
        *(_Evidence(alert, look.at) for alert in look.listed),
        *(_Evidence(alert, at) for alert, at in look.firing),
        *(_Evidence(alert, ended_at, is_end=True) for alert, ended_at in look.notices),
    ]


def _caught_up(life: Life, covered_until: datetime | None) -> Life:
    if covered_until is None or not timedelta(0) <= covered_until - life.last_seen <= _BEHIND:
        return life
    return replace(life, last_seen=covered_until)


def _since(alert: Alert, starts_at: datetime) -> Alert:
    return alert if alert.starts_at - starts_at <= _SAME else replace(alert, starts_at=starts_at)


def _is_judged_otherwise(one: Alert, other: Alert) -> bool:
    return any(one.labels.get(label) != other.labels.get(label) for label in CHANGING_LABELS)


def _gravity(alert: Alert) -> int:
    """Give more for a graver severity, and 0 for one that is none of ours."""
    severity = alert.labels.get("severity")
    return len(SEVERITIES) - SEVERITIES.index(severity) if severity in SEVERITIES else 0
