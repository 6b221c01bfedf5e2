"""500 equal pods in one burst on 100 equal nodes: no node gets more than twice the mean.

The watch tells of a pod only after it is bound, so without a charge for what was just promised all of them would see
the same best node. The pods are there before the scheduler starts: nothing is more of a burst.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tools.cluster.extender import scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod

from .scenario import EGRESS, bed, bound, kubesteer, older, running_bed, settled, start_scheduler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tools.cluster.controlplane import ControlPlane

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

NODES, PODS = 100, 500
MOST = 2 * PODS // NODES


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(
            {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {EGRESS: "50M"}},
            id="1/16, 1/512 and 1/200 of each",
        ),
        pytest.param({}, id="nothing of each"),
    ],
)
def test_no_node_gets_more_than_twice_the_mean_of_a_burst(
    asks: Mapping[str, Any], bed: ControlPlane, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 pods on 100 nodes of 8 CPUs, 32 GiB and 10 Gbit/s: the mean is 5, so 10 is the most."""
    bed.client.create_all(node(f"n{i:02}", resources={EGRESS: "10G"}) for i in range(NODES))
    counts = {
        "stock scheduler": _burst(bed, asks, None),
        "kubesteer": _burst(bed, asks, {}),
        "kubesteer, shortlist: 1": _burst(bed, asks, {"filter": {"shortlist": 1}}),
    }
    with capsys.disabled():
        print(
            f"\n{PODS} pods on {NODES} nodes at once, {request.node.callspec.id}: mean {PODS / NODES:g}, at most {MOST}"
        )
        for who, (on, seconds) in counts.items():
            emptiest = min(on.values()) if len(on) == NODES else 0
            print(f"  {who:24} fullest {max(on.values()):2}, emptiest {emptiest}, {PODS / seconds:.0f} pods/s")
    assert {who: on.total() for who, (on, _) in counts.items()} == dict.fromkeys(counts, PODS)
    above = {who: max(on.values()) for who, (on, _) in counts.items() if max(on.values()) > MOST}
    assert above.keys() <= {"stock scheduler"}, above


def _burst(
    bed: ControlPlane, asks: Mapping[str, Any], settings: Mapping[str, Any] | None
) -> tuple[Counter[str], float]:
    """Pods by node, and seconds until all were bound; settings None is the scheduler without an extender."""
    bed.client.create_all(pod(f"p{i:03}", **asks) for i in range(PODS))
    with ExitStack() as stack:
        config = {}
        if settings is not None:
            extender = stack.enter_context(kubesteer(bed, **settings))
            config = scheduler_config(scheduler_entry(extender, ignorable=False))
        started_s = time.monotonic()
        scheduler = bed.start_scheduler(config)
        stack.callback(bed.stop_scheduler)
        on = Counter(bound(settled(bed.client, scheduler, within_s=60)).values())
        seconds = time.monotonic() - started_s
    bed.client.request("DELETE", "/api/v1/namespaces/default/pods", {"gracePeriodSeconds": 0})
    return on, seconds
