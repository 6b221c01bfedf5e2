"""The choice rule probation: who is believed bad, for how long a pair is shut, and that one pod at a time tries it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import EDITED, RewardRecord, format_time
from kubesteer.model.standing import Standing
from kubesteer.rewards.probation import JITTER, Probation, all_open, believed_bad, shut_until, standings
from kubesteer.rewards.table import Belief, Beliefs, Records, RewardTable

PRIOR_EVIDENCE, SHUT_S, NOW_S = 4.0, 10_000.0, 1_000_000.0
HASHES = np.arange(50, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)


def of(
    mean: float, evidence: float, *, prior: float = 0.95, time_s: float = 0.0, failed_s: float = 1.0
) -> tuple[Beliefs, Records]:
    """One pair."""
    one = np.ones(1)
    return Beliefs(one * 0.8, one * evidence, one * prior), Records(
        *np.array([[mean], [evidence], [time_s], [failed_s]])
    )


@pytest.mark.parametrize(
    ("mean", "evidence", "bad"),
    [
        pytest.param(0.5, 0.0, False, id="nothing is known"),
        pytest.param(0.0, 1.0, True, id="one failure: 4 x 0.95 / 5 = 0.76, 0.19 below 0.95"),
        pytest.param(12 / 13, 13.0, False, id="one in 13: (3.8 + 12) / 17 = 0.93"),
        pytest.param(10 / 13, 13.0, True, id="three in 13: (3.8 + 10) / 17 = 0.81"),
        pytest.param(0.9, 1e9, False, id="0.05 below, however sure"),
    ],
)
def test_a_pair_is_believed_bad_when_its_record_draws_the_prior_down_by_a_tenth(
    mean: float, evidence: float, bad: bool
) -> None:
    assert believed_bad(*of(mean, evidence), PRIOR_EVIDENCE, 0.1).tolist() == [bad]


def test_a_type_that_fails_everywhere_makes_no_node_bad() -> None:
    assert not believed_bad(*of(0.05, 20.0, prior=0.1), PRIOR_EVIDENCE, 0.1).any()


def test_slow_runs_that_never_failed_shut_nothing() -> None:
    assert not believed_bad(*of(0.6, 20.0, failed_s=0.0), PRIOR_EVIDENCE, 0.1).any()


def test_time_alone_does_not_clear_a_pair() -> None:
    """Its evidence counts as of the record; what is left of it now would be 1 / 1024 runs after ten half-lives."""
    table = RewardTable(Belief(half_life_s=100.0))
    table.put(RewardRecord("n0", "web", 0.0, 1.0, NOW_S - 1000.0))
    columns = table.columns(["n0"])
    beliefs = table.read("web", columns, now_s=NOW_S)
    assert beliefs.evidence[0] < 0.001
    assert believed_bad(beliefs, table.records("web", columns), PRIOR_EVIDENCE, 0.05).all()


def failed_last(records: Records) -> float:
    return float(records.failed_s[0])


def test_a_pair_is_shut_from_its_last_failure_and_not_from_a_success_since() -> None:
    table = RewardTable()
    shown = {"bad": [{"time": format_time(100.0), "value": 0.0}, {"time": format_time(200.0), "value": 0.0}]}
    for pod_type, extra in (
        ("web", shown),
        ("db", {}),
        ("odd", {"bad": [{"time": "noon"}]}),
        ("edited", {**shown, EDITED: "x"}),
        ("slow", {"recent": [{"value": 0.6}], "bad": []}),
    ):
        table.put(RewardRecord("n0", pod_type, 0.3, 3.0, 500.0, extra))
    columns = table.columns(["n0"])
    found = {
        name: failed_last(table.records(name, columns)) for name in ("web", "db", "odd", "edited", "slow", "unknown")
    }
    assert found == {"web": 200.0, "db": 500.0, "odd": 500.0, "edited": 500.0, "slow": 0.0, "unknown": 0.0}


def many(failed_s: float) -> Records:
    return Records(np.zeros(50), np.ones(50), np.full(50, failed_s), np.full(50, failed_s))


def test_pairs_that_failed_together_are_tried_one_after_the_other() -> None:
    after_s = shut_until(many(NOW_S), Probation(shut_s=SHUT_S), HASHES, 7) - NOW_S
    assert (1 - JITTER) * SHUT_S < after_s.min() < 0.8 * SHUT_S
    assert 1.2 * SHUT_S < after_s.max() < (1 + JITTER) * SHUT_S


def test_the_jitter_is_another_one_after_another_failure_for_another_type_and_by_another_seed() -> None:
    rule = Probation(shut_s=SHUT_S)
    first = shut_until(many(NOW_S), rule, HASHES, 7) - NOW_S
    others = (
        shut_until(many(NOW_S + 1), rule, HASHES, 7) - NOW_S - 1,
        shut_until(many(NOW_S), rule, HASHES, 8) - NOW_S,
        shut_until(many(NOW_S), Probation(shut_s=SHUT_S, seed=1), HASHES, 7) - NOW_S,
    )
    for other in others:
        assert np.abs(first - other).max() > 100


@given(some=st.lists(st.integers(0, 49), min_size=1, unique=True), failed_s=st.floats(0, 2e9))
def test_a_nodes_jitter_is_the_same_whichever_candidates_are_asked_about_with_it(
    some: list[int], failed_s: float
) -> None:
    """So every replica says the same."""
    whole = shut_until(many(failed_s), Probation(), HASHES, 7)
    part = Records(*(each[some] for each in many(failed_s)))
    assert shut_until(part, Probation(), HASHES[some], 7).tolist() == whole[some].tolist()


@pytest.mark.parametrize(
    ("until_s", "newest_pod_s", "state", "reward"),
    [
        pytest.param(NOW_S + 1, -np.inf, Standing.SHUT, 0.0, id="shut"),
        pytest.param(
            NOW_S, -np.inf, Standing.ON_PROBATION, 0.95, id="the time is over: its prior, where no other is better"
        ),
        pytest.param(NOW_S, 499.0 - 1, Standing.ON_PROBATION, 0.95, id="a pod of before the last outcome"),
        pytest.param(NOW_S, 500.0, Standing.TRIED, 0.0, id="a pod of which nothing is told yet"),
        pytest.param(NOW_S, np.inf, Standing.TRIED, 0.0, id="a pod that is on its way"),
    ],
)
def test_a_bad_pair_is_shut_then_free_for_one_pod_then_tried(
    until_s: float, newest_pod_s: float, state: Standing, reward: float
) -> None:
    beliefs, records = of(0.0, 3.0, time_s=500.0)
    found = standings(beliefs, records, np.array([True]), np.array([until_s]), np.array([newest_pod_s]), NOW_S)
    assert (found.state[0], found.reward[0], found.shut_until_s[0]) == (state, reward, until_s)


def test_a_pair_that_is_not_believed_bad_is_open_and_scored_by_its_mean_whatever_is_on_its_way() -> None:
    beliefs, records = of(1.0, 3.0)
    found = standings(beliefs, records, np.array([False]), np.array([NOW_S + 1]), np.array([np.inf]), NOW_S)
    assert (found.state[0], found.reward[0], found.shut_until_s[0]) == (Standing.OPEN, 0.8, -np.inf)
    assert all_open(beliefs).reward.tolist() == [0.8]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("short_by", 0.0, "short_by 0.0 is not above 0 and below 1"),
        ("short_by", 1.0, "short_by 1.0 is not above 0 and below 1"),
        ("shut_s", -1.0, "shut_s -1.0 is not a finite number of 0 or more"),
        ("shut_s", float("inf"), "shut_s inf is not a finite number of 0 or more"),
    ],
)
def test_measures_out_of_range_are_told(field: str, value: float, told: str) -> None:
    with pytest.raises(InvalidSettings, match=told):
        Probation(**{field: value})  # type: ignore[arg-type]


def test_a_pair_whose_time_is_over_counts_as_much_as_the_best_until_it_fails_again() -> None:
    """The first is on probation, the second open again with what is left of old failures, the third never failed."""
    beliefs = Beliefs(np.array([0.3, 0.8, 0.97]), np.ones(3), np.full(3, 0.9))
    records = Records(np.zeros(3), np.ones(3), np.full(3, 500.0), np.array([500.0, 500.0, 0.0]))
    until_s, nobody = np.full(3, NOW_S), np.full(3, -np.inf)
    found = standings(beliefs, records, np.array([True, False, False]), until_s, nobody, NOW_S)
    assert found.reward.tolist() == [0.97, 0.97, 0.97]
    shut = standings(beliefs, records, np.array([True, False, False]), until_s, nobody, NOW_S - 1)
    assert shut.reward.tolist() == [0.0, 0.8, 0.97]
