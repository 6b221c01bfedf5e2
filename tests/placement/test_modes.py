"""Modes and weights: what a pod, its namespace and the settings choose, and what is kept of observed pods."""

from __future__ import annotations

import pytest

from kubesteer.model.overrides import Mode, Override
from kubesteer.placement.candidates import Moment, NamedNodes
from kubesteer.placement.cluster_state import ClusterState
from kubesteer.placement.engine import Engine
from kubesteer.placement.flow import DecisionFlow
from kubesteer.placement.observations import ObservedPlacement
from kubesteer.placement.policy import Policy
from tests.builders import node_summary, pod_summary
from tests.placement.flow_recount import NoOpinion

MODE, WEIGHT = "kubesteer.io/mode", "kubesteer.io/reward-weight"
NOW = Moment(unix_s=0.0, clock_s=0.0)


@pytest.mark.parametrize("of_all", [Mode.ENFORCE, Mode.OBSERVE])
@pytest.mark.parametrize(
    ("namespace", "annotation", "mode"),
    [
        ("team", None, "observe"),
        ("team", "enforce", "enforce"),
        ("team", "off", "observe"),
        ("other", "observe", "observe"),
        ("other", "enforce", "enforce"),
    ],
)
def test_a_pods_mode_comes_before_its_namespaces_and_that_before_the_mode_of_all(of_all, namespace, annotation, mode):
    policy = Policy(mode=of_all, namespaces={"team": Override(mode=Mode.OBSERVE)})
    annotations = {MODE: annotation} if annotation else {}
    assert policy.of(pod_summary(namespace=namespace, annotations=annotations)).mode == mode
    assert policy.of(pod_summary(namespace="other")).mode is of_all


@pytest.mark.parametrize(
    ("namespace", "annotation", "weight"),
    [("team", None, 0.2), ("team", "3", 3.0), ("other", None, 0.7), ("other", "0", 0.0), ("other", "-1", 0.7)],
)
def test_a_pods_reward_weight_comes_before_its_namespaces_and_that_before_the_settings(namespace, annotation, weight):
    policy = Policy(namespaces={"team": Override(reward_weight=0.2)})
    pod = pod_summary(namespace=namespace, annotations={WEIGHT: annotation} if annotation else {})
    assert policy.of(pod).score.reward_weight == weight
    assert policy.of(pod).score.balance_weight == policy.score.balance_weight


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "100.1", "", "much"])
def test_a_weight_that_is_none_is_passed_over_and_named(text):
    override = pod_summary(annotations={WEIGHT: text}).override
    assert override.reward_weight is None
    assert override.fault.startswith(f"metadata.annotations[{WEIGHT}]: ")
    assert override.fault.endswith("write a number from 0 to 100")


def test_a_pod_without_a_choice_has_the_policy_of_all_itself():
    """No copy is made for usual pods."""
    policy = Policy()
    assert policy.of(pod_summary(annotations={"example.com/mode": "observe"})) is policy


def watched(*nodes):
    """A flow that observes, and what it is told of placements."""
    told: list[ObservedPlacement] = []
    state = ClusterState(2, charge_ttl_s=10, on_observed=told.append)
    for node in nodes:
        state.put_node(node)
    return DecisionFlow(Engine(Policy(mode=Mode.OBSERVE)), state, NoOpinion(), shortlist=None), told


def test_a_row_that_got_another_name_is_not_taken_for_the_node_it_was():
    """`b` takes the row of `a`, which fitted; `b` was no candidate."""
    flow, told = watched(node_summary("a"))
    flow.filter(pod_summary("p"), NamedNodes(["a"]), NOW)
    row = flow.state.table.rows["a"]
    flow.state.promises.end("uid-p")
    flow.state.delete_node("a")
    flow.state.put_node(node_summary("b"))
    assert flow.state.table.rows["b"] == row
    flow.state.put_pod(pod_summary("p", node="b"))
    assert [(one.verb, one.agrees, one.favoured) for one in told] == [("filter", False, ("a",))]


def test_a_later_attempt_takes_the_place_of_an_earlier_one():
    flow, told = watched(node_summary("a", egress="1G"), node_summary("b", egress="9G"))
    names = NamedNodes(["a", "b"])
    flow.filter(pod_summary("p", egress="5G"), names, NOW)
    flow.state.put_node(node_summary("a", egress="8G"))
    flow.filter(pod_summary("p", egress="5G"), names, NOW)
    flow.state.put_pod(pod_summary("p", egress="5G", node="a"))
    assert [one.agrees for one in told] == [True]


def test_observations_take_no_more_than_their_room():
    """2,000 nodes and 1 a pod: of 600 pods the newest 1,000,000 // 2,001 = 499 are kept."""
    flow, told = watched(*(node_summary(f"n{i}") for i in range(2_000)))
    names = NamedNodes([f"n{i}" for i in range(2_000)])
    for i in range(600):
        flow.filter(pod_summary(f"p{i}"), names, NOW)
    for i in range(600):
        flow.state.put_pod(pod_summary(f"p{i}", node="n0"))
    assert [one.pod.name for one in told] == [f"p{i}" for i in range(101, 600)]


def test_pods_that_end_or_go_unplaced_are_compared_with_nothing():
    flow, told = watched(node_summary("a"))
    for name in ("ended", "gone"):
        flow.filter(pod_summary(name), NamedNodes(["a"]), NOW)
    flow.state.put_pod(pod_summary("ended", status={"phase": "Failed"}))
    flow.state.delete_pod("uid-gone")
    for name in ("ended", "gone"):
        flow.state.put_pod(pod_summary(name, node="a"))
    assert told == []
