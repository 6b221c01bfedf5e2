"""An SLO that is nearly always a unit mistake is named."""

from __future__ import annotations

import pytest

from kubesteer.placement.candidates import Circumstances
from kubesteer.placement.engine import Engine
from kubesteer.placement.policy import FilterPolicy, Policy
from tests.builders import EGRESS_ANNOTATION, candidates_of, node_summary, pod_summary


def suspect(pod, *nodes, names=None, policy=None):
    return Engine(policy or Policy()).filter(pod, candidates_of(nodes, names=names), Circumstances()).suspect


ONE_AND_TEN_G = (node_summary("a", egress="1G"), node_summary("b", egress="10G"))


@pytest.mark.parametrize(
    ("slo", "named"),
    [
        pytest.param("100", True, id="100 of at least 1G = 1e-7: Mbit/s written as bit/s, as DepCon2's own pods do"),
        pytest.param("99999", True, id="99,999 < 1e-4 x 1G = 100,000"),
        pytest.param("100k", False, id="100,000 = 1e-4 of the smallest"),
        pytest.param("500k", False, id="below 1e-4 of the largest alone: 500,000 < 1e-4 x 10G"),
        pytest.param("10G", False, id="all of the largest"),
        pytest.param("10000000001", True, id="one bit/s above the largest"),
        pytest.param("0", False, id="no SLO"),
    ],
)
def test_an_slo_far_below_or_above_every_capacity_is_named(slo, named):
    assert (suspect(pod_summary(egress=slo), *ONE_AND_TEN_G) is not None) is named


def test_the_warning_tells_the_numbers_and_the_unit():
    assert suspect(pod_summary(egress="100"), *ONE_AND_TEN_G) == (
        "egress SLO is 100 bit/s, less than 0.0001 of every node's capacity (smallest 1G): "
        "SLOs are in bit/s, 100 Mbit/s is 100M"
    )
    assert suspect(pod_summary(egress="300G"), *ONE_AND_TEN_G) == (
        "egress SLO is 300G bit/s, more than any node has (largest 10G): SLOs are in bit/s, 100 Mbit/s is 100M"
    )


def test_each_direction_is_guarded_and_annotations_too():
    node = node_summary(egress="1G", ingress="1G")
    assert suspect(pod_summary(egress="1M", ingress="5"), node).startswith("ingress SLO is 5 bit/s")
    assert suspect(pod_summary(annotations={EGRESS_ANNOTATION: "100"}), node).startswith("egress SLO is 100 bit/s")


def test_nodes_without_capacity_say_nothing():
    assert suspect(pod_summary(egress="1"), node_summary(egress="0"), node_summary("m", egress=None)) is None


def test_every_node_counts_also_those_that_are_no_candidates():
    """20M is above the only candidate, but not above every node."""
    nodes = (node_summary("small", egress="10M"), node_summary("large", egress="10G"))
    assert suspect(pod_summary(egress="20M"), *nodes, names=["small"]) is None
    assert suspect(pod_summary(egress="20G"), *nodes, names=["small"]) is not None


@pytest.mark.parametrize("capacity", ["1G", "25G", "100G", "400G"])
def test_an_slo_of_100k_or_more_is_never_too_small(capacity):
    """1e-4 of 25G is 2.5M and of 400G 40M: small, but no unit mistake."""
    node = node_summary("n", egress=capacity)
    assert suspect(pod_summary(egress="100k"), node) is None
    assert suspect(pod_summary(egress="99999"), node) is not None


def test_the_fraction_is_a_setting():
    policy = Policy(filter=FilterPolicy(suspect_fraction=0.5))
    assert suspect(pod_summary(egress="49k"), node_summary(egress="100k"), policy=policy)
    assert not suspect(pod_summary(egress="50k"), node_summary(egress="100k"), policy=policy)
