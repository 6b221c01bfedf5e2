"""The decision flow as a whole says what a plain recount by node name says, in whatever order things happen.

Filters, prioritizes, watch events late, twice and out of order, deletions, lists, silence, clock and restarts mixed.
FLOW_EXAMPLES=n looks at n histories instead of a few.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubesteer.model.cluster import NO_CAPACITY, NodeSummary, PodSummary
from kubesteer.model.overrides import Mode, Override
from kubesteer.model.requests import PodRequests
from tests.examples import examples
from tests.placement.flow_recount import Bed

EXAMPLES = int(os.environ.get("FLOW_EXAMPLES", examples(200)))
NODES, PODS = ("a", "b", "c"), ("p", "q")
names = st.lists(st.sampled_from(NODES), min_size=2, max_size=6) | st.just(list(NODES)) | st.just([])
bps = st.sampled_from([0, 0, 1, 3, 4, 6, 10])
nodes = st.builds(
    NodeSummary,
    name=st.sampled_from(NODES),
    cpu_m=st.sampled_from([4000, 4000, 1000]),
    memory_b=st.just(10**10),
    network_bps=st.tuples(*[st.sampled_from([NO_CAPACITY, 0, 6, 10, 2**61])] * 2),
    ready=st.sampled_from([True, True, True, False]),
    fault=st.sampled_from([None, None, None, "cpu: 'x' is not a quantity"]),
)
requests = st.builds(
    lambda cpu_m, network_bps, annotated: PodRequests(
        cpu_m,
        1,
        cpu_m,
        1,
        cpu_m,
        1,
        network_bps,
        tuple(a and b > 0 for a, b in zip(annotated, network_bps, strict=True)),
    ),
    st.sampled_from([0, 100, 900]),
    st.tuples(bps, bps),
    st.tuples(st.booleans(), st.booleans()),
)
pods = st.builds(
    PodSummary,
    uid=st.sampled_from(PODS),
    namespace=st.sampled_from(["default", "default", "watched"]),
    name=st.just("p"),
    pod_type=st.just("web"),
    requests=requests,
    priority=st.sampled_from([0, 5]),
    tolerates_not_ready=st.booleans(),
    version=st.sampled_from([0, 1, 2, 3]),
    unscheduled=st.sampled_from(["", "first", "second"]),
    fault=st.sampled_from([None, None, None, "an annotation"]),
    override=st.sampled_from([None, None, Override(mode=Mode.OBSERVE), Override(mode=Mode.ENFORCE)]),
)
on_a_node = st.sampled_from(NODES)
told_pods = st.one_of(
    st.builds(lambda pod, node: replace(pod, nominated_node=node), pods, st.just("") | on_a_node),
    st.builds(lambda pod, node, ended: replace(pod, node=node, terminal=ended), pods, on_a_node, st.booleans()),
)
steps = st.one_of(
    st.tuples(st.just("put_node"), nodes),
    st.tuples(st.just("delete_node"), on_a_node),
    st.tuples(st.just("delete_node"), on_a_node),
    st.tuples(st.just("put_pod"), told_pods),
    st.tuples(st.just("delete_pod"), st.sampled_from(PODS)),
    st.tuples(st.just("listed"), st.sets(st.sampled_from(PODS)), st.sampled_from([0.0, 1.0, 20.0])),
    st.tuples(st.just("heard"), st.sampled_from([0.0, 1.0, 20.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, 9.0, 11.0])),
    st.tuples(st.just("filter"), pods, names, st.sampled_from([False, False, True])),
    st.tuples(st.just("filter"), pods, names, st.sampled_from([False, False, True])),
    st.tuples(st.just("prioritize"), pods, names, st.sampled_from([False, False, True])),
    st.tuples(st.just("restart")),
)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([None, 1, 2]),
    st.sampled_from(Mode),
    st.lists(nodes, min_size=2, max_size=5),
    st.lists(steps, min_size=5, max_size=40),
)
def test_the_flow_says_what_a_recount_by_name_says(shortlist, mode, there, history):
    bed = Bed(shortlist, mode)
    for node in there:
        bed.tell("put_node", node)
    for step in history:
        match step:
            case ("wait", seconds):
                bed.now_s += seconds
            case ("heard", ago_s):
                bed.tell("pods_heard", bed.now_s - ago_s)
            case ("listed", uids, ago_s):
                bed.tell("pods_listed", uids, bed.now_s - ago_s)
            case ("restart",):
                bed.restart()
            case ("filter", pod, asked, late):
                bed.filter(pod, asked, late=late)
            case ("prioritize", pod, asked, late):
                bed.prioritize(pod, asked, late=late)
            case (event, value):
                bed.tell(event, value)
        bed.check()
