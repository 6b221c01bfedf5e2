"""What an agent tells that a node's link carries, beside the capacity that the node publishes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubesteer.model.cluster import NO_CAPACITY, MeasuredTraffic
from kubesteer.model.network import EGRESS, INGRESS
from kubesteer.placement.candidates import Circumstances, from_nodes, from_table
from kubesteer.placement.engine import Engine
from kubesteer.placement.filtering import Cause
from kubesteer.placement.policy import FilterPolicy, Policy
from kubesteer.placement.table import LinkState
from tests.builders import EGRESS_ANNOTATION, node_summary, pod_summary, table_of

NOW_S = 1_000_000.0
G = 10**9


def link(egress=NO_CAPACITY, ingress=NO_CAPACITY, *, age_s=10.0, measured=None):
    return LinkState(measured, (egress, ingress), NOW_S - age_s)


def verdict(pod, node, told, *, promised="0", policy=None):
    """Of the node "n", with so much egress promised on it; None where it fits."""
    table = table_of([node], [pod_summary("old", node="n", egress=promised)])
    if told is not None:
        table.put_link("n", told)
    candidates = from_table(table, table.find(["n"]))
    refused = Engine(policy or Policy()).filter(pod, candidates, Circumstances(now_s=NOW_S)).refused
    return refused[0] if refused else None


@pytest.mark.parametrize(
    ("asks", "told", "promised", "reason", "resolvable"),
    [
        pytest.param(
            *("300M", link(0), "0", "egress: wants 300M, the link carries 0 now", False), id="a link that is down"
        ),
        pytest.param(
            *("2G", link(G), "0", "egress: wants 2G, the link carries 1G now", False), id="2 > 1: no eviction helps"
        ),
        pytest.param(
            *("300M", link(G), "800M", "egress: wants 300M, 200M left of the 1G that the link carries now", True),
            id="0.8 + 0.3 > 1: evicting could help",
        ),
        pytest.param(
            *("300M", link(G), "2G", "egress: wants 300M, 0 left of the 1G that the link carries now", True),
            id="promised beyond the link: 0 left, never a negative number",
        ),
        pytest.param("300M", link(G), "700M", None, None, id="0.7 + 0.3 = 1 fits"),
        pytest.param("300M", link(40 * G), "9.7G", None, None, id="a link above the published capacity adds nothing"),
        pytest.param("300M", link(ingress=0), "0", None, None, id="the other direction is not asked for"),
        pytest.param(None, link(0, 0), "0", None, None, id="a pod without an SLO"),
    ],
)
def test_a_slower_link_refuses_what_it_cannot_carry(asks, told, promised, reason, resolvable):
    found = verdict(pod_summary("new", egress=asks), node_summary(egress="10G"), told, promised=promised)
    assert (found and found.reason, found and found.resolvable) == (reason, resolvable)
    if found:
        assert found.cause.label == "link"


def test_more_than_is_published_is_refused_for_that_whatever_the_link():
    found = verdict(pod_summary("new", egress="11G"), node_summary(egress="10G"), link(0))
    assert (found.cause, found.reason) == (Cause.TOO_SMALL, "egress: wants 11G, the node has 10G in all")


@pytest.mark.parametrize(
    ("age_s", "fresh_s", "refused"),
    [
        pytest.param(300, 300, True, id="just fresh"),
        pytest.param(301, 300, False, id="stale: the published capacity counts alone"),
        pytest.param(0, 0, False, id="switched off"),
        pytest.param(-10, 300, True, id="the node's clock is a little ahead"),
        pytest.param(-3600, 300, False, id="an hour ahead is a wrong clock"),
    ],
)
def test_a_limit_counts_while_it_is_fresh(age_s, fresh_s, refused):
    policy = Policy(filter=FilterPolicy(limit_fresh_s=fresh_s))
    found = verdict(pod_summary(egress="1M"), node_summary(egress="10G"), link(0, age_s=age_s), policy=policy)
    assert (found is not None) is refused


@pytest.mark.parametrize(("carries", "cause"), [(0, Cause.LINK), (G, None)])
def test_an_slo_by_annotation_is_held_against_the_link_where_no_capacity_is_published(carries, cause):
    pod = pod_summary(annotations={EGRESS_ANNOTATION: "1G"})
    found = verdict(pod, node_summary(egress=None), link(carries))
    assert (found and found.cause) == cause


def test_overcommit_is_a_factor_on_what_the_link_carries_too():
    policy = Policy(network=(replace(EGRESS, overcommit=1.5), INGRESS))
    for asks, fits in (("1500M", True), ("1500000001", False)):
        pod = pod_summary(annotations={EGRESS_ANNOTATION: asks})
        assert (verdict(pod, node_summary(egress="10G"), link(G), policy=policy) is None) is fits


@pytest.mark.parametrize(
    ("asks", "published", "carries", "of"),
    [
        pytest.param("200M", "10G", G, None, id="0.8 + 0.2 = 1 that the link carries"),
        pytest.param("300M", "10G", G, "1G", id="0.8 + 0.3 > 1 that the link carries, of 10 published"),
        pytest.param("300M", "1G", 40 * G, "1G", id="0.8 + 0.3 > 1 published, of 40 that the link carries"),
        pytest.param("300M", None, G, "1G", id="0.8 + 0.3 > 1 that the link carries, nothing published"),
    ],
)
def test_measured_traffic_is_held_against_what_the_link_carries(asks, published, carries, of):
    told = link(carries, measured=MeasuredTraffic((800e6, 0.0), NOW_S))
    pod = pod_summary(annotations={EGRESS_ANNOTATION: asks})
    policy = Policy(filter=FilterPolicy(measured_fresh_s=30))
    found = verdict(pod, node_summary(egress=published), told, policy=policy)
    assert (found and found.reason) == (of and f"egress: wants 300M, 800M of {of} measured in use")
    assert (found and found.cause) == (of and Cause.MEASURED)


@pytest.mark.parametrize(
    ("agent_s", "counts"),
    [
        pytest.param(NOW_S, "the agent's", id="the agent's is newer"),
        pytest.param(NOW_S - 20, "the object's", id="the Node object's is newer"),
        pytest.param(None, "the object's", id="the agent measures nothing"),
    ],
)
def test_the_newer_of_two_measurements_counts(agent_s, counts):
    node = replace(node_summary(egress="1G"), measured=MeasuredTraffic((100e6, 0.0), NOW_S - 10))
    told = link(measured=agent_s and MeasuredTraffic((900e6, 0.0), agent_s))
    policy = Policy(filter=FilterPolicy(measured_fresh_s=30))
    found = verdict(pod_summary(egress="500M"), node, told, policy=policy)
    assert (found is not None) is (counts == "the agent's")
    table = table_of([node])
    table.put_link("n", told)
    table.delete_link("n")
    assert table.measured_bps[0, table.rows["n"]] == 100e6, "without the agent the object's counts again"


def test_a_slow_link_is_its_own_nodes_trouble_only():
    """Beside it: an agent that told nothing, nothing published, a stale limit, a fast link; traffic measured on all."""
    measured = MeasuredTraffic((1e6, 0.0), NOW_S)
    names = ["slow", "silent", "unpublished", "stale", "fast"]
    table = table_of(
        replace(node_summary(name, egress=None if name == "unpublished" else "10G"), measured=measured)
        for name in names
    )
    for name, told in {"slow": link(0), "stale": link(0, age_s=301), "fast": link(40 * G)}.items():
        table.put_link(name, told)
    policy = Policy(filter=FilterPolicy(measured_fresh_s=30))
    pod = pod_summary(annotations={EGRESS_ANNOTATION: "300M"})
    filtered = Engine(policy).filter(pod, from_table(table, table.find(names)), Circumstances(now_s=NOW_S))
    assert [(names[v.position], v.cause) for v in filtered.refused] == [("slow", Cause.LINK)]


def test_balance_goes_by_the_published_capacity():
    table = table_of([node_summary("slow", egress="10G"), node_summary("fast", egress="10G")])
    pod, engine = pod_summary("new", cpu="1", egress="100M"), Engine(Policy())
    before = engine.prioritize(pod, from_table(table, table.find(["slow", "fast"])), Circumstances(now_s=NOW_S))
    table.put_link("slow", link(G))
    after = engine.prioritize(pod, from_table(table, table.find(["slow", "fast"])), Circumstances(now_s=NOW_S))
    assert before.tolist() == after.tolist()


def test_nodes_that_come_with_the_request_have_their_links_too():
    table = table_of([])
    table.put_link("n", link(0))
    filtered = Engine(Policy()).filter(
        pod_summary(egress="1M"), from_nodes(table, [node_summary("n"), node_summary("m")]), Circumstances(now_s=NOW_S)
    )
    assert [(v.position, v.cause) for v in filtered.refused] == [(0, Cause.LINK)]


def test_an_unknown_node_is_unknown_whatever_its_neighbours_link_carries():
    """A name without a row must not read the last row's link."""
    nodes = [node_summary(f"n{i}", egress="10G") for i in range(64)]
    table = table_of(nodes)
    for node in nodes:
        table.put_link(node.name, link(0))
    filtered = Engine(Policy()).filter(
        pod_summary(egress="1M"), from_table(table, table.find(["ghost"])), Circumstances(now_s=NOW_S, synced=False)
    )
    assert filtered.passed.tolist() == [0]
