"""When lives of alerts begin and end: one small story for each rule. Times are minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from plimsoll.relay.alert import Alert, identity
from plimsoll.relay.lives.life import Acknowledgement, Life
from plimsoll.relay.lives.look import Firing, Judge, Look, Notice
from plimsoll.relay.lives.runs import Run
from plimsoll.relay.lives.tracker import Tracker

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
GRACE = 5
LONG_AGO = -10_000.0
DISK = {"alertname": "DiskFilling", "instance": "db1:9100", "severity": "high"}
OTHER = {"alertname": "ServerDown", "server": "db2", "severity": "critical"}
TEXTS = {"summary": "The disk of db1 fills."}


def minute(number: float) -> datetime:
    return EPOCH + timedelta(minutes=number)


def minutes(at: datetime) -> float:
    return (at - EPOCH) / timedelta(minutes=1)


def alert(since: float, labels: dict[str, str] = DISK, **changed: str) -> Alert:
    return Alert({**labels, **changed}, TEXTS, minute(since), "f1")


def run(first: float, last: float, labels: dict[str, str] = DISK, **changed: str) -> Run:
    return Run({**labels, **changed}, minute(first), minute(last))


def firing(at: float, since: float) -> Firing:
    return Firing(alert(since), minute(at))


def resolved(at: float, since: float) -> Notice:
    return Notice(alert(since), minute(at))


class Story:
    """A tracker, and programs that run for long and know of nothing unless said otherwise."""

    def __init__(self, met: float | None = -100) -> None:
        self.tracker = Tracker(timedelta(minutes=GRACE))
        self.ended: list[tuple[float, float, bool]] = []
        if met is not None:
            self.look(met)

    def look(
        self,
        at: float,
        *listed: Alert,
        shown: Iterable[dict[str, str]] | None = None,
        pending: Iterable[dict[str, str]] = (),
        alertmanager: float | None = LONG_AGO,
        prometheus: float | None = LONG_AGO,
        firing: Sequence[Firing] = (),
        notices: Sequence[Notice] = (),
        runs: Sequence[Run] = (),
    ) -> list[Life]:
        """Look; Prometheus shows what is listed unless told what else, and None is a program that is away."""
        labels = [each.labels for each in listed] if shown is None else shown
        judge = prometheus is not None and Judge(
            minute(prometheus), frozenset(map(identity, labels)), frozenset(map(identity, pending))
        )
        ended = self.tracker.judge(
            Look(
                minute(at),
                listed,
                None if alertmanager is None else minute(alertmanager),
                judge or None,
                firing,
                notices,
                runs,
            )
        )
        self.ended += [
            (minutes(e.alert.starts_at), minutes(e.ended.at), e.ended.told) for e in ended if e.ended
        ]
        return ended

    def remember(
        self, lives: Iterable[Life], covered_until: float, ended: Mapping[str, datetime] | None = None
    ) -> None:
        """Learn what the history knows."""
        self.tracker.remember(lives, minute(covered_until), ended or {})

    @property
    def starts(self) -> list[float]:
        """When the lives began that are not over."""
        return [minutes(life.alert.starts_at) for life in self.tracker.unresolved.values()]

    @property
    def life(self) -> Life:
        (life,) = self.tracker.unresolved.values()
        return life


@pytest.fixture
def story() -> Story:
    return Story()


# --- how a life begins ------------------------------------------------------------------------------------


def test_a_life_begins_with_what_alertmanager_lists(story: Story) -> None:
    assert story.look(1, alert(since=0.5)) == []

    assert story.life.alert == alert(since=0.5)
    assert (story.life.last_seen, story.life.status) == (minute(1), "open")


def test_a_life_begins_with_a_notification(story: Story) -> None:
    story.look(1, firing=[firing(0.9, since=0.5)], shown=[DISK])

    assert story.life.alert == alert(since=0.5)
    assert story.life.last_seen == minute(0.9)


def test_a_life_begins_with_a_series_and_gets_its_texts_later(story: Story) -> None:
    story.look(1, runs=[run(0.5, 0.5)], shown=[DISK], alertmanager=None)
    assert (story.starts, story.life.alert.annotations) == ([0.5], None)

    story.look(2, alert(since=0.5), runs=[run(0.5, 1.5)])
    assert (story.starts, story.life.alert.annotations) == ([0.5], TEXTS)


def test_the_earliest_start_counts(story: Story) -> None:
    story.look(1, alert(since=0.8))
    story.look(2, alert(since=0.8), alert(since=0.2))
    story.look(3, alert(since=0.8))

    assert story.starts == [0.2]


def test_the_earliest_start_counts_among_series_too(story: Story) -> None:
    story.look(20, runs=[run(10, 15, severity="critical"), run(0, 19)], shown=[DISK])

    assert story.starts == [0]


def test_a_sample_has_its_time_in_milliseconds_and_the_alert_in_nanoseconds(story: Story) -> None:
    story.look(1, runs=[run(0.5, 0.5)], shown=[DISK], alertmanager=None)
    story.look(2, alert(since=0.5 + 1e-5), runs=[run(0.5, 0.5)])

    assert (story.starts, story.ended) == ([0.5], [])


# --- how a life ends --------------------------------------------------------------------------------------


def test_a_notice_is_believed_at_once(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, notices=[resolved(10.5, since=0)])

    assert story.ended == [(0, 10.5, True)]


def test_absence_counts_after_the_grace_and_from_when_it_was_last_seen(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11)
    story.look(14.9)
    assert story.ended == []

    story.look(15)
    assert story.ended == [(0, 10, False)]


@pytest.mark.parametrize(
    "witness",
    [{"listed": True}, {"shown": True}],
    ids=["an Alertmanager lists it", "Prometheus shows it"],
)
def test_a_notice_is_not_believed_while(witness: dict[str, bool], story: Story) -> None:
    listed = [alert(since=0)] if witness.get("listed") else []
    shown = [DISK] if witness.get("shown") else []
    story.look(10, alert(since=0))
    story.look(11, *listed, shown=shown, notices=[resolved(10.5, since=0)])
    assert story.ended == []

    story.look(12)
    assert story.ended == [(0, 10.5, True)]


UNSETTLED = {
    "no Alertmanager answers": {"alertmanager": None},
    "Prometheus does not answer": {"prometheus": None},
    "Alertmanager has just started": {"alertmanager": 16.0},
    "Prometheus has just started": {"prometheus": 16.0},
}


@pytest.mark.parametrize("programs", UNSETTLED.values(), ids=UNSETTLED.keys())
def test_nothing_ends_while(programs: dict[str, float | None], story: Story) -> None:
    story.look(10, alert(since=0), alert(since=0, labels=OTHER))
    for at in range(16, 21):
        story.look(at, **programs, notices=[resolved(10.5, since=0)])  # type: ignore[arg-type]

    assert story.ended == []
    assert len(story.starts) == 2


def test_nothing_ends_before_prometheus_has_answered_for_a_grace() -> None:
    """It may have read its data for longer than that, and evaluates nothing before."""
    story = Story(met=None)
    story.look(10, alert(since=0), prometheus=None)
    story.look(20, prometheus=11, notices=[resolved(15, since=0)])
    story.look(24, prometheus=11)
    assert story.ended == []

    story.look(25, prometheus=11)
    assert story.ended == [(0, 15, True)]


def test_absence_counts_from_when_everybody_has_settled(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(13, prometheus=12)
    story.look(22.9, prometheus=12)
    assert story.ended == []

    story.look(23, prometheus=12)
    assert story.ended == [(0, 10, False)]


def test_one_of_two_that_is_away_now_and_then_does_not_keep_a_life(story: Story) -> None:
    story.look(10, alert(since=0))
    for at in range(11, 15):
        story.look(at, prometheus=None if at % 2 else LONG_AGO)
    story.look(15)

    assert story.ended == [(0, 10, False)]


def test_what_alertmanager_has_forgotten_goes_on_as_long_as_prometheus_shows_it(story: Story) -> None:
    story.look(10, alert(since=0))
    for at in range(11, 30):
        story.look(at, shown=[DISK], alertmanager=11)

    assert (story.starts, story.ended) == ([0], [])


def test_what_prometheus_does_not_know_goes_on_as_long_as_it_is_listed(story: Story) -> None:
    for at in range(1, 30):
        story.look(at, alert(since=0), shown=[])

    assert (story.starts, story.ended) == ([0], [])


def test_an_old_notice_does_not_end_what_went_on_long_after(story: Story) -> None:
    story.look(10, alert(since=0), notices=[resolved(10, since=0)])
    story.look(16, alert(since=0))
    story.look(17)
    assert story.ended == []

    story.look(21)
    assert story.ended == [(0, 16, False)]


# --- restarts of Prometheus -------------------------------------------------------------------------------


def test_an_alert_that_waits_once_more_after_a_restart_goes_on(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(14, prometheus=None, notices=[resolved(13.9, since=0)])
    for at in range(13, 20):
        story.look(at, prometheus=12, pending=[DISK])
    story.look(20, alert(since=20), prometheus=12, firing=[firing(20, since=20)], runs=[run(20, 20)])
    story.look(30, alert(since=20), prometheus=12, runs=[run(20, 30)])

    assert (story.starts, story.ended) == ([0], [])


def test_while_prometheus_is_away_alertmanager_cannot_tell_two_lives(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(20, alert(since=19), prometheus=None, notices=[resolved(14, since=0)])
    story.look(30, alert(since=19))

    assert (story.starts, story.ended) == ([0], [])


def test_the_notice_from_before_it_fired_again_is_void(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(14, prometheus=None, notices=[resolved(13.9, since=0)])
    story.look(16, alert(since=16), prometheus=11, runs=[run(16, 16)])
    story.look(17, prometheus=11)
    assert story.ended == []

    story.look(21, prometheus=11)
    assert story.ended == []

    story.look(26, prometheus=11)
    assert story.ended == [(0, 16, False)]


def test_an_alert_that_waits_without_a_restart_is_over(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, notices=[resolved(10.5, since=0)], pending=[DISK])

    assert story.ended == [(0, 10.5, True)]


def test_a_restart_does_not_explain_what_began_before_it(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(60, shown=[], prometheus=40, runs=[run(5, 12), run(20, 30)])

    assert story.ended == [(0, 12, False)]
    assert story.starts == [20]


def test_an_alert_that_fires_long_after_a_restart_is_another(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(100, alert(since=99), prometheus=20, runs=[run(5, 10), run(99, 99)])

    assert (story.ended, story.starts) == ([(0, 10, False)], [99])


def test_what_alertmanager_listed_on_does_not_hide_a_restart(story: Story) -> None:
    """The history tells when somebody saw an alert, which may have been after Prometheus had gone."""
    story.remember([Life(alert(since=0), minute(14))], 10)
    story.look(30, alert(since=20), prometheus=12, runs=[run(5, 10), run(20, 30)])

    assert (story.ended, story.starts) == ([], [0])


# --- one life or two? -------------------------------------------------------------------------------------


def test_resolved_and_fired_again_between_two_looks(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, alert(since=10.8), notices=[resolved(10.3, since=0)], firing=[firing(10.9, since=10.8)])

    assert (story.ended, story.starts) == ([(0, 10.3, True)], [10.8])


def test_twice_resolved_between_two_looks(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, notices=[resolved(10.2, since=0), resolved(10.8, since=10.4)])

    assert story.ended == [(0, 10.2, True), (10.4, 10.8, True)]


def test_fired_again_without_a_notice(story: Story) -> None:
    story.look(10, alert(since=0), runs=[run(5, 10)])
    story.look(12, alert(since=11.5), runs=[run(5, 11.5)])

    assert (story.ended, story.starts) == ([(0, 10, False)], [11.5])


def test_fired_again_after_a_while(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(15)
    story.look(40, alert(since=39))

    assert (story.ended, story.starts) == ([(0, 10, False)], [39])


def test_severity_follows_while_both_are_listed(story: Story) -> None:
    story.look(10, alert(since=0, severity="warning"))
    story.look(11, alert(since=0, severity="warning"), alert(since=10.5, severity="critical"))
    assert story.life.alert.labels["severity"] == "critical"

    story.look(12, alert(since=0, severity="warning"))
    assert story.life.alert.labels["severity"] == "warning"
    assert (story.starts, story.ended) == ([0], [])


def test_the_graver_of_two_severities_counts_even_if_it_began_earlier(story: Story) -> None:
    """As foreign rules do: a milder one that waits for longer."""
    both = alert(since=5, severity="critical"), alert(since=15, severity="warning")
    for listed in (both, both[::-1]):
        story.look(20, *listed)
        assert story.life.alert.labels["severity"] == "critical"

    assert story.starts == [5]


@pytest.mark.parametrize("label", ["severity", "override"])
def test_one_label_follows_upon_the_other(label: str, story: Story) -> None:
    before, after = {**DISK, label: "warning"}, {**DISK, label: "critical"}
    story.look(10, alert(since=0, labels=before), runs=[run(5, 9.5, before)])
    story.look(
        11,
        alert(since=10.5, labels=after),
        runs=[run(5, 10, before), run(10.5, 10.5, after)],
    )

    assert (story.starts, story.ended) == ([0], [])
    assert story.life.alert.labels[label] == "critical"


def test_another_label_is_another_alert(story: Story) -> None:
    story.look(10, alert(since=0), alert(since=1, instance="db2:9100"))

    assert story.starts == [0, 1]


# --- late news --------------------------------------------------------------------------------------------


def test_late_news_begin_no_life(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, notices=[resolved(10.5, since=0)])
    late = {
        "a peer that lags": story.look(12, alert(since=0), shown=[]),
        "series that overlap": story.look(12, runs=[run(7, 10)]),
        "a notification that was tried again": story.look(12, firing=[firing(12, since=0)]),
        "a notice for another receiver": story.look(12, notices=[resolved(10.5, since=0)]),
    }

    assert not any(late.values())
    assert story.starts == []


def test_late_news_do_not_change_the_next_life(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(11, notices=[resolved(10.5, since=0)])
    story.look(13, alert(since=12))
    story.look(14, alert(since=12), notices=[resolved(10.5, since=0)], runs=[run(7, 14)])
    story.look(15, runs=[run(7, 14)])
    assert story.starts == [12]

    story.look(20)
    assert story.ended == [(0, 10.5, True), (12, 14, False)]


def test_news_of_a_life_that_nobody_remembers_do_not_change_the_next(story: Story) -> None:
    """A relay that was restarted knows of no ends."""
    story.look(13, alert(since=12))
    story.look(14, alert(since=12), notices=[resolved(10.5, since=0)], runs=[run(9, 10)])
    story.look(15, shown=[DISK])
    assert story.starts == [12]

    story.look(16)
    assert story.ended == []


def test_what_goes_on_for_long_was_not_over(story: Story) -> None:
    story.look(10, alert(since=0))
    story.look(15)
    story.look(21, alert(since=0))

    assert (story.ended, story.starts) == ([(0, 10, False)], [0])


# --- short ones -------------------------------------------------------------------------------------------


def test_an_alert_between_two_looks_by_its_series(story: Story) -> None:
    story.look(11, runs=[run(10.3, 10.6)])
    story.look(16, runs=[run(10.3, 10.6)])
    story.look(17, runs=[])

    assert story.ended == [(10.3, 10.6, False)]


def test_an_alert_between_two_looks_by_its_notifications(story: Story) -> None:
    (life,) = story.look(11, firing=[firing(10.4, since=10.3)], notices=[resolved(10.6, since=10.3)])

    assert story.ended == [(10.3, 10.6, True)]
    assert life.alert.annotations == TEXTS


def test_a_clock_that_was_ahead_for_one_look(story: Story) -> None:
    for at in (1, 500_000, 2):
        story.look(at, alert(since=0.5))
    story.look(3)
    story.look(20)

    assert story.ended == [(0.5, 2, False)]


def test_an_end_that_was_remembered_from_the_future_hides_nothing(story: Story) -> None:
    story.remember([], 500_000, ended={identity(DISK): minute(500_000)})
    story.look(5)
    story.look(10, alert(since=9), runs=[run(9, 10)])

    assert story.starts == [9]


# --- the history, and what happened while the relay was away ----------------------------------------------


def taken(at: float) -> Acknowledgement:
    return Acknowledgement(minute(at), "ann", "looking", "s1", None)


def test_a_remembered_life_goes_on_and_stays_taken(story: Story) -> None:
    story.remember([Life(alert(since=0), minute(9), taken(3))], 9.5)
    story.look(60, alert(since=0), runs=[run(4.5, 60)])

    assert (story.starts, story.life.acknowledgement) == ([0], taken(3))
    assert story.life.status == "acknowledged"


def test_a_remembered_life_that_ended_meanwhile(story: Story) -> None:
    story.remember([Life(alert(since=0), minute(9), taken(3))], 9.5)
    (life,) = story.look(60, runs=[run(4.5, 20)])

    assert story.ended == [(0, 20, False)]
    assert (life.acknowledgement, life.status) == (taken(3), "resolved")


@pytest.mark.parametrize(
    ("covered_until", "end"), [(9.9, 9.9), (12.0, 9.0)], ids=["just behind", "gone before"]
)
def test_when_a_remembered_life_was_seen_last(covered_until: float, end: float, story: Story) -> None:
    story.remember([Life(alert(since=0), minute(9))], covered_until)
    story.look(60)

    assert story.ended == [(0, end, False)]


def test_series_that_are_cut_belong_to_a_life_that_was_written_a_minute_before(story: Story) -> None:
    story.remember([Life(alert(since=0), minute(9))], 14.8)
    story.look(60, runs=[run(9.8, 9.8)])

    assert story.ended == [(0, 9.8, False)]


def test_several_lives_while_the_relay_was_away(story: Story) -> None:
    story.remember([Life(alert(since=0), minute(10), taken(3))], 10)
    story.look(300, alert(since=280), runs=[run(5, 30), run(100, 120), run(200, 210), run(280, 300)])

    assert story.ended == [(0, 30, False), (100, 120, False), (200, 210, False)]
    assert (story.starts, story.life.acknowledgement) == ([280], None)


def test_what_ended_before_the_relay_was_away_is_in_the_history(story: Story) -> None:
    story.remember([], 10)
    story.look(60, runs=[run(5, 9), run(7, 12, labels=OTHER)])

    assert story.ended == [(7, 12, False)]


def test_a_life_soon_after_one_whose_end_the_history_knows(story: Story) -> None:
    story.remember([], 12, ended={identity(DISK): minute(10)})
    story.look(13, alert(since=12.5), runs=[run(8, 13)])
    story.look(60, alert(since=12.5), runs=[run(8, 13), run(55, 60)])

    assert (story.starts, story.ended) == ([12.5], [])


def test_the_history_knows_of_an_earlier_start_and_of_who_took_it(story: Story) -> None:
    story.look(10, alert(since=8))
    story.remember([Life(alert(since=0), minute(9), taken(3))], 10)

    assert (story.starts, story.life.acknowledgement) == ([0], taken(3))


def test_who_has_taken_an_alert_is_noted_and_undone(story: Story) -> None:
    story.look(10, alert(since=0))
    key = story.life.alert.identity
    story.tracker.acknowledge({key: taken(9), "of another": taken(9)})
    assert story.life.acknowledgement == taken(9)

    story.tracker.acknowledge({key: None})
    assert story.life.acknowledgement is None


# --- clocks, and what is sent by mistake ------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-4.0, 4.0])
def test_the_clock_of_prometheus_may_be_off(ahead: float, story: Story) -> None:
    story.look(10, alert(since=9.9 + ahead))
    story.look(11, alert(since=9.9 + ahead))
    assert story.starts == [9.9 + ahead]

    story.look(13, notices=[resolved(12.8 + ahead, since=9.9 + ahead)])
    story.look(14, alert(since=13.9 + ahead))
    assert story.ended == [(9.9 + ahead, max(12.8, 9.9) + ahead, True)]
    assert story.starts == [13.9 + ahead]


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_no_time_is_too_far_away(at: datetime, story: Story) -> None:
    odd = Alert(DISK, TEXTS, at)
    for number in range(1, 4):
        story.look(number, odd, notices=[Notice(odd, at)], firing=[Firing(odd, minute(number))])
        story.look(number + 0.3, notices=[Notice(odd, at)])
        story.look(number + 0.6, runs=[run(0, number)])
    story.look(20)
    assert story.starts == []

    story.look(30, alert(since=29))
    assert story.starts == [29]


def test_what_is_over_is_forgotten(story: Story) -> None:
    notices = [Notice(alert(0, instance=str(number)), minute(1)) for number in range(5_000)]
    assert len(story.look(1, notices=notices)) == len(notices)
    assert story.look(2, notices=20 * notices) == []

    story.look(3 * 24 * 60)
    held = [value for value in vars(story.tracker).values() if isinstance(value, dict | list)]
    assert not any(held)
