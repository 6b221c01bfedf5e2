"""The shortcut of filter never lets pass what judge refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesteer.model.cluster import NO_CAPACITY, MeasuredTraffic, NodeSummary, PodSummary
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.quantity import MOST
from kubesteer.model.requests import PodRequests
from kubesteer.placement.candidates import Circumstances, from_table
from kubesteer.placement.filtering import all_fit, judge
from kubesteer.placement.policy import FilterPolicy, Policy
from kubesteer.placement.promises import unseen_bps
from kubesteer.placement.table import NETWORK, LinkState
from tests.builders import table_of
from tests.examples import examples

NOW_S = 1000.0
NAMES = ("a", "b", "c")
BUSY = MeasuredTraffic((7.0, 7.0), NOW_S)
# A few numbers around each other, so that sums often meet a capacity exactly, one above and one below.
bps = st.sampled_from([0, 0, 0, 1, 1, 2, 3, MOST - 1])
both_bps = st.tuples(bps, bps)
capacity_bps = st.sampled_from([NO_CAPACITY, 0, 3, 4, 8, 8, 8, MOST, MOST])
both_told = st.tuples(capacity_bps, capacity_bps)
requests = st.builds(
    lambda network_bps, annotated: PodRequests(network_bps=network_bps, by_annotation=annotated),
    both_bps,
    st.tuples(st.booleans(), st.booleans()),
)
nodes = st.builds(
    NodeSummary,
    name=st.sampled_from(NAMES),
    network_bps=both_told,
    ready=st.sampled_from([True, True, True, False]),
    fault=st.sampled_from([None, None, None, "cpu: 'x' is not a quantity"]),
)
pods = st.builds(
    PodSummary,
    uid=st.sampled_from(["p", "q", "r"]),
    namespace=st.just("default"),
    name=st.just("p"),
    pod_type=st.just("web"),
    requests=requests,
    node=st.sampled_from(NAMES),
    terminal=st.booleans(),
)
limit_bps = st.sampled_from([NO_CAPACITY, 0, 1, 8])
links = st.builds(LinkState, st.none(), st.tuples(limit_bps, limit_bps), st.sampled_from([NOW_S, 0.0]))
busy = st.builds(lambda name: NodeSummary(name, network_bps=(8, 8), measured=BUSY), st.sampled_from(NAMES))
events = st.one_of(
    st.tuples(st.just("put_node"), busy),
    st.tuples(st.just("put_node"), nodes),
    st.tuples(st.just("put_pod"), pods),
    st.tuples(st.just("delete_node"), st.sampled_from(NAMES)),
    st.tuples(st.just("delete_pod"), st.sampled_from(["p", "q", "r"])),
    st.tuples(st.just("put_link"), st.sampled_from(NAMES), links),
    st.tuples(st.just("put_link"), st.sampled_from(NAMES), links),
    st.tuples(st.just("delete_link"), st.sampled_from(NAMES)),
)
policies = st.builds(
    lambda overcommit, measured_fresh_s, refuse_unknown: Policy(
        tuple(replace(one, overcommit=overcommit) for one in DEFAULT_NETWORK),
        FilterPolicy(measured_fresh_s=measured_fresh_s, refuse_unknown_capacity=refuse_unknown),
    ),
    st.sampled_from([1.0, 1.0, 0.5, 1.5]),
    st.sampled_from([0.0, 60.0]),
    st.booleans(),
)
asking = st.builds(
    lambda pod, fault, tolerates: replace(pod, uid="x", node="", fault=fault, tolerates_not_ready=tolerates),
    pods,
    st.sampled_from([None, None, None, "an annotation"]),
    st.booleans(),
)


def promised_on(count):
    """What is promised on so many candidates: CPU, memory, bit/s, and of these what kube-scheduler does not count."""
    amounts = st.lists(bps, min_size=count, max_size=count)
    return st.lists(amounts, min_size=6, max_size=6).map(lambda lists: np.array(lists, np.int64).reshape(6, count))


@settings(max_examples=examples(1000))
@given(
    st.lists(events, max_size=3), asking, st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), st.data(), policies
)
def test_where_all_fit_is_sure_judge_refuses_nobody(history, pod, names, data, policy):
    table = table_of([NodeSummary(name, network_bps=(8, MOST)) for name in NAMES])
    for event, *values in history:
        getattr(table, event)(*values)
    rows = table.find(names)
    charged = data.draw(st.none() | promised_on(len(rows)))
    unseen = None if charged is None else unseen_bps(charged, 2)
    if all_fit(pod, table, rows, charged, unseen, policy):
        told = None if charged is None else charged[: NETWORK + 2]
        circumstances = Circumstances(now_s=NOW_S, charged=told, unseen_bps=unseen)
        assert not judge(pod, from_table(table, rows), circumstances, policy).cause.any()
