"""How an estimate moves: every figure worked out by hand, and bounds that hold whatever the clocks say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import LATEST_TIME_S, RewardRecord
from kubesteer.rewards.learners import (
    BetaLearner,
    CountedOutcome,
    Estimate,
    EwmaLearner,
    Learner,
    NewOutcome,
    NoLearner,
)
from tests.learning.runs import HALF_LIFE_S, T

BETA = BetaLearner(HALF_LIFE_S)
EWMA = EwmaLearner()
HOUR = HALF_LIFE_S


def after(learner: Learner, *outcomes: tuple[float, float]) -> Estimate:
    """The estimate after outcomes of (value, hours after T), all learned when the last of them was."""
    estimate, now_s = None, T + HOUR * max(at for _, at in outcomes)
    for value, at in outcomes:
        estimate = learner.learn(estimate, NewOutcome(value, T + at * HOUR), now_s)
    assert estimate is not None
    return estimate


def approx(mean: float, evidence: float, hours: float) -> object:
    return pytest.approx((mean, evidence, T + hours * HOUR), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize(
    ("outcomes", "want"),
    [
        pytest.param([(1, 0)], approx(1, 1, 0), id="a=1"),
        pytest.param([(0, 0)], approx(0, 1, 0), id="b=1"),
        pytest.param([(0.25, 0)], approx(0.25, 1, 0), id="a=0.25 b=0.75"),
        pytest.param([(1, 0), (0, 0)], approx(0.5, 2, 0), id="a=1 b=1"),
        pytest.param([(1, 0), (0, 1)], approx(1 / 3, 1.5, 1), id="a=1/2 b=1: 0.5 / 1.5"),
        pytest.param([(1, 0), (1, 1), (0, 2)], approx(0.75 / 1.75, 1.75, 2), id="a=1/4+1/2 b=1"),
        pytest.param([(0, 1), (1, 0)], approx(1 / 3, 1.5, 1), id="told late: a=1/2 b=1 all the same"),
        pytest.param([(1, 0), (0, 2000)], approx(0, 1, 2000), id="a=2^-2000: nothing is left"),
    ],
)
def test_a_beta_standing_counts_what_has_not_decayed(outcomes: list[tuple[float, float]], want: object) -> None:
    assert after(BETA, *outcomes) == want


def test_an_outcome_that_is_replaced_takes_back_what_is_left_of_it() -> None:
    estimate = after(BETA, (1, 0), (1, 1))  # a = 1/2 + 1 at hour 1
    crashed = BETA.learn(estimate, NewOutcome(0, T + 2 * HOUR, replaces=CountedOutcome(1, T)), T + 2 * HOUR)
    # hour 2: a = 1/4 + 1/2, less the quarter of the first = 1/2; b = 1; 0.5 / 1.5
    assert crashed == approx(1 / 3, 1.5, 2)


def test_what_is_replaced_never_takes_more_than_there_is() -> None:
    nothing_left = BETA.learn(Estimate(0.5, 1e-9, T), NewOutcome(0, T, replaces=CountedOutcome(1, T)), T)
    # a = max(0, 0.5e-9 - 1), b = 0.5e-9 - 0 + 1
    assert nothing_left == approx(0, 1, 0)


def test_missed_runs_count_like_the_one_that_was_seen() -> None:
    assert BETA.learn(Estimate(1, 6, T), NewOutcome(0, T, runs=3), T) == approx(6 / 9, 9, 0)
    # 1.0 x 0.9^3 = 0.729
    assert EWMA.learn(None, NewOutcome(0, T, runs=3), T) == approx(0.729, 3, 0)


def test_an_outcome_of_the_future_counts_as_now() -> None:
    assert BETA.learn(None, NewOutcome(1, T + 500 * HOUR), T) == approx(1, 1, 0)


def test_a_standing_ahead_of_a_clock_that_was_set_back_is_taken_as_of_now() -> None:
    ahead = Estimate(1, 4, T + 500 * HOUR)
    assert BETA.learn(ahead, NewOutcome(0, T), T) == approx(4 / 5, 5, 0)


def test_two_standings_add_up() -> None:
    both = BETA.merge(Estimate(1, 4, T), Estimate(0, 1, T + HOUR), T + HOUR)
    assert both == approx(2 / 3, 3, 1)  # a = 4/2, b = 1
    assert EWMA.merge(Estimate(1, 3, T), Estimate(0, 1, T + HOUR), T + HOUR) == approx(0.75, 4, 1)


def test_evidence_halves_every_half_life() -> None:
    estimate = Estimate(1, 8, T)
    assert [BETA.evidence_at(estimate, T + hours * HOUR) for hours in (-5, 0, 1, 3)] == [8, 8, 4, 1]
    assert BetaLearner(math.inf).evidence_at(estimate, T + 1e9) == 8
    assert EWMA.evidence_at(estimate, T + 1e9) == 8


def test_kuberls_mean_moves_by_a_tenth() -> None:
    # 1.0 -> 0.9 -> 0.81 -> 0.81 x 0.9 + 0.1 x 0.5 = 0.779
    assert after(EWMA, (0, 0), (0, 1), (0.5, 2)) == approx(0.779, 3, 2)


def test_a_replaced_reward_moves_the_mean_as_if_it_had_been_the_newest() -> None:
    learned = after(EWMA, (1, 0), (1, 1))
    # 1.0 + 0.1 x (0 - 1)
    assert EWMA.learn(learned, NewOutcome(0, T + HOUR, replaces=CountedOutcome(1, T + HOUR)), T + HOUR) == approx(
        0.9, 2, 1
    )


def test_no_learner_learns_nothing() -> None:
    none: Learner = NoLearner()
    assert none.learn(Estimate(1, 1, T), NewOutcome(0, T), T) is None
    assert none.merge(Estimate(1, 1, T), Estimate(0, 1, T), T) == Estimate(1, 1, T)
    assert none.evidence_at(Estimate(1, 3, T), T) == 3


values = st.floats(0, 1)
clocks = st.one_of(
    st.floats(T - 1e6, T + 1e6),
    st.sampled_from([-1e18, -1.0, 0.0, float(LATEST_TIME_S), 1e18, T]),
    st.floats(-1e12, 1e12),
)
steps = st.lists(
    st.tuples(
        st.builds(
            NewOutcome, values, clocks, st.none() | st.builds(CountedOutcome, values, clocks), st.integers(1, 100)
        ),
        clocks,
    ),
    max_size=30,
)


@given(st.sampled_from([BETA, EWMA, BetaLearner(1), BetaLearner(math.inf), EwmaLearner(1.0, 0.0)]), steps)
def test_no_jump_of_a_clock_makes_a_standing_that_cannot_be_written(
    learner: Learner, learned: list[tuple[NewOutcome, float]]
) -> None:
    estimate: Estimate | None = None
    for news, now_s in learned:
        estimate = learner.learn(estimate, news, now_s)
        assert estimate is not None
        RewardRecord("n", "web", *estimate)  # holds mean, evidence and time to their rules
        assert estimate.evidence <= 30 * 100 + 1
        merged = learner.merge(estimate, Estimate(news.value, 5, LATEST_TIME_S), now_s)
        RewardRecord("n", "web", *merged)


@given(values, values, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_replaced_outcome_leaves_no_trace(first: float, second: float, at_s: float, later_s: float) -> None:
    before = Estimate(0.5, 10, T)
    counted = BETA.learn(before, NewOutcome(first, T + at_s), T + at_s)
    last = NewOutcome(second, T + at_s + later_s)
    corrected = BETA.learn(counted, last._replace(replaces=CountedOutcome(first, T + at_s)), T + 3e6)
    never_counted = BETA.learn(before, last, T + 3e6)
    assert corrected == pytest.approx(never_counted, abs=1e-9)


@pytest.mark.parametrize("half_life_s", [0, 0.5, -1, math.nan])
def test_a_half_life_below_a_second_is_named(half_life_s: float) -> None:
    with pytest.raises(InvalidSettings, match=r"half_life_s .* is not 1 or more"):
        BetaLearner(half_life_s)


@pytest.mark.parametrize(
    ("weight", "first_mean"), [(0, 1), (1.1, 1), (math.nan, 1), (0.1, -1), (0.1, 2), (0.1, math.nan)]
)
def test_kuberl_numbers_out_of_range_are_named(weight: float, first_mean: float) -> None:
    with pytest.raises(InvalidSettings, match=r"(weight|first_mean) .* is not"):
        EwmaLearner(weight, first_mean)
