"""What acknowledgements need: to be prolonged while an alert fires, ended with it, made again when lost.

Several relays do this at the same time and know nothing of each other. Whatever they do twice comes to the
same: a silence keeps its id when it is prolonged, so the second relay sets about the same end once more or
sees that it need not; and to end what has ended changes nothing. Only making one again makes two, when two
relays see at once that it was lost. Both silence the alert, and who sees either makes none, so they do not
multiply. Both are prolonged, and both end when the alert has resolved, for what counts is whom a silence is
about and not which one is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from plimsoll.alerts.settings import AcknowledgementSettings
from plimsoll.relay.acknowledging.covering import Covering
from plimsoll.relay.acknowledging.silences import (
    is_acknowledgement,
    is_ours,
    limit_of,
    make,
    matchers_for,
    owner,
    until,
    words,
)
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.sources.alertmanager import Silence
from plimsoll.relay.times import after

_EXPIRED_BY_HAND = timedelta(seconds=0.5)
"""Who expires a silence sets its end to that moment; one that lapses was last set half a period before."""

_ROUNDING = timedelta(seconds=0.1)
"""Two ends that are not farther apart are the same."""

_LEAST = timedelta(seconds=1)
"""Nothing is made again for less: clocks differ."""


class Watched(NamedTuple):
    """A life that is not over, and the active silences that match its alert.

    `silenced_by` holds their ids, those of plain silences too, as Alertmanager tells them; it is None when no
    Alertmanager lists the alert now.
    """

    life: Life
    silenced_by: frozenset[str] | None


class Kept(NamedTuple):
    """What holds now, and what has to be done so that it goes on."""

    acknowledgements: dict[str, Acknowledgement | None]
    """Who has taken each alert, by the identity of the life; None is nobody."""
    prolong: tuple[Silence, ...] = ()
    """Silences with their new ends."""
    expire: tuple[Silence, ...] = ()
    make: tuple[Silence, ...] = ()
    """Silences that were lost, without an id."""


def keep(
    listed: Mapping[str, Silence] | None,
    watched: Sequence[Watched],
    resolved: Iterable[Life] = (),
    *,
    former: Mapping[str, Silence],
    settings: AcknowledgementSettings,
    now: datetime,
) -> Kept:
    """Find out who has taken which alert, and what has to be done.

    An alert that fires again before its silence was ended stays acknowledged.

    Args:
        listed: all silences in every state, by id (see `merged`); None when no Alertmanager answered,
            and then everything stays as it is.
        watched: all lives that are not over, with the acknowledgements known so far.
        resolved: lives that ended lately. One is told until its silences are known to have ended; to tell it
            for longer does no harm.
        former: silences as they were listed before, by id (see `remembered`), for Alertmanager may have lost
            its data.
        settings: for how long silences are made.
        now: the moment.
    """
    if listed is None:
        return Kept({each.life.alert.identity: each.life.acknowledgement for each in watched})
    look = _Look(listed, former, settings, now)
    acknowledgements: dict[str, Acknowledgement | None] = {}
    held: dict[str, Silence] = {}
    wanted: dict[str, Silence] = {}
    lost: dict[object, Silence] = {}
    for each in watched:
        holding = look.holding(each)
        held |= {silence.id: silence for silence in holding}
        known = look.acknowledgement(each.life, holding)
        acknowledgements[each.life.alert.identity] = known
        if look.was_seen(each.life):
            wanted |= {silence.id: silence for silence in holding}
        if known and not holding and look.was_seen(each.life):
            again = look.again(each.life, known)
            lost[again.matchers, again.created_by, words(again.comment)] = again
    return Kept(
        acknowledgements,
        prolong=tuple(look.prolonged(wanted.values())),
        expire=tuple(look.over(held, list(resolved))),
        make=tuple(lost.values()),
    )


def remembered(
    former: Mapping[str, Silence], listed: Mapping[str, Silence] | None, kept: Kept
) -> dict[str, Silence]:
    """Give the silences that may have to be made again, as last listed: `former` of the next look."""
    ids = {known.silence_id for known in kept.acknowledgements.values() if known}
    return {name: silence for name, silence in {**former, **(listed or {})}.items() if name in ids}


class _Look:
    """What Alertmanager says at one moment."""

    def __init__(
        self,
        listed: Mapping[str, Silence],
        former: Mapping[str, Silence],
        settings: AcknowledgementSettings,
        now: datetime,
    ) -> None:
        self._listed = listed
        self._former = former
        self._settings = settings
        self._now = now
        active = (each for each in listed.values() if each.state == "active" and is_acknowledgement(each))
        self._active = {silence.id: silence for silence in active}
        self._covering = Covering(self._active.values())

    def was_seen(self, life: Life) -> bool:
        """Say whether anybody has seen an alert fire within a period.

        While Prometheus is away nothing is taken for resolved; but what no Alertmanager lists any more must
        not be silenced for days, for it may fire anew.
        """
        return (self._now - life.last_seen).total_seconds() <= self._settings.period

    def holding(self, watched: Watched) -> list[Silence]:
        """Give the acknowledgements that silence an alert.

        Alertmanager does not say so for an alert that it has forgotten, nor for a silence that is younger
        than its answer, so their matchers count, too.
        """
        life, told = watched
        ids = told or frozenset()
        if told is None and life.acknowledgement:
            ids |= {life.acknowledgement.silence_id}
        holding = {silence.id: silence for silence in self._covering.of(life.alert.labels)}
        holding |= {each: self._active[each] for each in ids & self._active.keys()}
        return list(holding.values())

    def acknowledgement(self, life: Life, holding: Sequence[Silence]) -> Acknowledgement | None:
        """Say who has taken an alert; when nothing holds it and somebody has, their silence was lost."""
        if holding:
            return self._taken(life, min(holding, key=lambda silence: (silence.starts_at, silence.id)))
        known = life.acknowledgement
        return known if known and self._is_lost(known) else None

    def _taken(self, life: Life, silence: Silence) -> Acknowledgement:
        """Describe who took an alert; whose silence is made again or replaced has not taken it anew."""
        at = max(silence.starts_at, life.alert.starts_at)
        by, text = owner(silence), words(silence.comment)
        known = life.acknowledgement
        if known and (known.silence_id == silence.id or known.by == by):
            at = min(at, known.at)
        return Acknowledgement(at, by, text, silence.id, limit_of(silence, self._settings.limit))

    def _is_lost(self, known: Acknowledgement) -> bool:
        """Say whether an acknowledgement ended though nobody ended it and its limit is not reached."""
        limit = self._limit(known)
        if limit - self._now < _LEAST:
            return False
        silence = self._listed.get(known.silence_id)
        if silence is None:
            return True
        lapsed = silence.state == "expired" and silence.ends_at - silence.updated_at > _EXPIRED_BY_HAND
        return lapsed and limit - silence.ends_at >= _LEAST

    def _limit(self, known: Acknowledgement) -> datetime:
        return known.limit or after(known.at, self._settings.limit)

    def again(self, life: Life, known: Acknowledgement) -> Silence:
        """Make what was lost: with its matchers if they are known, else for this alert alone."""
        lost = self._listed.get(known.silence_id) or self._former.get(known.silence_id)
        return make(
            lost.matchers if lost else matchers_for(life.alert.labels),
            by=known.by,
            text=known.comment,
            now=self._now,
            period=self._settings.period,
            limit=self._limit(known),
        )

    def prolonged(self, held: Iterable[Silence]) -> Iterable[Silence]:
        """Give those that have less than half a period left, with their new ends."""
        for silence in held:
            end = min(after(self._now, self._settings.period), limit_of(silence, self._settings.limit))
            is_due = (silence.ends_at - self._now).total_seconds() < self._settings.period / 2
            if is_due and end - silence.ends_at > _ROUNDING:
                yield until(silence, end)

    def over(self, held: Mapping[str, Silence], resolved: Sequence[Life]) -> list[Silence]:
        """Give those of ours whose alerts have all resolved.

        They acknowledged one that has, or are the twin of one that did, or began before it ended and fit it.
        """
        idle = [each for each in self._active.values() if each.id not in held and is_ours(each)]
        ids = {life.acknowledgement.silence_id for life in resolved if life.acknowledgement}
        known = {silence.matchers for silence in idle if silence.id in ids}
        covering = Covering(idle)
        about = {
            silence.id
            for life in resolved
            for silence in covering.of(life.alert.labels)
            if _began_before_end(silence, life)
        }
        return [silence for silence in idle if silence.matchers in known or silence.id in about]


def _began_before_end(silence: Silence, life: Life) -> bool:
    return life.ended is None or silence.starts_at <= life.ended.at
