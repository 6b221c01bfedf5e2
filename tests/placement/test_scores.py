"""Scores: the terms, their weights, and the stretch to the integers 0..10 that the wire allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.placement.balance import load_of
from kubesteer.placement.candidates import Circumstances
from kubesteer.placement.engine import Engine
from kubesteer.placement.policy import Policy, ScorePolicy
from kubesteer.placement.scoring import score_terms, stretch
from tests.builders import candidates_of, node_summary, pod_summary

BALANCE_ONLY = Policy(score=ScorePolicy(reward_weight=0.0))
REWARD_ONLY = Policy(score=ScorePolicy(balance_weight=0.0))


def rewards(*means):
    return Circumstances(reward=np.array(means), evidence=np.full(len(means), 5.0))


def equal_nodes(count, **parts):
    return [node_summary(f"n{i}", **parts) for i in range(count)]


def scores(nodes, pods=(), *, pod=None, policy=None, circumstances=None, names=None):
    candidates = candidates_of(nodes, pods, names=names)
    engine = Engine(policy or Policy())
    return engine.prioritize(pod or pod_summary(cpu="1"), candidates, circumstances or Circumstances()).tolist()


@pytest.mark.parametrize(
    ("total", "least_spread", "want"),
    [
        pytest.param([0.2, 0.7, 1.2], 0.05, [0, 5, 10], id="worst 0, best 10, the middle 5"),
        pytest.param([0.50, 0.52, 0.55], 0.1, [5, 7, 10], id="spread 0.05 < 0.1: 10 - 0.05/0.1 x 10 = 5, 0.03 -> 7"),
        pytest.param([0.5, 0.5], 0.05, [10, 10], id="all equal: all best"),
        pytest.param([0.5, 0.5001], 0.05, [10, 10], id="hardly different: 0.0001/0.05 x 10 = 0.02 -> 10"),
        pytest.param([0.3], 0.05, [10], id="one candidate"),
        pytest.param([], 0.05, [], id="none"),
        pytest.param([0.5, 0.5], 0.0, [10, 10], id="no least spread and all equal"),
        pytest.param([0.0, 1e-300], 0.0, [0, 10], id="no least spread: any difference is blown up"),
        pytest.param([0.0, 1.0], 2.0, [5, 10], id="a least spread of 2 halves the range"),
    ],
)
def test_totals_are_stretched_over_the_candidates_to_0_to_10(total, least_spread, want):
    got = stretch(np.array(total, float), np.ones(len(total), bool), least_spread)
    assert (got.tolist(), got.dtype) == (want, np.int64)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.data())
def test_stretched_scores_are_whole_in_range_and_in_the_order_of_the_totals(total, least_spread, data):
    known = np.array(data.draw(st.lists(st.booleans(), min_size=len(total), max_size=len(total))))
    got = stretch(np.array(total), known, least_spread)
    assert ((got >= 0) & (got <= 10)).all()
    assert (got[~known] == 0).all()
    if known.any():
        assert got[known].max() == 10
        assert (np.diff(got[known][np.argsort(np.array(total)[known])]) >= 0).all()


def test_the_balanced_node_wins():
    """The pod asks for CPU: where memory is in use it evens the node out, where CPU is, it makes it worse."""
    pods = [pod_summary("a", node="n0", cpu="4"), pod_summary("b", node="n1", memory="16Gi")]
    assert scores(equal_nodes(2), pods, policy=BALANCE_ONLY) == [0, 10]


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        pytest.param("stddev", [10, 0], id="stddev: beside half the CPU and memory, half the egress evens n0 out"),
        pytest.param("level", [0, 10], id="level: CPU and memory are emptier on n1, egress is the same"),
    ],
)
def test_a_network_slo_is_part_of_the_balance(rule, want):
    pods = [pod_summary("a", node="n0", cpu="4", memory="16Gi")]
    pod = pod_summary("new", cpu="1", memory="1Gi", egress="5G")
    policy = Policy(score=ScorePolicy(balance_rule=rule, reward_weight=0.0))
    assert scores(equal_nodes(2), pods, pod=pod, policy=policy) == want


def test_the_network_of_a_pod_that_asks_none_leaves_the_balance_alone():
    pods = [pod_summary("a", node="n0", egress="9G")]
    assert scores(equal_nodes(2), pods, pod=pod_summary("new", cpu="1", memory="1Gi")) == [10, 10]


@pytest.mark.parametrize(
    ("means", "want"),
    [((1.0, 0.0, 0.5), [10, 0, 5]), ((0.9, 0.9, 0.9), [10, 10, 10]), ((0.50, 0.51, 0.52), [6, 8, 10])],
    ids=["by their rewards", "equal rewards", "0.52 - 0.50 = 0.02 of 0.05: 10 - 4 = 6"],
)
def test_the_node_where_the_pods_type_did_well_wins(means, want):
    assert scores(equal_nodes(3), policy=REWARD_ONLY, circumstances=rewards(*means)) == want


@pytest.mark.parametrize(
    ("balance_weight", "reward_weight", "want"),
    [
        pytest.param(1.0, 0.0, 0.625, id="balance alone: 0.625"),
        pytest.param(0.0, 1.0, 0.2, id="reward alone: 0.2"),
        pytest.param(1.0, 1.0, 0.4125, id="(0.625 + 0.2)/2"),
        pytest.param(3.0, 1.0, 0.51875, id="(3 x 0.625 + 0.2)/4"),
        pytest.param(30.0, 10.0, 0.51875, id="weights are relative: the same"),
        pytest.param(0.0, 0.0, 0.0, id="no weight at all"),
    ],
)
def test_the_total_is_the_weighted_mean_of_the_terms(balance_weight, reward_weight, want):
    """2 of 8 cores and 8 of 32 GiB used, 4 cores come: 50 + (50 + 75 - 100)/2 = 62.5 points = 0.625."""
    candidates = candidates_of([node_summary("n")], [pod_summary("old", node="n", cpu="2", memory="8Gi")])
    policy = ScorePolicy(balance_rule="stddev", balance_weight=balance_weight, reward_weight=reward_weight)
    terms = score_terms(load_of(pod_summary("new", cpu="4").requests, candidates, None), np.array([0.2]), policy)
    assert terms.total.tolist() == pytest.approx([want])
    assert (terms.balance is None) == (balance_weight == 0)
    assert (terms.reward is None) == (reward_weight == 0)


def test_the_balance_rule_is_the_one_that_was_chosen():
    """62.5 points by stddev, 62 by upstream-1.36: the truncation shows."""
    candidates = candidates_of([node_summary("n")], [pod_summary("old", node="n", cpu="2", memory="8Gi")])
    load = load_of(pod_summary("new", cpu="4", memory="0").requests, candidates, None)
    for rule, want in (("stddev", 0.625), ("upstream-1.36", 0.62), ("upstream-1.22", 0.75), ("upstream-1.21", 0.5)):
        terms = score_terms(load, None, ScorePolicy(balance_rule=rule))
        assert terms.balance.tolist() == [want], rule


def test_a_best_effort_pod_finds_every_balance_alike():
    """It leaves every balance as it is (#129138): only the reward speaks, and without one every node gets 10."""
    pods = [pod_summary("a", node="n0", cpu="8"), pod_summary("b", node="n1", memory="1Gi")]
    best_effort = pod_summary("new")
    assert scores(equal_nodes(3), pods, pod=best_effort) == [10, 10, 10]
    assert scores(equal_nodes(3), pods, pod=best_effort, circumstances=rewards(0.0, 1.0, 0.5)) == [0, 10, 5]


def test_unknown_nodes_get_the_lowest_score():
    """64 nodes fill the first rows of the table: an unknown name must not get the score of the last of them."""
    nodes = equal_nodes(64)
    assert scores(nodes, names=["ghost", "n63", "phantom"]) == [0, 10, 0]
    assert scores(nodes, names=["ghost", "phantom"]) == [0, 0]
    assert scores(nodes, names=["ghost", "n0"], circumstances=rewards(1.0, 0.0)) == [0, 10]


def test_what_was_just_promised_moves_the_next_pod():
    """n0 was just promised 4 cores: by DepCon2's rule, which looks at the load itself, it is the worse one."""
    charged = np.array([[4000, 0], [0, 0], [0, 0], [0, 0]])
    policy = Policy(score=ScorePolicy(balance_rule="depcon2", reward_weight=0.0))
    assert scores(equal_nodes(2), policy=policy, circumstances=Circumstances(charged=charged)) == [0, 10]


def test_the_order_of_the_candidates_is_the_order_of_the_scores():
    pods = [pod_summary("a", node="n0", cpu="4"), pod_summary("b", node="n1", memory="16Gi")]
    forward = scores(equal_nodes(3), pods, names=["n0", "n1", "n2"])
    backward = scores(equal_nodes(3), pods, names=["n2", "n1", "n0"])
    assert forward == backward[::-1]
    assert len(set(forward)) > 1


def test_a_node_without_any_capacity_scores_without_a_fault():
    empty = replace(node_summary("n0"), cpu_m=0, memory_b=0, network_bps=(0, 0))
    pod = pod_summary("new", cpu="1", memory="1", egress="1")
    for rule in ("stddev", "upstream-1.21", "upstream-1.22", "upstream-1.36", "depcon2"):
        with np.errstate(all="raise"):
            got = scores([empty, node_summary("n1")], pod=pod, policy=Policy(score=ScorePolicy(balance_rule=rule)))
        assert all(0 <= score <= 10 for score in got)


@pytest.mark.parametrize("shortlist", [None, 2])
def test_an_explanation_is_the_decision_itself(shortlist):
    """n2 is full. What filter offers is scored as prioritize scores it when asked for just these; the others get 0."""
    pods = [pod_summary("a", node="n0", cpu="4", egress="2G"), pod_summary("b", node="n2", egress="10G")]
    candidates, names = candidates_of(equal_nodes(5), pods), [f"n{i}" for i in range(5)]
    engine, pod, means = Engine(Policy()), pod_summary("new", cpu="1", egress="2G"), np.array([0.1, 0.2, 0.9, 0.4, 0.5])
    explained = engine.explain(pod, candidates, rewards(*means), shortlist=shortlist)
    decided = engine.filter(pod, candidates, rewards(*means), shortlist=shortlist)
    passed = decided.passed.tolist()
    assert explained.filtered.passed.tolist() == passed
    assert explained.filtered.refused == decided.refused
    assert explained.terms.reward.tolist() == means.tolist()
    offered = candidates_of(equal_nodes(5), pods, names=[names[p] for p in passed])
    assert explained.scores[passed].tolist() == engine.prioritize(pod, offered, rewards(*means[passed])).tolist()
    assert explained.scores[[v.position for v in decided.refused]].tolist() == [0]


def test_without_rewards_the_balance_keeps_its_whole_range():
    """Half a weight for a term that says nothing would halve what balance can say against least_spread."""
    candidates = candidates_of(equal_nodes(1), [pod_summary("a", node="n0", cpu="4")])
    terms = score_terms(load_of(pod_summary("new", cpu="1").requests, candidates, None), None, ScorePolicy())
    assert terms.total.tolist() == terms.balance.tolist() == [1 - 5 / 8]
