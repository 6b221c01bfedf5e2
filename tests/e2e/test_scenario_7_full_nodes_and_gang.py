"""kube-scheduler sends whole Nodes instead of names; and what 1.37 offers of pod groups in its default configuration.

It offers none: groups (gangs) stand behind the feature gate GenericWorkload, beta and off by default in 1.37, and the
group's API scheduling.k8s.io/v1beta1 is not served unless it is asked for. So what is tested is the default: the gate
is off in the running API server and scheduler, a pod's place in a group is dropped, and its pods are placed one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.cluster.client import ApiError
from tools.cluster.extender import scheduler_entry
from tools.cluster.objects import node, pod

from .scenario import (
    EGRESS,
    EGRESS_ANNOTATION,
    bed,
    bound,
    kubesteer,
    left_bps,
    node_of,
    older,
    pods,
    running_bed,
    settled,
    start_scheduler,
    why_pending,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]


def test_with_whole_nodes_each_slo_lands_where_it_is_left(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    """NICs of 1, 2, 4 and 8G carry 15 pods of 1G, which come one at a time; a 16th waits."""
    nics = {"n1": "1G", "n2": "2G", "n4": "4G", "n8": "8G"}
    bed.client.create_all(node(name, resources={EGRESS: nic}) for name, nic in nics.items())
    with kubesteer(bed) as extender:
        start_scheduler({"extenders": [scheduler_entry(extender, nodeCacheCapable=False)]})
        for number in range(15):
            name = f"p{number:02}"
            bed.client.create(pod(name, requests={"cpu": "10m"}, annotations={EGRESS_ANNOTATION: "1G"}))
            node_of(bed.client, name)
        assert left_bps(bed.client, pods(bed.client)) == dict.fromkeys(nics, 0)
        bed.client.create(pod("late", requests={"cpu": "10m"}, annotations={EGRESS_ANNOTATION: "1G"}))
        reason = why_pending(bed.client, "late")
    for capacity in nics.values():
        assert f"1 egress: wants 1G, 0 of {capacity} left" in reason


def test_with_whole_nodes_a_node_that_is_not_ready_and_one_too_small_are_told_apart_in_the_reason(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    broken = node("broken", resources={EGRESS: "10G"})
    broken["status"]["conditions"][0]["status"] = "False"
    bed.client.create_all([broken, node("small", resources={EGRESS: "1G"})])
    with kubesteer(bed) as extender:
        start_scheduler({"extenders": [scheduler_entry(extender, nodeCacheCapable=False)]})
        bed.client.create(pod("p", annotations={EGRESS_ANNOTATION: "2G"}))
        reason = why_pending(bed.client, "p")
        assert "1 node is not ready" in reason
        assert "1 egress: wants 2G, the node has 1G in all" in reason
        bed.client.patch(
            "Node", "broken", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, subresource="status"
        )
        assert node_of(bed.client, "p") == "broken"


@pytest.mark.parametrize("cached", [True, False], ids=["names", "whole nodes"])
def test_a_burst_of_pods_is_all_placed_within_every_nic(
    bed: ControlPlane, start_scheduler: Callable[..., Part], cached: bool
) -> None:
    """120 pods of 500M, 60G, on 20 NICs of 4G, 80G."""
    bed.client.create_all(node(f"node-{i:02}", resources={EGRESS: "4G"}) for i in range(20))
    bed.client.create_all(pod(f"p{i:03}", requests={"cpu": "10m"}, limits={EGRESS: "500M"}) for i in range(120))
    with kubesteer(bed) as extender:
        scheduler = start_scheduler({"extenders": [scheduler_entry(extender, nodeCacheCapable=cached)]})
        found = settled(bed.client, scheduler, within_s=40)
        assert extender.metric("kubesteer_candidates_count") == 240
    assert len(bound(found)) == 120
    assert min(left_bps(bed.client, found).values()) >= 0


def test_by_default_there_are_no_pod_groups_and_the_pods_of_one_are_placed_one_by_one(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    """Two of three pods of 6G fit on two NICs of 10G. A gang of three would place none; by default two are placed."""
    bed.client.create_all(node(name, resources={EGRESS: "10G"}) for name in ("a", "b"))
    with kubesteer(bed) as extender:
        scheduler = start_scheduler({"extenders": [scheduler_entry(extender)]})
        off = 'kubernetes_feature_enabled{name="GenericWorkload",stage="BETA"} 0'
        assert off in scheduler.metrics()
        assert off in bed.client.request("GET", "/metrics")
        with pytest.raises(ApiError, match="404"):
            bed.client.request("GET", "/apis/scheduling.k8s.io/v1beta1")
        for number in range(3):
            group = {"schedulingGroup": {"podGroupName": "gang"}}
            bed.client.create(pod(f"p{number}", limits={EGRESS: "6G"}, spec=group))
        found = settled(bed.client, scheduler, within_s=30)
    assert [pod["spec"].get("schedulingGroup") for pod in found] == [None] * 3
    assert sorted(bound(found).values()) == ["a", "b"]
