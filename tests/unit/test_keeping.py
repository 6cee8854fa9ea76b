"""Acknowledgements are prolonged, ended, undone, and made again, as things stand; also by two relays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.alerts.settings import AcknowledgementSettings
from plimsoll.relay.acknowledging.keeping import Kept, Watched, keep, remembered
from plimsoll.relay.acknowledging.silences import covers, is_ours, limit_of, make, matchers_for, words
from plimsoll.relay.alert import Alert
from plimsoll.relay.lives.life import Acknowledgement, End, Life
from plimsoll.relay.sources.alertmanager import Silence, SilenceMatcher

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
BEGAN = NOW - timedelta(hours=1)
PERIOD = timedelta(minutes=15)
LIMIT = timedelta(days=3)
SETTINGS = AcknowledgementSettings.model_validate({"period": "15m", "limit": "3d"})
LABELS = {"alertname": "Full", "severity": "high", "server": "main"}
ANYTHING = SilenceMatcher("alertname", ".+", is_regex=True)


def ours(name: str = "1", *, made: datetime = BEGAN, left: timedelta = PERIOD, **labels: str) -> Silence:
    """Give an active acknowledgement of ours that was last prolonged so that this much is left."""
    silence = make(
        matchers_for(LABELS | labels), by="ann", text="on it", now=made, period=900, limit=made + LIMIT
    )
    return replace(silence, id=name, ends_at=NOW + left, updated_at=NOW + left - PERIOD)


def foreign(**changes: object) -> Silence:
    """Give one that another tool made, for everything."""
    return replace(ours(), matchers=(ANYTHING,), comment="ACK! via karma", created_by="bob", **changes)  # type: ignore[arg-type]


def expired(silence: Silence, at: datetime = NOW) -> Silence:
    """Give it as somebody ended it."""
    return replace(silence, state="expired", ends_at=at, updated_at=at)


def lapsed(silence: Silence, at: datetime = NOW - timedelta(minutes=1)) -> Silence:
    """Give it as it is when nobody prolonged it."""
    return replace(silence, state="expired", ends_at=at, updated_at=at - PERIOD)


def life(silence: Silence | None = None, *, began: datetime = BEGAN, **labels: str) -> Life:
    """Give a life, acknowledged by a silence if there is one."""
    known = None
    if silence:
        limit = limit_of(silence, LIMIT.total_seconds())
        by, text = silence.created_by, words(silence.comment)
        known = Acknowledgement(silence.starts_at, by, text, silence.id, limit)
    return Life(Alert(LABELS | labels, {}, began), NOW, known)


def look(
    lives: Iterable[tuple[Life, frozenset[str] | set[str] | None]] = (),
    silences: Iterable[Silence] | None = (),
    resolved: Iterable[Life] = (),
    former: Iterable[Silence] = (),
    now: datetime = NOW,
) -> Kept:
    return keep(
        None if silences is None else {silence.id: silence for silence in silences},
        [Watched(each, None if ids is None else frozenset(ids)) for each, ids in lives],
        resolved,
        former={silence.id: silence for silence in former},
        settings=SETTINGS,
        now=now,
    )


def only(kept: Kept) -> Acknowledgement | None:
    (known,) = kept.acknowledgements.values()
    return known


def taken(kept: Kept) -> Acknowledgement:
    known = only(kept)
    assert known
    return known


def ended(each: Life, at: datetime = NOW) -> Life:
    return replace(each, ended=End(at, told=False))


def nothing_to_do(kept: Kept) -> bool:
    return not (kept.prolong or kept.expire or kept.make)


# who has taken it


@pytest.mark.parametrize("silence", [ours(), foreign()])
def test_an_acknowledgement_takes_what_it_silences(silence: Silence) -> None:
    kept = look([(life(), {"1", "plain"})], [silence])

    assert kept.acknowledgements.keys() == {life().alert.identity}
    assert only(kept) == life(silence).acknowledgement
    assert nothing_to_do(kept)


def test_the_earliest_counts() -> None:
    later = ours("0", made=BEGAN + timedelta(minutes=1))

    assert only(look([(life(), {"0", "1"})], [later, foreign()])) == life(foreign()).acknowledgement


def test_a_plain_silence_takes_nothing_and_is_left_alone() -> None:
    plain = replace(ours(left=timedelta(seconds=9)), comment="planned work")

    kept = look([(life(), {"1"})], [plain], [ended(life(plain, server="b"))])

    assert only(kept) is None
    assert nothing_to_do(kept)


def test_an_alert_is_not_taken_before_it_began() -> None:
    kept = look([(life(began=NOW), {"1"})], [ours()])

    assert only(kept) == Acknowledgement(NOW, "ann", "on it", "1", BEGAN + LIMIT)


def test_a_silence_made_again_takes_nothing_anew() -> None:
    again = ours("2", made=NOW)

    known = only(look([(life(ours()), {"2"})], [again, lapsed(ours())]))

    assert known == Acknowledgement(BEGAN, "ann", "on it", "2", NOW + LIMIT)


def test_who_replaces_their_own_silence_has_not_taken_it_anew() -> None:
    later = replace(ours("2", made=NOW), comment="ACK! until noon [plimsoll, until 2026-11-22T12:00:00Z]")

    kept = look([(life(ours()), {"2"})], [later, expired(ours())])

    assert only(kept) == Acknowledgement(BEGAN, "ann", "until noon", "2", NOW + timedelta(hours=26))
    assert nothing_to_do(kept)


def test_somebody_else_takes_it_anew() -> None:
    other = replace(ours("2", made=NOW), created_by="cid")

    known = only(look([(life(ours()), {"2"})], [other, expired(ours())]))

    assert known == Acknowledgement(NOW, "cid", "on it", "2", NOW + LIMIT)


def test_a_changed_severity_changes_nothing() -> None:
    changed = life(ours(), severity="critical", override="x")

    assert only(look([(changed, {"1"})], [ours()])) == life(ours()).acknowledgement


# prolonging


@pytest.mark.parametrize("make_one", [ours, lambda left: replace(foreign(), ends_at=NOW + left)])
@pytest.mark.parametrize(("minutes", "due"), [(7, True), (8, False)])
def test_it_is_prolonged_when_half_a_period_is_left(make_one: object, minutes: int, due: bool) -> None:
    silence = make_one(left=timedelta(minutes=minutes))  # type: ignore[operator]

    kept = look([(life(), {"1"})], [silence])

    assert kept.prolong == ((replace(silence, ends_at=NOW + PERIOD),) if due else ())
    assert not kept.expire + kept.make


def test_it_is_prolonged_for_an_alert_that_alertmanager_has_forgotten() -> None:
    silence = ours(left=timedelta(minutes=1))

    kept = look([(life(silence), None)], [silence])

    assert [each.id for each in kept.prolong] == ["1"]
    assert only(kept) == life(silence).acknowledgement


def test_it_is_prolonged_up_to_its_limit_and_never_shortened() -> None:
    near = ours(made=NOW - LIMIT + timedelta(minutes=10), left=timedelta(minutes=5))
    assert look([(life(near), {"1"})], [near]).prolong == (
        replace(near, ends_at=NOW + timedelta(minutes=10)),
    )

    at_the_limit = replace(near, ends_at=NOW + timedelta(minutes=10))
    beyond = replace(near, ends_at=NOW + timedelta(minutes=11))
    later = NOW + timedelta(minutes=9)
    assert not look([(life(near), {"1"})], [at_the_limit], now=later).prolong
    assert not look([(life(near), {"1"})], [beyond], now=later).prolong


def test_one_made_in_advance_is_left_alone() -> None:
    soon = ours(left=timedelta(seconds=9), server="other")

    assert nothing_to_do(look([(life(), set())], [soon]))


def test_at_its_limit_it_lapses_and_the_alert_is_open_again() -> None:
    last = ours(made=NOW - LIMIT, left=timedelta(0))
    kept = look([(life(last), set())], [lapsed(last, at=NOW)], now=NOW + timedelta(seconds=1))
    assert only(kept) is None
    assert nothing_to_do(kept)
    behind = look([(life(last), set())], [lapsed(last, at=NOW)], now=NOW - timedelta(seconds=9))
    assert only(behind) is None, "the relay's clock may be behind that of Alertmanager"


# the end


def test_ours_ends_with_its_alert_and_those_of_others_lapse() -> None:
    assert look([], [ours()], [ended(life(ours()))]).expire == (ours(),)
    assert nothing_to_do(look([], [foreign()], [ended(life(foreign()))]))
    assert nothing_to_do(look([], [expired(ours())], [ended(life(ours()))]))


def test_it_stays_as_long_as_one_of_its_alerts_fires() -> None:
    wide = replace(ours(), matchers=(ANYTHING,))
    other = life(wide, server="other")

    assert nothing_to_do(look([(other, {"1"})], [wide], [ended(life(wide))]))
    assert nothing_to_do(look([(other, None)], [wide], [ended(life(wide))]))
    assert look([], [wide], [ended(life(wide)), ended(other)]).expire == (wide,)


def test_all_that_were_about_the_alert_end() -> None:
    first, twin = ours(), ours("2", made=NOW)
    third = replace(ours("3"), matchers=(*ours().matchers, SilenceMatcher("job", "")))
    fresh = replace(third, id="4", starts_at=NOW + timedelta(seconds=1))
    gone = ended(life(first), at=NOW - timedelta(minutes=6))

    assert look([], [first, twin, third, fresh], [gone]).expire == (first, twin, third)


def test_one_for_an_alert_that_fires_anew_is_not_ended_for_the_former() -> None:
    fresh = ours("2", made=NOW)
    gone = ended(life(ours()), at=NOW - timedelta(minutes=6))

    assert nothing_to_do(look([], [expired(ours()), fresh], [gone])), "its life is not known yet"
    assert nothing_to_do(look([(life(began=NOW), {"2"})], [expired(ours()), fresh], [gone]))


# undone, or lost


def test_one_that_somebody_ended_is_undone() -> None:
    for ids in (set[str](), None):
        kept = look([(life(ours()), ids)], [expired(ours())])
        assert only(kept) is None
        assert nothing_to_do(kept)


def test_one_that_does_not_fit_any_more_takes_nothing() -> None:
    narrow = replace(ours(), matchers=(SilenceMatcher("severity", "low"),))

    kept = look([(life(narrow), set())], [narrow])

    assert only(kept) is None
    assert nothing_to_do(kept)


def test_one_that_cannot_be_compared_holds_what_alertmanager_has_forgotten() -> None:
    odd = replace(ours(), matchers=(SilenceMatcher("server", "(", is_regex=True),))

    assert only(look([(life(odd), None)], [odd])) == life(odd).acknowledgement


@pytest.mark.parametrize("ids", [set[str](), None])
def test_one_that_nobody_prolonged_in_time_is_made_again(ids: set[str] | None) -> None:
    for silence in (ours(), foreign()):
        kept = look([(life(silence), ids)], [lapsed(silence)])
        (again,) = kept.make
        assert only(kept) == life(silence).acknowledgement
        assert (again.id, again.matchers, again.created_by) == ("", silence.matchers, silence.created_by)
        assert again.comment == f"ACK! {words(silence.comment)} [plimsoll, until 2026-11-24T09:00:00Z]"
        assert (again.starts_at, again.ends_at) == (NOW, NOW + PERIOD)


@pytest.mark.parametrize("ids", [set[str](), None])
def test_one_that_alertmanager_lost_is_made_again(ids: set[str] | None) -> None:
    kept = look([(life(foreign()), ids)], [], former=[foreign()])
    assert [each.matchers for each in kept.make] == [(ANYTHING,)]

    kept = look([(life(foreign()), ids)], [])
    (again,) = kept.make
    assert again.matchers == ours().matchers, "for this alert alone, when nobody knows what it was about"
    assert (again.created_by, words(again.comment)) == ("bob", "via karma")
    assert is_ours(again)
    assert limit_of(again, 1) == BEGAN + LIMIT


def test_what_was_about_several_alerts_is_made_again_once() -> None:
    lives = [(life(foreign(), server=name), None) for name in ("a", "b")]

    assert len(look(lives, [], former=[foreign()]).make) == 1
    assert len(look(lives, []).make) == 2


def test_what_has_been_made_again_is_not_made_once_more() -> None:
    """Also before Alertmanager knows the alert again, or says that the silence fits it."""
    for ids in (set[str](), None):
        kept = look([(life(ours()), ids)], [ours("2", made=NOW)], former=[ours()])
        assert nothing_to_do(kept)
        assert taken(kept).silence_id == "2"


def test_what_may_have_to_be_made_again_is_remembered_until_it_is() -> None:
    """Also while Alertmanager does not take what is made again."""
    kept = look([(life(), {"1"})], [foreign(), ours("2")])
    former = remembered({}, {"1": foreign(), "2": ours("2")}, kept)
    assert former == {"1": foreign()}
    for silences in (None, (), ()):
        kept = look([(life(foreign()), None)], silences, former=former.values())
        former = remembered(former, None if silences is None else {}, kept)
    assert [each.matchers for each in kept.make] == [(ANYTHING,)]
    again = ours("2", made=NOW)
    kept = look([(life(foreign()), None)], [again], former=former.values())
    assert remembered(former, {"2": again}, kept) == {"2": again}


def test_nothing_is_made_again_at_the_limit() -> None:
    last = ours(made=NOW - LIMIT, left=timedelta(0))

    kept = look([(life(last), None)], [], former=[last])

    assert only(kept) is None
    assert nothing_to_do(kept)


def test_without_an_alertmanager_everything_stays() -> None:
    kept = look([(life(ours()), None), (life(server="b"), None)], None, [ended(life(ours(), server="c"))])

    assert list(kept.acknowledgements.values()) == [life(ours()).acknowledgement, None]
    assert nothing_to_do(kept)


# several relays


@dataclass
class FakeAlertmanager:
    """Keeps silences as Alertmanager does."""

    silences: dict[str, Silence] = field(default_factory=dict)
    ids: Iterable[int] = field(default_factory=count)

    def at(self, now: datetime) -> list[Silence]:
        return [
            replace(each, state="expired") if each.ends_at <= now else each for each in self.silences.values()
        ]

    def obey(self, kept: Kept, now: datetime) -> None:
        for each in kept.prolong:
            if self.silences.get(each.id, each).ends_at > now and each.id in self.silences:
                self.silences[each.id] = replace(each, updated_at=now)
        for each in kept.expire:
            if self.silences[each.id].ends_at > now:
                self.silences[each.id] = expired(each, now)
        for each in kept.make:
            name = f"made-{next(iter(self.ids))}"
            self.silences[name] = replace(each, id=name)


STEPS = st.lists(st.sampled_from(["both", "first", "second", "wait", "lose"]), max_size=40)


@pytest.mark.parametrize(("age", "goes_on"), [(PERIOD, True), (2 * PERIOD, False)])
def test_what_nobody_has_seen_for_a_period_is_not_silenced_further(age: timedelta, goes_on: bool) -> None:
    unseen = replace(life(ours()), last_seen=NOW - age)
    near = ours(left=timedelta(minutes=1))

    kept = look([(unseen, None)], [near])
    assert (bool(kept.prolong), only(kept) is not None) == (goes_on, True)
    lost = look([(unseen, None)], [lapsed(ours())])
    assert (bool(lost.make), lost.expire) == (goes_on, ())


@given(STEPS)
def test_two_relays_keep_it_until_its_alert_has_resolved(steps: list[str]) -> None:
    """Whatever is lost, and whoever acts when: it goes on, in two copies at most, and all end."""
    alertmanager = FakeAlertmanager({"1": ours()})
    relays = {"first": life(ours()), "second": life(ours())}
    now = NOW
    for step in [*steps, "both"]:
        now += timedelta(minutes=6)
        if step == "lose":
            alertmanager.silences.clear()
        acting = relays if step == "both" else relays.keys() & {step}
        listed = alertmanager.at(now)
        for name in acting:
            holding = {each.id for each in listed if each.state == "active" and covers(each, LABELS)}
            seen = replace(relays[name], last_seen=now)
            kept = look([(seen, holding)], listed, former=[ours()], now=now)
            relays[name] = replace(relays[name], acknowledgement=only(kept))
            alertmanager.obey(kept, now)
            assert (taken(kept).by, taken(kept).at) == ("ann", BEGAN)
        active = [each for each in alertmanager.at(now) if each.state == "active"]
        assert len(active) <= 2
        assert active or not acting
        assert all(each.ends_at <= BEGAN + LIMIT for each in active)
    for name in relays:
        kept = look([], alertmanager.at(now), [ended(relays[name], now)], now=now)
        alertmanager.obey(kept, now)
    assert not [each for each in alertmanager.at(now) if each.state == "active"]
