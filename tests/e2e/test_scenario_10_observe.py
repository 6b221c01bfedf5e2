"""Scenario 10: kubesteer observes a real kube-scheduler, and then enforces for one workload.

Without kubesteer an SLO by annotation lets its pod go anywhere: the scheduler alone decides, and is compared with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from tools.cluster.extender import Extender, scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually

from .fixtures import binaries
from .scenario import EGRESS, EGRESS_ANNOTATION, bed, kubesteer, node_of, older, running_bed, start_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "binaries", "older", "running_bed", "start_scheduler"]


def placements(extender: Extender) -> dict[tuple[str, str], int]:
    """By verb and whether it agrees."""
    page = httpx.get(f"{extender.ops}/metrics").text
    found = re.findall(
        r'^kubesteer_observed_placements_total\{agrees="(\w+)",verb="(\w+)"\} (\S+)$', page, re.MULTILINE
    )
    return {(verb, agrees): int(float(count)) for agrees, verb, count in found}


def test_an_observed_scheduler_decides_alone_and_is_compared_and_one_workload_is_enforced(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    """1G a node, and SLOs of 5G by annotation: kubesteer would refuse both nodes, and refuses the enforced pod's."""
    client = bed.client
    client.create_all([node(name, resources={EGRESS: "1G"}) for name in ("a", "b")])
    with kubesteer(bed, placement={"mode": "observe"}) as extender:
        start_scheduler(scheduler_config(scheduler_entry(extender)))
        for name in ("p", "q"):
            client.create(pod(name, annotations={EGRESS_ANNOTATION: "5G"}))
            assert node_of(client, name) in {"a", "b"}
        want = {("filter", "no"): 2, ("prioritize", "no"): 2, ("filter", "yes"): 0, ("prioritize", "yes"): 0}
        eventually(lambda: placements(extender) == want, within_s=20, what="both placements compared")
        assert extender.metric("kubesteer_observed_none_fit_total") == 2
        enforced = {EGRESS_ANNOTATION: "5G", "kubesteer.io/mode": "enforce"}
        client.create(pod("r", annotations=enforced))
        eventually(
            lambda: extender.metric("kubesteer_none_fit_total") >= 1, within_s=20, what="the enforced pod refused"
        )
        assert not client.get("Pod", "r")["spec"].get("nodeName")
