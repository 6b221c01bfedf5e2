"""Promises: whom they are made to, and that none is made on a row without a name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kubesteer.placement.candidates import Moment, NamedNodes
from kubesteer.placement.cluster_state import ClusterState
from kubesteer.placement.engine import Engine
from kubesteer.placement.flow import DecisionFlow
from kubesteer.placement.policy import Policy
from tests.builders import node_summary, pod_summary
from tests.placement.flow_recount import NoOpinion

EGRESS = "kubernetes.io/egress-bandwidth"
NOW = Moment(unix_s=0.0, clock_s=0.0)


def flow_over(*names, shortlist=None):
    state = ClusterState(2, charge_ttl_s=10)
    for name in names:
        state.put_node(node_summary(name))
    return DecisionFlow(Engine(Policy()), state, NoOpinion(), shortlist=shortlist)


@pytest.mark.parametrize("asked", [["gone"], ["gone", "unknown"], ["gone", "gone"]])
def test_a_pod_asked_about_again_is_not_promised_to_a_node_that_is_gone(asked):
    """Its own promise kept the row; the row ends with it, and another name may get it."""
    flow, pod = flow_over("gone"), pod_summary("p", cpu="1", egress="1G")
    flow.filter(pod, NamedNodes(["gone"]), NOW)
    table = flow.state.table
    row = table.rows["gone"]
    flow.state.delete_node("gone")
    flow.prioritize(pod, NamedNodes(asked), NOW)
    assert table.rows == {}
    assert not table.assumed[:, row].any()
    flow.state.put_node(node_summary("new"))
    assert table.rows == {"new": row}
    other = pod_summary("q", cpu="1")
    assert flow.state.promises.on(np.array([row]), other) is None


def test_nominated_pods_of_one_node_add_up_and_one_without_a_row_counts_nowhere():
    """3G and 4G on `a`; `b` has none, and neither has a name that no node has."""
    flow = flow_over("a", "b")
    for name, egress, nominated in [("p", "3G", "a"), ("q", "4G", "a"), ("r", "5G", "unknown")]:
        pod = pod_summary(name, annotations={EGRESS: egress}, priority=1)
        flow.state.put_pod(replace(pod, nominated_node=nominated))
    other, rows = pod_summary("other"), np.array([1, -1, 0, 0])
    on = flow.state.promises.on(rows, other)
    assert on[2].tolist() == on[4].tolist() == [0, 0, 7 * 10**9, 7 * 10**9]


def test_promises_take_no_more_than_their_room_while_a_watch_is_deaf():
    """2,000 nodes a promise: of 2,100 promises the newest 4,000,000 / 2,000 = 2,000 live."""
    flow = flow_over(*(f"n{i}" for i in range(2_000)))
    promises, rows, pod = flow.state.promises, np.arange(2_000), pod_summary("p", cpu="1")
    for i in range(2_100):
        promises.take(replace(pod, uid=f"{i}"), rows, clock_s=float(i))
    assert len(promises) == 2_000
    on = promises.on(rows[:1], pod)
    assert on is not None
    assert int(on[0, 0]) == 2_000, "1,000m over 2,000 nodes are 1m each"
