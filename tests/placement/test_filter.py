"""Each cause for which a node is refused, the numbers in its reason, and whether evicting pods could help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.cluster import NO_CAPACITY, MeasuredTraffic
from kubesteer.model.network import EGRESS, INGRESS
from kubesteer.placement.candidates import Circumstances, from_nodes, from_table
from kubesteer.placement.engine import Engine
from kubesteer.placement.filtering import Cause
from kubesteer.placement.policy import FilterPolicy, Policy
from tests.builders import (
    DEPCON2_SLO,
    EGRESS_ANNOTATION,
    INGRESS_ANNOTATION,
    candidates_of,
    node_summary,
    pod_summary,
    table_of,
)

DEFAULT = Policy()
NOW_S = 1_000_000.0
G = 10**9


def refused(pod, nodes, pods=(), *, policy=DEFAULT, circumstances=None, names=None):
    """Verdicts by node name, from the engine's own door."""
    candidates = candidates_of(nodes, pods, names=names)
    filtered = Engine(policy).filter(pod, candidates, circumstances or Circumstances(now_s=NOW_S))
    order = [node.name for node in nodes] if names is None else names
    assert sorted([*filtered.passed.tolist(), *(v.position for v in filtered.refused)]) == list(range(len(order)))
    assert filtered.fitting == len(filtered.passed)
    return {order[v.position]: v for v in filtered.refused}


def overcommitted(egress=1.0, ingress=1.0):
    return Policy(network=(replace(EGRESS, overcommit=egress), replace(INGRESS, overcommit=ingress)))


def annotated(egress, name="new", **parts):
    return pod_summary(name, annotations={EGRESS_ANNOTATION: egress}, **parts)


@pytest.mark.parametrize(
    ("asks", "node", "promised", "cause", "reason", "resolvable"),
    [
        pytest.param(
            *({"egress": "300M"}, {"egress": "9.5G"}, "9380M"),
            *(Cause.INSUFFICIENT, "egress: wants 300M, 120M of 9.5G left", True),
            id="9.38 + 0.3 > 9.5: evicting could help",
        ),
        pytest.param(
            *({"egress": "2G"}, {"egress": "1G"}, "0"),
            *(Cause.TOO_SMALL, "egress: wants 2G, the node has 1G in all", False),
            id="2 > 1 alone: no eviction helps",
        ),
        pytest.param(
            *({"egress": "1000000001"}, {"egress": "1G"}, "0"),
            *(Cause.TOO_SMALL, "egress: wants 1.000000001G, the node has 1G in all", False),
            id="one bit/s too much is told apart from 1G",
        ),
        pytest.param(
            *({"egress": "1M"}, {"egress": "0"}, "0"),
            *(Cause.TOO_SMALL, "egress: wants 1M, the node has 0 in all", False),
            id="a node with none to give",
        ),
        pytest.param(
            *({"egress": "1M"}, {"egress": None}, "0"),
            *(Cause.NO_CAPACITY, "egress: wants 1M, the node publishes no kubesteer.io/egress-bps or", False),
            id="a node that publishes none",
        ),
        pytest.param(
            *({"ingress": "1M"}, {"egress": "1G"}, "0"),
            *(Cause.NO_CAPACITY, "ingress: wants 1M, the node publishes no kubesteer.io/ingress-bps", False),
            id="each direction for itself",
        ),
        pytest.param(
            *({"egress": "1M"}, {"egress": "1G"}, "2G"),
            *(Cause.INSUFFICIENT, "egress: wants 1M, 0 of 1G left", True),
            id="promised beyond capacity: 0 left, never a negative number",
        ),
        pytest.param(
            *({}, {"ready": "False"}, "0"),
            *(Cause.NOT_READY, "node is not ready", False),
            id="a node that is not ready",
        ),
        pytest.param(
            *({}, {"ready": "Unknown"}, "0"), *(Cause.NOT_READY, "node is not ready", False), id="a node out of reach"
        ),
        pytest.param(
            *({}, {"cpu": "x"}, "0"),
            *(Cause.NODE_FAULT, "node object: status.allocatable[cpu]: 'x' is not a quantity", False),
            id="a bad quantity on the node",
        ),
        pytest.param(
            *({}, {"memory": "-1Gi"}, "0"),
            *(Cause.NODE_FAULT, "node object: status.allocatable[memory]: '-1Gi' is negative", False),
            id="negative allocatable",
        ),
    ],
)
def test_a_node_is_refused_with_the_numbers_and_the_others_are_not(asks, node, promised, cause, reason, resolvable):
    bad, good = node_summary("bad", **node), node_summary("good", egress="100G", ingress="100G")
    placed = pod_summary("old", egress=promised, node="bad")
    verdicts = refused(pod_summary("new", **asks), [bad, good], [placed])
    assert list(verdicts) == ["bad"]
    verdict = verdicts["bad"]
    assert (verdict.cause, verdict.resolvable) == (cause, resolvable)
    assert verdict.reason.startswith(reason)


def test_the_slo_that_fits_to_the_last_bit_fits():
    node, placed = node_summary(egress="1G"), pod_summary("old", egress="700M", node="n")
    assert refused(pod_summary("new", egress="300000000"), [node], [placed]) == {}
    assert list(refused(pod_summary("new", egress="300000001"), [node], [placed])) == ["n"]


def test_a_pod_without_an_slo_passes_on_a_node_full_of_promises():
    placed = pod_summary("old", egress="5G", node="n")
    assert refused(pod_summary("new", cpu="1"), [node_summary(egress="1G")], [placed]) == {}


def test_depcon2s_pods_and_kubesteers_share_one_capacity():
    placed = pod_summary("old", node="n", **{DEPCON2_SLO: "800M"})
    assert list(refused(pod_summary("new", egress="300M"), [node_summary(egress="1G")], [placed])) == ["n"]


def test_pods_that_have_ended_or_wait_take_nothing():
    ended = pod_summary("ended", egress="1G", node="n", status={"phase": "Succeeded"})
    waiting = pod_summary("waiting", egress="1G")
    assert refused(pod_summary("new", egress="1G"), [node_summary(egress="1G")], [ended, waiting]) == {}


@pytest.mark.parametrize(
    ("pod", "fits"),
    [
        pytest.param(annotated("1500M"), True, id="asked by annotation: 1.5 <= 1 x 1.5"),
        pytest.param(annotated("1500000001"), False, id="one bit/s above 1 x 1.5"),
        pytest.param(pod_summary("new", egress="1500M"), False, id="an extended resource has no overcommit here"),
        pytest.param(pod_summary("new", egress="1G"), True, id="an extended resource up to the capacity"),
    ],
)
def test_overcommit_acts_on_what_is_asked_by_annotation(pod, fits):
    assert (refused(pod, [node_summary(egress="1G")], policy=overcommitted(1.5)) == {}) is fits


def test_overcommit_is_a_factor_of_each_direction():
    node = node_summary(egress="1G", ingress="1G")
    pod = pod_summary(annotations={EGRESS_ANNOTATION: "2G", INGRESS_ANNOTATION: "2G"})
    assert refused(pod, [node], policy=overcommitted(2.0, 2.0)) == {}
    assert refused(pod, [node], policy=overcommitted(2.0, 1.0))["n"].reason.startswith("ingress: wants 2G")


def test_overcommit_below_one_keeps_bandwidth_back():
    verdict = refused(annotated("600M"), [node_summary(egress="1G")], policy=overcommitted(0.5))["n"]
    assert verdict.reason == "egress: wants 600M, the node has 500M in all"


@given(hundredths=st.integers(1, 1000), capacity_bps=st.integers(10**5, 4 * 10**11))
def test_overcommit_loses_no_bit_to_rounding(hundredths, capacity_bps):
    """100k x 1.15 is 114999.99999999999 in floating point; 115k must fit, and 115k + 1 must not."""
    exact = capacity_bps * hundredths // 100
    node, policy = node_summary(egress=capacity_bps), overcommitted(hundredths / 100)
    assert refused(annotated(str(exact)), [node], policy=policy) == {}
    assert list(refused(annotated(str(exact + 1)), [node], policy=policy)) == ["n"]


def test_an_annotation_passes_where_no_capacity_is_published_unless_told_otherwise():
    node = node_summary(egress=None)
    assert refused(annotated("1G"), [node]) == {}
    strict = Policy(filter=FilterPolicy(refuse_unknown_capacity=True))
    verdict = refused(annotated("1G"), [node], policy=strict)["n"]
    assert (verdict.cause, verdict.resolvable) == (Cause.NO_CAPACITY, False)


def test_charges_count_for_annotations_and_not_for_extended_resources():
    """kube-scheduler counts an extended resource itself, at once and exactly: twice would be wrong."""
    charged = np.array([[0], [0], [800 * 10**6], [0]])
    circumstances, node = Circumstances(charged=charged), node_summary(egress="1G")
    verdict = refused(annotated("300M"), [node], circumstances=circumstances)["n"]
    assert (verdict.reason, verdict.resolvable) == ("egress: wants 300M, 200M of 1G left", True)
    assert refused(pod_summary(egress="300M"), [node], circumstances=circumstances) == {}


@pytest.mark.parametrize(
    ("age_s", "fresh_s", "asks", "cause"),
    [
        pytest.param(10, 30, "300M", Cause.MEASURED, id="fresh: 0.8 measured + 0.3 > 1"),
        pytest.param(30, 30, "300M", Cause.MEASURED, id="just fresh"),
        pytest.param(10, 30, "200M", None, id="fresh: 0.8 + 0.2 = 1 fits"),
        pytest.param(31, 30, "300M", None, id="stale: not used"),
        pytest.param(10, 0, "300M", None, id="switched off"),
        pytest.param(-10, 30, "300M", Cause.MEASURED, id="the node's clock is a little ahead: fresh"),
        pytest.param(-3600, 30, "300M", None, id="an hour ahead is a wrong clock, not a fresh measurement"),
    ],
)
def test_measured_traffic_counts_while_it_is_fresh(age_s, fresh_s, asks, cause):
    node = replace(node_summary(egress="1G"), measured=MeasuredTraffic((800e6, 0.0), NOW_S - age_s))
    policy = Policy(filter=FilterPolicy(measured_fresh_s=fresh_s))
    verdict = refused(pod_summary(egress=asks), [node], policy=policy).get("n")
    assert (verdict and verdict.cause) == cause
    if verdict:
        assert verdict.reason == "egress: wants 300M, 800M of 1G measured in use"


def test_a_node_that_was_never_measured_passes():
    policy = Policy(filter=FilterPolicy(measured_fresh_s=1e12))
    assert refused(pod_summary(egress="1G"), [node_summary(egress="1G")], policy=policy) == {}


def test_measured_traffic_is_held_against_capacity_without_overcommit():
    node = replace(node_summary(egress="1G"), measured=MeasuredTraffic((800e6, 0.0), NOW_S))
    policy = replace(overcommitted(10.0), filter=FilterPolicy(measured_fresh_s=30))
    assert refused(annotated("300M"), [node], policy=policy)["n"].cause == Cause.MEASURED


@pytest.mark.parametrize("asks", [{}, {"egress": "1M"}], ids=["no SLO", "an SLO"])
def test_unknown_nodes_are_refused_once_the_table_is_complete_and_pass_before(asks):
    """64 nodes fill the first rows of the table: an unknown name must not read the last of them."""
    nodes = [node_summary(f"n{i}", egress="0", ready="False") for i in range(64)]
    pod, names = pod_summary("new", **asks), ["ghost"]
    verdict = refused(pod, nodes, names=names)["ghost"]
    assert (verdict.cause, verdict.reason) == (Cause.UNKNOWN_NODE, "node is unknown to kubesteer")
    assert not verdict.resolvable
    assert refused(pod, nodes, names=names, circumstances=Circumstances(synced=False)) == {}


def test_a_deleted_node_is_unknown_even_while_its_pods_are_still_counted():
    table = table_of([node_summary("n")], [pod_summary("old", node="n", egress="1M")])
    table.delete_node("n")
    filtered = Engine(DEFAULT).filter(pod_summary(), from_table(table, table.find(["n"])), Circumstances())
    assert [v.cause for v in filtered.refused] == [Cause.UNKNOWN_NODE]


def test_the_agents_of_a_node_reach_it_before_it_is_ready():
    agent = pod_summary(tolerations=[{"operator": "Exists"}])
    assert refused(agent, [node_summary(ready="False")]) == {}
    assert list(refused(agent, [node_summary(ready="False", cpu="x")])) == ["n"]


def test_a_node_with_several_faults_is_refused_once_for_the_first():
    bad = replace(node_summary(cpu="x"), ready=False)
    assert refused(pod_summary(egress="1G", ingress="1G"), [bad])["n"].cause == Cause.NODE_FAULT


def test_no_candidates_get_no_verdicts():
    assert refused(pod_summary(egress="1G"), []) == {}


QUARANTINE = Policy(filter=FilterPolicy(quarantine_below=0.3, quarantine_evidence=3.0))


@pytest.mark.parametrize(
    ("rewards", "evidence", "policy", "quarantined"),
    [
        pytest.param((0.2, 0.9), (5, 5), QUARANTINE, ["n0"], id="0.2 < 0.3 with 5 >= 3 runs"),
        pytest.param((0.2, 0.9), (3, 0), QUARANTINE, ["n0"], id="3 runs are enough"),
        pytest.param((0.2, 0.9), (2.9, 5), QUARANTINE, [], id="2.9 runs are too few"),
        pytest.param((0.3, 0.9), (5, 5), QUARANTINE, [], id="0.3 is not below 0.3"),
        pytest.param((0.2, 0.9), (5, 5), DEFAULT, [], id="off by default"),
        pytest.param((0.1, 0.2), (5, 5), QUARANTINE, [], id="never the last: all bad, all stay"),
    ],
)
def test_quarantine_keeps_a_pod_type_off_nodes_where_it_does_badly(rewards, evidence, policy, quarantined):
    nodes = [node_summary("n0"), node_summary("n1")]
    circumstances = Circumstances(reward=np.array(rewards), evidence=np.array(evidence, float))
    verdicts = refused(pod_summary(), nodes, policy=policy, circumstances=circumstances)
    assert list(verdicts) == quarantined
    for verdict in verdicts.values():
        assert verdict.reason.startswith("reward: 0.20 for this pod type is below 0.3 (")
        assert (verdict.cause, verdict.resolvable) == (Cause.QUARANTINE, False)


def test_quarantine_goes_by_the_mean_where_the_score_goes_by_a_sample():
    """A sample far from the mean says that the node is worth a try, or not; never that it is bad."""
    circumstances = Circumstances(reward=np.array([0.9, 0.1]), mean=np.array([0.2, 0.8]), evidence=np.array([5.0, 5.0]))
    nodes = [node_summary("n0"), node_summary("n1")]
    verdicts = refused(pod_summary(), nodes, policy=QUARANTINE, circumstances=circumstances)
    assert {name: v.reason for name, v in verdicts.items()} == {
        "n0": "reward: 0.20 for this pod type is below 0.3 (5 runs)"
    }


def test_quarantine_never_takes_the_last_node_that_the_other_causes_left():
    """n1 does well but has no room: of the nodes with room, n0 is the last."""
    nodes = [node_summary("n0", egress="1G"), node_summary("n1", egress="1M")]
    circumstances = Circumstances(reward=np.array([0.1, 0.9]), evidence=np.array([9.0, 9.0]))
    verdicts = refused(pod_summary(egress="1G"), nodes, policy=QUARANTINE, circumstances=circumstances)
    assert {name: v.cause for name, v in verdicts.items()} == {"n1": Cause.TOO_SMALL}


def test_without_rewards_nothing_is_quarantined():
    assert refused(pod_summary(), [node_summary()], policy=QUARANTINE) == {}


def test_nodes_of_the_request_have_their_own_capacity_and_the_tables_promises():
    """A template node of an autoscaler is empty; a known one is as full as the table says."""
    table = table_of([node_summary("known", egress="9G")], [pod_summary("old", node="known", egress="900M")])
    shrunk, template = node_summary("known", egress="1G"), node_summary("template", egress="1G", ready=None)
    pod = pod_summary("new", egress="300M")
    filtered = Engine(DEFAULT).filter(pod, from_nodes(table, [template, shrunk]), Circumstances())
    assert filtered.passed.tolist() == [0]
    assert [v.reason for v in filtered.refused] == ["egress: wants 300M, 100M of 1G left"]


node_parts = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from(["4", "x"]),
        "egress": st.sampled_from([None, "0", "1G", "10G", "-1"]),
        "ready": st.sampled_from(["True", "False", None]),
    }
)


@given(
    parts=st.lists(node_parts, max_size=6),
    ghosts=st.integers(0, 2),
    by_annotation=st.booleans(),
    slo=st.sampled_from(["0", "1", "500M", "1G", "11G"]),
    promised=st.sampled_from(["0", "600M", "10G"]),
)
def test_every_candidate_passes_or_is_refused_once_and_the_room_is_really_there(
    parts, ghosts, by_annotation, slo, promised
):
    nodes = [node_summary(f"n{i}", **one) for i, one in enumerate(parts)]
    pods = [pod_summary(f"old{i}", node=f"n{i}", egress=promised) for i in range(len(nodes))]
    names = [*(f"ghost{i}" for i in range(ghosts)), *(node.name for node in nodes)]
    pod = annotated(slo) if by_annotation else pod_summary("new", egress=slo)
    candidates = candidates_of(nodes, pods, names=names)
    filtered = Engine(DEFAULT).filter(pod, candidates, Circumstances())
    verdicts = refused(pod, nodes, pods, names=names)
    asked = pod.requests.network_bps[0]
    by_name = {node.name: node for node in nodes}
    for position in filtered.passed.tolist():
        node = by_name[names[position]]
        assert node.ready
        assert node.fault is None
        capacity = node.network_bps[0]
        assert (
            not asked
            or (by_annotation and capacity == NO_CAPACITY)
            or pods[0].requests.network_bps[0] + asked <= capacity
        )
    assert len(verdicts) + len(filtered.passed) == len(names)
    assert all(v.reason for v in verdicts.values())
