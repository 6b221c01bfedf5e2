"""The short list: the K best of the nodes that fit, ties drawn by pod UID, and never one node too few."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.placement.candidates import Circumstances
from kubesteer.placement.charges import Charges
from kubesteer.placement.engine import Engine
from kubesteer.placement.offers import Offers
from kubesteer.placement.pods import promised_amounts
from kubesteer.placement.policy import Policy, ScorePolicy
from kubesteer.placement.scoring import best
from tests.builders import candidates_of, node_summary, pod_summary

ENGINE = Engine(Policy())
CHOSEN_BY_REWARD = Circumstances(reward=np.array([0.2, 0.9, 0.5, 0.8, 0.1]), evidence=np.full(5, 9.0))


def nodes(count, **parts):
    return [node_summary(f"node-{i:03d}", **parts) for i in range(count)]


def uids(count):
    random = Random(20261122)
    return [str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(count)]


@pytest.mark.parametrize(
    ("shortlist", "want"),
    [
        pytest.param(None, [0, 1, 2, 3, 4], id="off: all"),
        pytest.param(1, [1], id="the best: 0.9"),
        pytest.param(2, [1, 3], id="the two best: 0.9, 0.8"),
        pytest.param(3, [1, 2, 3], id="in request order: 0.9, 0.5, 0.8"),
        pytest.param(4, [0, 1, 2, 3], id="all but the worst: 0.1"),
        pytest.param(5, [0, 1, 2, 3, 4], id="as many as there are"),
        pytest.param(99, [0, 1, 2, 3, 4], id="more than there are"),
    ],
)
def test_the_k_best_by_the_full_score_are_offered(shortlist, want):
    candidates = candidates_of(nodes(5))
    filtered = ENGINE.filter(pod_summary(), candidates, CHOSEN_BY_REWARD, shortlist=shortlist)
    assert filtered.passed.tolist() == want
    assert (filtered.fitting, filtered.refused) == (5, [])


def test_only_nodes_that_fit_are_on_the_list_however_good_the_others_score():
    candidates = candidates_of([*nodes(1), *nodes(5, egress="1M")[1:]])
    filtered = ENGINE.filter(pod_summary(egress="1G"), candidates, CHOSEN_BY_REWARD, shortlist=1)
    assert filtered.passed.tolist() == [0]
    assert (filtered.fitting, len(filtered.refused)) == (1, 4)


def test_with_none_fitting_every_reason_is_given():
    mixed = [*nodes(1, egress="1M"), node_summary("b", egress=None), node_summary("c", ready="False")]
    candidates = candidates_of(mixed, names=["node-000", "b", "c", "ghost"])
    filtered = ENGINE.filter(pod_summary(egress="1G"), candidates, Circumstances(), shortlist=1)
    assert (filtered.passed.tolist(), filtered.fitting) == ([], 0)
    causes = {v.position: v.cause.label for v in filtered.refused}
    assert causes == {0: "too-small", 1: "no-capacity", 2: "not-ready", 3: "unknown-node"}


@given(
    egress=st.lists(st.sampled_from([None, "0", "1G", "10G"]), max_size=12),
    slo=st.sampled_from(["0", "1", "1G", "5G", "20G"]),
    shortlist=st.integers(1, 13),
    synced=st.booleans(),
    uid=st.uuids(),
)
def test_a_short_list_never_turns_fits_somewhere_into_fits_nowhere(egress, slo, shortlist, synced, uid):
    names = [f"n{i}" for i in range(len(egress))]
    candidates = candidates_of(
        [node_summary(n, egress=e) for n, e in zip(names, egress, strict=True)], names=[*names, "x"]
    )
    pod = replace(pod_summary(cpu="1", egress=slo), uid=str(uid))
    circumstances = Circumstances(synced=synced)
    everything = ENGINE.filter(pod, candidates, circumstances)
    short = ENGINE.filter(pod, candidates, circumstances, shortlist=shortlist)
    assert set(short.passed.tolist()) <= set(everything.passed.tolist())
    assert len(short.passed) >= min(shortlist, len(everything.passed))
    assert (short.refused, short.fitting) == (everything.refused, len(everything.passed))
    assert not synced or len(short.passed) <= shortlist


def test_nothing_is_left_out_while_the_table_is_incomplete():
    """Unknown nodes cannot be ranked; with a list of one, the first name would get every pod."""
    candidates = candidates_of(nodes(2), names=["ghost", "node-000", "phantom"])
    filtered = ENGINE.filter(pod_summary(cpu="1"), candidates, Circumstances(synced=False), shortlist=1)
    assert filtered.passed.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shortlist", [1, 3])
@pytest.mark.parametrize(
    "pod_uids",
    [pytest.param(uids(4000), id="random UIDs"), pytest.param([f"pod-{i}" for i in range(4000)], id="counted names")],
)
def test_ties_fall_evenly_over_the_nodes(shortlist, pod_uids):
    """4,000 pods on 40 equal nodes, K each: mean 100 K a node.

    Chi-square with 39 degrees of freedom has mean 39 and standard deviation sqrt(78) = 8.8; 39 + 5 x 8.8 = 83 is
    passed once in more than 10,000 runs by chance. Always taking the first node would give 4,000 x 39 = 156,000.
    """
    candidates, pod = candidates_of(nodes(40)), pod_summary(cpu="1", memory="4Gi")
    offered = Counter()
    for uid in pod_uids:
        passed = ENGINE.filter(replace(pod, uid=uid), candidates, Circumstances(), shortlist=shortlist).passed
        offered.update(passed.tolist())
    mean = 100 * shortlist
    assert sum(offered.values()) == 40 * mean
    assert sum((offered[i] - mean) ** 2 / mean for i in range(40)) < 83


def test_of_equal_scores_the_emptiest_node_is_offered_and_rounding_does_not_count():
    """A pod with more CPU than memory takes stddev the same distance on each of 10 nodes with 9 to 0 of its kind.

    On paper all ten scores are equal; in floating point they differ in the last bits, which must not choose.
    """
    ten = nodes(10, cpu="64", memory="256Gi")
    kind = {"cpu": "100m", "memory": "150Mi"}
    placed = [pod_summary(f"{i}-{j}", node=f"node-{i:03d}", **kind) for i in range(10) for j in range(9 - i)]
    candidates, pod = candidates_of(ten, placed), pod_summary(**kind)
    for uid in uids(50):
        asked = replace(pod, uid=uid)
        assert ENGINE.filter(asked, candidates, Circumstances(), shortlist=1).passed.tolist() == [9]
        assert ENGINE.filter(asked, candidates, Circumstances(), shortlist=3).passed.tolist() == [7, 8, 9]


def test_near_ties_are_offered_once_each():
    """Scores 1e-12 apart are equal: of five, the three emptiest."""
    total, fullness = 0.5 + 1e-12 * np.arange(5), np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    chosen = best(total, fullness, np.arange(5), 3, np.arange(5, dtype=np.uint64), uid_hash=7)
    assert chosen.tolist() == [0, 1, 3]


def test_the_same_pod_gets_the_same_list_in_any_process_and_any_order():
    """CRC-32 and fixed constants, no hash(): the position of the winner is pinned."""
    pod = pod_summary("steady", cpu="1", memory="4Gi")
    names = [node.name for node in nodes(40)]
    winners = set()
    for order in (names, names[::-1], names[20:] + names[:20]):
        candidates = candidates_of(nodes(40), names=order)
        for _ in range(2):
            passed = ENGINE.filter(pod, candidates, Circumstances(), shortlist=1).passed
            winners.add(order[int(passed[0])])
    assert len(winners) == 1


def charged(charges, rows, uid):
    """CPU, memory and both directions, as the engine takes them."""
    on = charges.on(rows, without=uid)
    return None if on is None else on[:4].astype(np.int64)


@pytest.mark.parametrize("rule", ["stddev", "upstream-1.22", "depcon2"])
@pytest.mark.parametrize(
    "asks",
    [
        {"cpu": "100m", "memory": "128Mi", "egress": "50M"},
        {"cpu": "100m", "memory": "400Mi"},
        {"cpu": "500m", "memory": "1Gi", "egress": "200M"},
        {},
    ],
    ids=["small", "balanced", "network heavy", "best effort"],
)
def test_a_burst_of_equal_pods_does_not_herd_onto_one_node(rule, asks):
    """200 pods on 40 equal nodes, known by their charges alone: mean 5, and no node above twice the mean."""
    engine = Engine(Policy(score=ScorePolicy(balance_rule=rule)))
    candidates, charges = candidates_of(nodes(40)), Charges(6)
    pod, rows, placed = pod_summary(**asks), np.arange(40), Counter()
    for uid in uids(200):
        circumstances = Circumstances(charged=charged(charges, rows, uid))
        passed = engine.filter(replace(pod, uid=uid), candidates, circumstances, shortlist=1).passed
        charges.take(uid, rows[passed], promised_amounts(pod.requests))
        placed.update(passed.tolist())
    assert sum(placed.values()) == 200
    assert max(placed.values()) <= 10


def test_an_offer_is_remembered_until_its_pod_is_placed_or_gone():
    offers = Offers()
    assert not offers.was_made("p")
    offers.make("p")
    assert offers.was_made("p")
    offers.forget("p")
    assert not offers.was_made("p")


def test_offers_are_forgotten_oldest_first_and_never_grow_without_end():
    offers = Offers()
    for i in range(70_000):
        offers.make(f"p{i}")
    assert not offers.was_made("p0")
    assert offers.was_made("p69999")
