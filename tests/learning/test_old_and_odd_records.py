"""What a column makes of records that are dated ahead, too large, or new to it although their pods are old."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.reward import EDITED, RewardRecord, encode_value
from kubesteer.model.runs import PodRuns
from kubesteer.rewards.column import Column
from kubesteer.rewards.entry import MOST_PODS
from kubesteer.rewards.learners import BetaLearner
from tests.learning.runs import HALF_LIFE_S, T, end, judged, outcome, pod, running, waiting

BETA = BetaLearner(HALF_LIFE_S)
DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


def column(*records: RewardRecord, now_s: float = 0) -> Column:
    made = Column("n1", BETA)
    made.load(records, T + now_s)
    return made


def record(**extra: Any) -> RewardRecord:
    return RewardRecord("n1", "web", 0.2, 8, T, extra)


def left(of: Column, now_s: float) -> float:
    """The evidence of the type web so long after T."""
    estimate = of.estimate("web")
    assert estimate is not None
    return BETA.evidence_at(estimate, T + now_s)


def written(of: Column) -> RewardRecord:
    [found] = of.records()
    return found


def test_a_record_dated_ahead_is_dated_now_and_written_so() -> None:
    ahead = column(now_s=YEAR_S)
    ahead.learn(outcome(0, at_s=YEAR_S), T + YEAR_S)
    one = column(written(ahead))
    assert one.dirty() == 1
    assert (left(one, 0), left(one, HALF_LIFE_S)) == (1, 0.5)
    assert written(one).time_s == T
    assert written(one).extra["seen"] == {"u1": {"main/run": [0, 0, T]}}


def test_a_record_that_is_not_ahead_is_not_written_again() -> None:
    one = column(record(), now_s=10)
    assert (one.dirty(), left(one, 0)) == (0, 8)


def test_an_edit_dated_ahead_is_dated_now() -> None:
    one = column(record())
    edited = RewardRecord("n1", "web", 1, 4, T + YEAR_S, {EDITED: "2026-01-01T00:00:00Z"})
    assert one.adopt([edited], T + 10) == ["web"]
    assert (left(one, 10), left(one, 10 + HALF_LIFE_S)) == (4, 2)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"note": "x" * 1_100_000}, id="unknown"),
        pytest.param({f"note{number}": "x" * 1000 for number in range(1100)}, id="many unknown"),
        pytest.param({"recent": [{"value": 0, "note": "x" * 1_100_000}]}, id="outcome"),
        pytest.param({"seen": {"x" * 1_100_000: {"main/run": [0, 0, 0]}}}, id="seen"),
        pytest.param({"noted": {"x" * 1_100_000: {"startup_s": 1}}}, id="noted"),
    ],
)
def test_a_record_that_is_too_large_to_be_written_is_repaired(odd: dict[str, Any]) -> None:
    one = column(record(**odd, owner="shop"))
    one.learn(outcome(0), T)
    assert len(encode_value(written(one))) < 10_000
    assert (written(one).extra["owner"], left(one, 0)) == ("shop", 9)


def test_an_edit_of_a_record_that_is_too_large_is_taken_over_once() -> None:
    one, edited = column(), record(note="x" * 5000, edited="2026-01-01T00:00:00Z")
    assert [one.adopt([edited], T), one.adopt([edited], T)] == [["web"], []]


def test_what_many_pods_did_is_not_too_large() -> None:
    one = column()
    for number in range(MOST_PODS):
        for container in ("web", "log", "mesh", "sync"):
            uid = f"00000000-0000-4000-8000-{number:012}"
            one.learn(outcome(0, uid=uid, container=container, at_s=0.123), T + 1)
    assert len(written(column(written(one), now_s=1)).extra["seen"]) == MOST_PODS


def failed_before(runs: int, *, ended_s: float) -> PodRuns:
    """A pod of T whose last of so many runs ended so long after T."""
    return pod(waiting("CrashLoopBackOff", run=runs - 1, last=end(1, ended_s - 5, ended_s)))


@pytest.mark.parametrize(
    ("runs", "ended_s", "counted"),
    [
        pytest.param(4, 60, 4, id="all of a pod that came and crashed while nobody looked"),
        pytest.param(13, HALF_LIFE_S, 13, id="all of one half-life"),
        pytest.param(13, 2 * HALF_LIFE_S, 7, id="6 of the 12 before, of two half-lives"),
        pytest.param(301, 300 * DAY_S, 1, id="300 / (300 x 24) of the 300 before: none"),
        pytest.param(7201, 300 * DAY_S, 2, id="7200 / (300 x 24) of the 7200 before: 1"),
        pytest.param(10**6, 300 * DAY_S, 101, id="no more than 100 of the 999 999 / 7200 = 138"),
    ],
)
def test_of_a_container_that_is_new_here_only_recent_runs_count(runs: int, ended_s: float, counted: int) -> None:
    told, now_s = failed_before(runs, ended_s=ended_s), ended_s + 60
    one, early = column(), Column("n1", BETA)
    one.take(told, judged(told, now_s), T + now_s)
    early.take(told, judged(told, now_s), T + now_s)
    early.load([], T + now_s)
    assert (one.counted, early.counted) == (counted, counted)
    assert left(one, ended_s) == pytest.approx(counted)


def test_runs_since_the_last_one_that_was_counted_all_count_however_old_the_pod_is() -> None:
    one = column()
    for runs, ended_s in ((1, 300 * DAY_S), (5, 300 * DAY_S + 600)):
        told = failed_before(runs, ended_s=ended_s)
        one.take(told, judged(told, ended_s), T + ended_s)
    assert one.counted == 5


def test_what_is_measured_again_and_again_does_not_fade() -> None:
    one, steady = column(), pod(running(0))
    for now_s in range(0, 10 * int(HALF_LIFE_S), 60):
        one.take(steady, judged(steady, now_s, measure=0.3), T + now_s)
    # counted anew once more than half a half-life is over: 1 run's worth then, 2^(-1/2) just before
    assert 2**-0.52 < left(one, 10 * HALF_LIFE_S) <= 1
    assert (one.counted, written(one).mean) == (1, pytest.approx(0.3))
    assert len(written(one).extra["recent"]) == 1
    for now_s in range(10 * int(HALF_LIFE_S), 12 * int(HALF_LIFE_S), 60):
        one.take(steady, judged(steady, now_s), T + now_s)
    assert left(one, 12 * HALF_LIFE_S) <= 1 / 4, "what is measured no more fades"


def test_a_value_that_is_measured_again_soon_writes_nothing() -> None:
    one = column()
    times_s = (0, HALF_LIFE_S / 2, HALF_LIFE_S / 2 + 1)
    told = [one.learn(outcome(0.3, reason="Network", at_s=now_s), T + now_s) for now_s in times_s]
    assert told == [True, False, True]


def test_outcomes_are_shown_in_the_order_of_time_whenever_they_were_learned() -> None:
    one, now_s = column(), T + 100
    one.learn(outcome(0, at_s=50, uid="u1"), now_s)
    one.learn(outcome(0, at_s=10, uid="u2"), now_s)
    one.learn(outcome(1, at_s=30, uid="u3"), now_s)
    one.learn(outcome(0, at_s=40, uid="u3"), now_s)
    assert [each["pod"] for each in written(one).extra["recent"]] == ["default/u2", "default/u3", "default/u1"]
    assert [each["pod"] for each in written(one).extra["bad"]] == ["default/u2", "default/u3", "default/u1"]


def test_outcomes_dated_ahead_do_not_keep_new_ones_from_being_shown() -> None:
    one = column(now_s=YEAR_S)
    for run in range(10):
        one.learn(outcome(0, run=run, at_s=YEAR_S), T + YEAR_S)
    again = column(written(one))
    again.learn(outcome(0, run=10), T)
    assert written(again).extra["recent"][-1]["run"] == 10
